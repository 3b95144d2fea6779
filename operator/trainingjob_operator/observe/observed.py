"""The values that a decision is made from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from trainingjob_api import Fallback, PlanRecord, Report
from trainingjob_operator.names import Child, PodKey
from trainingjob_operator.resolution import Plan

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
]


@dataclass(frozen=True, slots=True, kw_only=True)
class DaskSnapshot:
    """Raw objects of a job's Dask cluster.

    Parameters
    ----------
    unreadable
        Why the clusters cannot be listed: the server's words where it does not allow it.
    installed
        Whether the API server knows DaskClusters.
    cluster
        The DaskCluster, if there is one.
    deployments, pods
        Those of scheduler and workers, the first of each where there are many; read only while the
        cluster is waited for. ``None``: the operator may not.
    """

    unreadable: str = ""
    installed: bool = True
    cluster: dict[str, Any] | None = None
    deployments: tuple[dict[str, Any], ...] | None = ()
    pods: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Raw objects as the API server has them.

    Parameters
    ----------
    objects
        Children by kind, those that exist under their names, whoever owns them.
    access_read
        Whether ServiceAccount, Role and RoleBinding were looked for at all.
    pods
        The trainer's pods: those with the job's uid as a label.
    namesakes
        Those of other jobs that had the same name.
    dask
        What there is of its Dask cluster; ``None`` where it was not looked for.
    failed_creates
        Messages of the Job's ``FailedCreate`` events, the newest last.
    failed_mounts
        Messages of events about volumes, the newest last, for each pod by its uid that waits for them.
    space_text
        The search space that the spec refers to, where it was asked for and exists.
    """

    objects: Mapping[Child, dict[str, Any]] = field(default_factory=dict)
    access_read: bool = True
    pods: tuple[dict[str, Any], ...] = ()
    namesakes: tuple[dict[str, Any], ...] = ()
    dask: DaskSnapshot | None = None
    failed_creates: tuple[str, ...] = ()
    failed_mounts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    space_text: str | None = None


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a pod cannot start or did not end well."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why the operator cannot make what it has to make.

    Parameters
    ----------
    reason, message
        For the condition.
    final
        Whether no waiting helps: the job fails.
    """

    reason: str
    message: str
    final: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DaskSeen:
    """A job's Dask cluster.

    Parameters
    ----------
    present, going
        Whether there is a DaskCluster, and whether its deletion was asked for.
    touched
        When somebody has done something about it last.
    noticed
        Whether the Dask operator has touched it.
    scheduler, workers
        Whether the Dask operator has made the scheduler's Deployment, and any worker's.
    trouble
        Why it does not come up, as far as that can be seen.
    impossible
        Why none can be made.
    """

    present: bool = False
    going: bool = False
    touched: datetime | None = None
    noticed: bool = False
    scheduler: bool = False
    workers: bool = False
    trouble: Trouble | None = None
    impossible: Trouble | None = None


class RefusalKind(StrEnum):
    """Why a report is not believed; also a metric's label."""

    MALFORMED = "Malformed"
    TOO_LARGE = "TooLarge"
    OTHER_JOB = "OtherJob"
    BAD_SIGNATURE = "BadSignature"
    IMPLAUSIBLE = "Implausible"
    NO_POD = "NoPod"
    STALE = "Stale"
    TWO_PODS = "TwoPods"
    REPLACED_POD = "ReplacedPod"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A report that is not believed.

    Parameters
    ----------
    kind, message
        Why.
    digest
        What tells this report from another one.
    """

    kind: RefusalKind
    message: str
    digest: str = ""


class JobOutcome(StrEnum):
    """How the Job stands."""

    OPEN = "Open"
    COMPLETE = "Complete"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainerJob:
    """The Job of the trainer.

    Parameters
    ----------
    suspended
        Whether its spec says so.
    deadline_seconds
        Its ``activeDeadlineSeconds``, counted from *started*.
    started
        When it was started, or resumed, last.
    pods_counted
        Pods that its status speaks of.
    failing
        Whether it has failed and its pods are still going away.
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
        Whether its container runs.
    finished
        Whether it will never run (again).
    exit_code
        Of its container, once that has ended.
    trouble
        Why it cannot start, or did not end well.
    name, node
        Its name and its node's.
    started, ended
        When its container did.
    orphan
        Whether no Job controls it: its Job was deleted without its pods.
    going
        Whether its deletion was asked for.
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
    trouble: Trouble | None = None
    orphan: bool = False
    going: bool = False
    beside: tuple[str, ...] = ()

    @property
    def working(self) -> bool:
        """Whether the trainer has not ended, whatever runs beside it."""
        return not self.finished and self.exit_code is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """Everything that a decision looks at, beside the job itself and the time.

    Parameters
    ----------
    plan
        What is in force, or would be if the job began now; ``None`` if there is none.
    record
        What the status is to say of the plan; ``None`` until there is a key for the reports.
    committed
        Whether the status says it: children are made only then.
    begun
        When the fence was made; ``None`` if the job has not begun.
    missing
        Children that do not exist, in the order of creation.
    job, pods, report
        The trainer's Job, its pods (oldest first), and the last report that is worth believing.
    strays
        Pods of jobs that are gone, which nothing else removes.
    report_refused
        Why the report that is there is not believed.
    waiting
        Why the Job makes no pod.
    obstacle
        Why something cannot be made.
    dask
        The Dask cluster; ``None`` where it was not looked for.
    heard_at
        When the report has changed last, by the operator's clock.
    account_made
        When the trainer's ServiceAccount was made.
    access_problem
        What was changed about the trainer's access to its report.
    """

    plan: Plan | None = None
    record: PlanRecord | None = None
    committed: bool = False
    begun: datetime | None = None
    missing: tuple[Child, ...] = tuple(Child)
    job: TrainerJob | None = None
    pods: tuple[PodSeen, ...] = ()
    strays: tuple[PodKey, ...] = ()
    report: Report | None = None
    report_refused: Refusal | None = None
    waiting: Trouble | None = None
    obstacle: Obstacle | None = None
    dask: DaskSeen | None = None
    heard_at: datetime | None = None
    account_made: datetime | None = None
    access_problem: str = ""

    def silence(self, pod: PodSeen, now: datetime) -> float:
        """Return for how many seconds a pod that runs has not reported anything new."""
        since = max(time for time in (self.heard_at, pod.started, pod.created) if time is not None)
        return max(0.0, (now - since).total_seconds())

    @property
    def active_pod(self) -> PodSeen | None:
        """The newest pod that has not finished."""
        return next((pod for pod in reversed(self.pods) if not pod.finished), None)

    @property
    def last_trouble(self) -> Trouble | None:
        """Trouble of the newest pod that had any."""
        return next((pod.trouble for pod in reversed(self.pods) if pod.trouble is not None), None)

    @property
    def current_report(self) -> Report | None:
        """The report, unless it is of an attempt before the one that is under way, or of one that is gone."""
        report, pod = self.report, self.active_pod
        if report is None or report.final:
            return report
        known = {pod.uid} if pod is not None else {one.uid for one in self.pods}
        return report if report.pod_uid in known else None

    @property
    def left_dask(self) -> Fallback | None:
        """The step down from the Dask cluster that the current attempt has taken."""
        report = self.current_report
        if report is None:
            return None
        # Reports carry the steps of earlier attempts on; each attempt begins at the top of the ladder. Times
        # do not tell them apart: the clocks of nodes differ.
        steps = [step for step in report.fallbacks if step.from_ == "dask"]
        return next((step for step in reversed(steps) if step.attempt in {None, report.attempt}), None)
