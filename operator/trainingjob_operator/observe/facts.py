"""The values that a decision is made from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from trainingjob_api import Fallback, PlanRecord, Report
from trainingjob_api.reasons import Cause
from trainingjob_operator.children import TRAINER_CHILDREN, Child, PodKey
from trainingjob_operator.errors import ApiFault
from trainingjob_operator.frozen_plan import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Raw objects as the API server has them.

    Parameters
    ----------
    objects
        Children that exist under their names, whatever owns them.
    looked_for
        Children that were looked for.
    pods
        The trainer's pods: those with the job's uid as a label.
    namesakes
        Pods of other jobs that had the same name.
    failed_creates
        Messages of the Job's ``FailedCreate`` events, the newest last.
    failed_mounts
        For each pod that waits for its volumes, by uid: messages of events about them, the newest last.
    space_text
        The search space that the spec refers to, where it was asked for and exists.
    dask_fault
        Why DaskClusters cannot be read: the kind is not installed, or RBAC does not allow it.
    dask_deployments, dask_pods
        Some of scheduler and workers; read only while the cluster is waited for. ``None``: RBAC does not
        allow it.
    """

    objects: Mapping[Child, dict[str, Any]] = field(default_factory=dict)
    looked_for: frozenset[Child] = frozenset(TRAINER_CHILDREN)
    pods: tuple[dict[str, Any], ...] = ()
    namesakes: tuple[dict[str, Any], ...] = ()
    failed_creates: tuple[str, ...] = ()
    failed_mounts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    space_text: str | None = None
    dask_fault: ApiFault | None = None
    dask_deployments: tuple[dict[str, Any], ...] | None = ()
    dask_pods: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DaskSeen:
    """A job's Dask cluster.

    Parameters
    ----------
    present, going
        Whether there is a DaskCluster, and whether it is being deleted.
    touched
        When anybody last changed it.
    noticed
        Whether the Dask operator has set its finalizer.
    scheduler, workers
        Whether the Dask operator has created the scheduler's Deployment, and any worker's.
    trouble
        Why it does not come up, as far as that can be seen.
    impossible
        Why none can be created.
    """

    present: bool = False
    going: bool = False
    touched: datetime | None = None
    noticed: bool = False
    scheduler: bool = False
    workers: bool = False
    trouble: Cause | None = None
    impossible: Cause | None = None


class Rejection(StrEnum):
    """Why a report is rejected; also a metric's label."""

    MALFORMED = "Malformed"
    TOO_LARGE = "TooLarge"
    OTHER_JOB = "OtherJob"
    BAD_SIGNATURE = "BadSignature"
    IMPLAUSIBLE = "Implausible"
    NO_POD = "NoPod"
    STALE = "Stale"
    TWO_PODS = "TwoPods"
    REPLACED_POD = "ReplacedPod"


class JobOutcome(StrEnum):
    """State of the trainer's Job."""

    OPEN = "Open"
    COMPLETE = "Complete"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainerJob:
    """The Job of the trainer.

    Parameters
    ----------
    deadline_seconds
        Its ``activeDeadlineSeconds``, counted from *started*.
    started
        When it last started or resumed.
    pods_counted
        Pods that its status counts.
    failing
        Whether it has failed and its pods are still being deleted.
    outcome, outcome_reason, outcome_message, ended
        From its terminal condition.
    """

    suspended: bool = False
    deadline_seconds: int | None = None
    started: datetime | None = None
    pods_counted: int = 0
    failing: bool = False
    outcome: JobOutcome = JobOutcome.OPEN
    outcome_reason: str = ""
    outcome_message: str = ""
    ended: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSeen:
    """A pod of the trainer.

    Parameters
    ----------
    running
        Whether the trainer's container runs.
    finished
        Whether the pod will never run again.
    exit_code, started, ended
        Of the trainer's container.
    trouble
        Why it cannot start, or failed.
    orphan
        Whether no Job controls it: its Job was deleted without its pods.
    going
        Whether it is being deleted.
    beside
        Containers that still run although the trainer has ended.
    """

    uid: str
    created: datetime
    name: str = ""
    node: str = ""
    running: bool = False
    finished: bool = False
    exit_code: int | None = None
    started: datetime | None = None
    ended: datetime | None = None
    trouble: Cause | None = None
    orphan: bool = False
    going: bool = False
    beside: tuple[str, ...] = ()

    @property
    def working(self) -> bool:
        """Whether the trainer has not ended, whatever runs beside it."""
        return not self.finished and self.exit_code is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """Everything that a decision is made from, beside the job itself and the time.

    Parameters
    ----------
    plan
        The plan in force, or that with which the job would begin now; ``None`` if there is none.
    record
        What the status is to say of the plan; ``None`` until there is a key for the reports.
    committed
        Whether the status says it: children are created only then.
    begun
        When the fence was created; ``None`` if the job has not begun.
    missing
        Children of the trainer that do not exist, in the order of creation.
    job, pods, report
        The trainer's Job, its pods (oldest first), and the last report that was accepted.
    strays
        Pods of deleted jobs, which nothing else deletes.
    rejected, rejected_digest
        Why the report that is there was rejected, and what distinguishes it from another report.
    waiting
        Why the Job creates no pod.
    obstacle
        What keeps the job from beginning or going on.
    dask
        The Dask cluster; ``None`` where it was not looked for.
    heard_at
        When the report last changed, by the operator's clock.
    account_made
        When the trainer's ServiceAccount was created.
    access_problem
        What was changed about the trainer's access to its report.
    """

    plan: Plan | None = None
    record: PlanRecord | None = None
    committed: bool = False
    begun: datetime | None = None
    missing: tuple[Child, ...] = TRAINER_CHILDREN
    job: TrainerJob | None = None
    pods: tuple[PodSeen, ...] = ()
    strays: tuple[PodKey, ...] = ()
    report: Report | None = None
    rejected: Cause | None = None
    rejected_digest: str = ""
    waiting: Cause | None = None
    obstacle: Cause | None = None
    dask: DaskSeen | None = None
    heard_at: datetime | None = None
    account_made: datetime | None = None
    access_problem: str = ""

    def silence(self, pod: PodSeen, now: datetime) -> float:
        """Return for how many seconds a running pod has reported nothing new."""
        since = max(time for time in (self.heard_at, pod.started, pod.created) if time is not None)
        return max(0.0, (now - since).total_seconds())

    @property
    def active_pod(self) -> PodSeen | None:
        """The newest pod that has not finished."""
        return next((pod for pod in reversed(self.pods) if not pod.finished), None)

    @property
    def last_trouble(self) -> Cause | None:
        """The problem of the newest pod that had one."""
        return next((pod.trouble for pod in reversed(self.pods) if pod.trouble is not None), None)

    @property
    def current_report(self) -> Report | None:
        """The report, unless it is of an earlier attempt than the current one, or of a pod that is gone."""
        report, pod = self.report, self.active_pod
        if report is None or report.final:
            return report
        known = {pod.uid} if pod is not None else {pod.uid for pod in self.pods}
        return report if report.pod_uid in known else None

    @property
    def left_dask(self) -> Fallback | None:
        """The current attempt's fallback from the Dask cluster to local workers."""
        report = self.current_report
        if report is None:
            return None
        # A report also lists the fallbacks of earlier attempts, while each attempt tries Dask again. Times do
        # not distinguish them: the clocks of nodes differ.
        steps = [step for step in report.fallbacks if step.from_ == "dask"]
        return next((step for step in reversed(steps) if step.attempt in {None, report.attempt}), None)
