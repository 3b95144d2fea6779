"""The decision for a job: the first policy that applies, in this order, and what is added to every decision.

Pure: no clock, no I/O. Equal inputs give equal decisions, so that every decision can be applied twice and a
restart in the middle of one leads to the same end.
"""

from collections.abc import Callable
from datetime import datetime

from trainingjob_operator.decision import Decision, Input
from trainingjob_operator.job_view import JobView
from trainingjob_operator.observe.facts import Observed
from trainingjob_operator.policies.course import (
    blocked,
    complete_job,
    create_children,
    record_plan,
    resume,
    suspend,
    trainer_running,
    trainer_waiting,
    wait_for_orphan,
)
from trainingjob_operator.policies.dask import with_dask_cluster
from trainingjob_operator.policies.end import (
    deadline_without_job,
    ended_already,
    job_completed,
    job_failed,
    leave_deleted_resource,
    never_to_begin,
    reported_without_job,
    storage_exceeded,
    succeeded_before_its_job,
    wait_for_pod_failure,
)
from trainingjob_operator.policies.pods import with_deleted_pods

__all__ = ["ADDITIONS", "POLICIES", "decide"]

POLICIES: tuple[Callable[[Input], Decision | None], ...] = (
    # The resource.
    leave_deleted_resource,
    ended_already,
    # Whether the job ends now.
    job_completed,
    job_failed,
    succeeded_before_its_job,
    storage_exceeded,
    reported_without_job,
    never_to_begin,
    deadline_without_job,
    wait_for_pod_failure,
    # Whether it may run.
    suspend,
    blocked,
    # What it needs in order to run.
    record_plan,
    wait_for_orphan,
    create_children,
    resume,
    # How it runs.
    trainer_running,
    complete_job,
    trainer_waiting,
)
"""Each returns a decision, or ``None`` where it does not apply; the last one always applies."""

ADDITIONS: tuple[Callable[[Input, Decision], Decision], ...] = (with_deleted_pods, with_dask_cluster)
"""What is decided in addition, whatever policy applies."""


def decide(view: JobView, seen: Observed, now: datetime) -> Decision:
    """Return the decision for a job: *view*, with what exists of it at the time *now*."""
    given = Input(view, seen, now)
    decision = next(found for policy in POLICIES if (found := policy(given)) is not None)
    for addition in ADDITIONS:
        decision = addition(given, decision)
    return decision
