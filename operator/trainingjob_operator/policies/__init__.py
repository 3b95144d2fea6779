"""The decision for a job: the first policy that applies, in this order, and what is added to every decision.

Pure: no clock, no I/O. Equal inputs give equal decisions, so that every decision can be applied twice and a
restart in the middle of applying it leads to the same end.
"""

from collections.abc import Callable
from datetime import datetime

from trainingjob_operator.decision import Decision, Input
from trainingjob_operator.job_view import JobView
from trainingjob_operator.observe.facts import Observed
from trainingjob_operator.policies import additions, course, end

POLICIES: tuple[Callable[[Input], Decision | None], ...] = (
    # The resource.
    end.leave_deleted_resource,
    end.ended_already,
    # Whether the job ends now.
    end.job_completed,
    end.job_failed,
    end.succeeded_before_its_job,
    end.storage_exceeded,
    end.reported_without_job,
    end.never_to_begin,
    end.deadline_without_job,
    end.wait_for_pod_failure,
    # Whether it may run.
    course.suspend,
    course.blocked,
    # What it needs in order to run.
    course.record_plan,
    course.wait_for_orphan,
    course.create_children,
    course.resume,
    # How it runs.
    course.trainer_running,
    course.complete_job,
    course.trainer_waiting,
)
"""Each returns a decision, or ``None`` where it does not apply; the last one always applies."""

_ADDITIONS: tuple[Callable[[Input, Decision], Decision], ...] = (
    additions.with_deleted_pods,
    additions.with_dask_cluster,
)
"""What is decided in addition, whatever policy applies."""


def decide(view: JobView, seen: Observed, now: datetime) -> Decision:
    """Return the decision for a job: *view*, with what exists of it at the time *now*."""
    given = Input(view, seen, now)
    decision = next(found for policy in POLICIES if (found := policy(given)) is not None)
    for addition in _ADDITIONS:
        decision = addition(given, decision)
    return decision
