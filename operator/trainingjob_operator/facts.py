"""The facts about a job: raw objects as read, and the values on which a decision is based."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from trainingjob_api import Fallback, Report
from trainingjob_api.reasons import Cause
from trainingjob_operator.children import TRAINER_CHILDREN, Child, PodKey
from trainingjob_operator.job_view import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Raw objects as the API server has them."""

    objects: Mapping[Child, dict[str, Any]] = field(default_factory=dict)
    """Children that exist under their names, whatever owns them."""
    looked_for: frozenset[Child] = frozenset(TRAINER_CHILDREN)
    pods: tuple[dict[str, Any], ...] = ()
    """The trainer's pods: those with the job's uid as a label."""
    namesakes: tuple[dict[str, Any], ...] = ()
    """Pods of other jobs that had the same name."""
    failed_creates: tuple[str, ...] = ()
    """Messages of the Job's ``FailedCreate`` events, the newest last."""
    failed_mounts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By the uid of each pod that waits for its volumes: messages of events about them, the newest last."""
    space_text: str | None = None
    dask_problem: Cause | None = None
    dask_deployments: tuple[dict[str, Any], ...] | None = ()
    """Some of scheduler and workers, while the cluster is waited for; ``None``: RBAC does not allow it."""
    dask_pods: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DaskSeen:
    """A job's Dask cluster."""

    present: bool = False
    deleting: bool = False
    changed_at: datetime | None = None
    has_finalizer: bool = False
    """The Dask operator's: it has noticed the cluster."""
    scheduler: bool = False
    workers: bool = False
    """Whether the Dask operator has created the scheduler's Deployment, and any worker's."""
    trouble: Cause | None = None
    impossible: Cause | None = None
    """Why none can be created."""


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
    """The Job of the trainer."""

    suspended: bool = False
    deadline_seconds: int | None = None
    """Its ``activeDeadlineSeconds``, counted from *started*: when it last started or resumed."""
    started: datetime | None = None
    pods_counted: int = 0
    failing: bool = False
    """Whether it has failed and its pods are still being deleted."""
    outcome: JobOutcome = JobOutcome.OPEN
    outcome_reason: str = ""
    outcome_message: str = ""
    ended: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSeen:
    """A pod of the trainer."""

    uid: str
    created: datetime
    name: str = ""
    node: str = ""
    running: bool = False
    """Whether the trainer's container runs; its exit code, start and end follow."""
    finished: bool = False
    """Whether the pod will never run again."""
    exit_code: int | None = None
    started: datetime | None = None
    ended: datetime | None = None
    trouble: Cause | None = None
    orphan: bool = False
    """Whether no Job controls it: its Job was deleted without its pods."""
    deleting: bool = False
    other_containers: tuple[str, ...] = ()
    """Those that still run although the trainer has ended."""

    @property
    def working(self) -> bool:
        """Whether the trainer has not ended, whatever runs beside it."""
        return not self.finished and self.exit_code is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """The facts on which a decision is based, besides the job itself and the time."""

    plan: Plan | None = None
    """The plan in force, or that with which the job would begin now; ``None`` if there is none."""
    committed: bool = False
    """Whether the status records it: children are created only then."""
    begun: datetime | None = None
    """When the fence was created; ``None`` if the job has not begun."""
    missing: tuple[Child, ...] = TRAINER_CHILDREN
    """Children of the trainer that do not exist, in the order of creation."""
    job: TrainerJob | None = None
    pods: tuple[PodSeen, ...] = ()
    """The trainer's pods, oldest first."""
    strays: tuple[PodKey, ...] = ()
    """Pods of deleted jobs, which nothing else deletes."""
    report: Report | None = None
    rejected: Cause | None = None
    """Why the report that is there is rejected; its digest distinguishes it from another one."""
    rejected_digest: str = ""
    waiting: Cause | None = None
    """Why the Job creates no pod."""
    obstacle: Cause | None = None
    """The cause that keeps the job from beginning or continuing."""
    dask: DaskSeen | None = None
    """The Dask cluster; ``None`` where it was not looked for."""
    reported_at: datetime | None = None
    """When the report last changed, by the operator's clock."""
    account_made: datetime | None = None
    access_problem: str = ""

    def silence(self, pod: PodSeen, now: datetime) -> float:
        """Return for how many seconds a running pod has reported nothing new."""
        since = max(time for time in (self.reported_at, pod.started, pod.created) if time is not None)
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
    def success(self) -> Report | None:
        """The final report, if it has a model."""
        report = self.report
        return report if report is not None and report.final and report.failure is None else None

    @property
    def reporting_pod(self) -> PodSeen | None:
        """The pod that wrote the report, if it is there."""
        uid = self.report.pod_uid if self.report is not None else None
        return next((pod for pod in self.pods if pod.uid == uid), None)

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
