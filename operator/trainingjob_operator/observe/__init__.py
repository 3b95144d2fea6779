"""What is: raw objects of the API server in, one frozen :class:`Observed` out."""

from trainingjob_operator.observe.dask import dask_refusal
from trainingjob_operator.observe.observed import (
    DaskSeen,
    DaskSnapshot,
    JobOutcome,
    Observed,
    Obstacle,
    PodSeen,
    Refusal,
    RefusalKind,
    Snapshot,
    TrainerJob,
    Trouble,
)
from trainingjob_operator.observe.plans import changed_plan
from trainingjob_operator.observe.pods import mounts_since, strays
from trainingjob_operator.observe.reading import foreign_obstacle, observe
from trainingjob_operator.observe.reports import check_report

__all__ = [
    "DaskSeen",
    "DaskSnapshot",
    "JobOutcome",
    "Observed",
    "Obstacle",
    "PodSeen",
    "Refusal",
    "RefusalKind",
    "Snapshot",
    "TrainerJob",
    "Trouble",
    "changed_plan",
    "check_report",
    "dask_refusal",
    "foreign_obstacle",
    "mounts_since",
    "observe",
    "strays",
]
