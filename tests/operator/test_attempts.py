"""The history has an entry for each attempt, with its outcome, after its pod is gone, too."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.decisions import decided
from trainingjob_api import Attempt, AttemptOutcome, Failure, Phase, Report, TrainingJobStatus
from trainingjob_api.reasons import Cause
from trainingjob_operator.attempts import MAX_ATTEMPTS, record_attempts
from trainingjob_operator.children import Owner
from trainingjob_operator.facts import Observed, PodSeen, TrainerJob
from trainingjob_operator.job_view import JobView

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
MADE = NOW - timedelta(seconds=300)
ENDED = NOW - timedelta(seconds=5)
SUBJECT = JobView(owner=Owner("churn", "team", "u"))
SEARCHING = decided(phase=Phase.SEARCHING, reason="Searching")
WAITING = decided(phase=Phase.PENDING, reason="WaitingForTrainer")
SUCCEEDED = decided(phase=Phase.SUCCEEDED, reason="Succeeded", ended=NOW)
SUSPENDED = decided(phase=Phase.SUSPENDED, reason="Suspended")
DEADLINE = decided(phase=Phase.FAILED, reason="DeadlineExceeded", ended=NOW)
EXHAUSTED = decided(phase=Phase.FAILED, reason="BackoffLimitExceeded", ended=NOW)
POD = PodSeen(uid="p1", name="churn-trainer-x", node="node-1", created=MADE)
RUNNING = replace(POD, running=True)
DONE = replace(POD, finished=True, exit_code=0, ended=ENDED)
CRASHED = replace(DONE, exit_code=1, trouble=Cause("TrainerCrashed", "it ended with 1"))
KILLED = replace(DONE, exit_code=137, trouble=Cause("OutOfMemory", "more memory"))
ASKED = replace(DONE, exit_code=143, trouble=Cause("TrainerEvicted", "asked to stop"))
EVICTED = replace(POD, finished=True, trouble=Cause("TrainerEvicted", "its node is drained"))
WAITS = replace(POD, trouble=Cause("ImageUnavailable", "no such image"))
WHY = Failure(reason="UploadFailed", message="storage", exit_code=1)
BROKEN = Report(job_uid="u", pod_uid="p1", final=True, failure=WHY)
FIRST = Attempt(number=1, pod="churn-trainer-x", pod_uid="p1", node="node-1", start_time=MADE)


def told(step=SEARCHING, *, pods=(), old=(), report=None, phase=None, **fields):
    """Return the history after one pass."""
    status = TrainingJobStatus(phase=phase, attempt_history=old or None)
    subject = replace(SUBJECT, status=status, **fields)
    return record_attempts(subject, Observed(pods=pods, report=report, job=TrainerJob()), step, 0, NOW)


def ended(outcome, exit_code=None, reason=None, message=None, end_time=ENDED):
    words = {"exit_code": exit_code, "reason": reason, "message": message}
    return FIRST.model_copy(update={"outcome": AttemptOutcome(outcome), "end_time": end_time} | words)


def case(name, step, pod, entry, report=None):
    """Return what one pass sees of a pod, and the entry that follows."""
    return pytest.param(step, pod, report, entry, id=name)


AT_ONCE = [
    case("running", SEARCHING, RUNNING, FIRST),
    case(
        "cannot-start",
        WAITING,
        WAITS,
        FIRST.model_copy(update={"reason": "ImageUnavailable", "message": "no such image"}),
    ),
    case("succeeded", SUCCEEDED, DONE, ended("Succeeded", 0)),
    case("crashed", SEARCHING, CRASHED, ended("Failed", 1, "TrainerCrashed", "it ended with 1")),
    case("its-own-words", SEARCHING, CRASHED, ended("Failed", 1, "UploadFailed", "storage"), BROKEN),
    case("memory", SEARCHING, KILLED, ended("OOMKilled", 137, "OutOfMemory", "more memory")),
    case("asked-to-go", SEARCHING, ASKED, ended("Evicted", 143, "TrainerEvicted", "asked to stop")),
    case(
        "evicted-without-a-word",
        SEARCHING,
        EVICTED,
        ended("Evicted", reason="TrainerEvicted", message="its node is drained", end_time=NOW),
    ),
    case("suspended", SUSPENDED, ASKED, ended("Suspended", 143)),
    case("deadline", DEADLINE, ASKED, ended("DeadlineExceeded", 143)),
    case("pod-read-too-early", SUCCEEDED, RUNNING, ended("Succeeded", end_time=NOW)),
    case(
        "never-started",
        DEADLINE,
        WAITS,
        ended("DeadlineExceeded", reason="ImageUnavailable", message="no such image", end_time=NOW),
    ),
]

GONE = [
    pytest.param(WAITING, None, {}, ended("Removed", end_time=NOW), id="deleted"),
    pytest.param(SUSPENDED, None, {}, ended("Suspended", end_time=NOW), id="suspended"),
    pytest.param(
        WAITING, None, {"phase": Phase.SUSPENDED}, ended("Suspended", end_time=NOW), id="resumed-at-once"
    ),
    pytest.param(DEADLINE, None, {}, ended("DeadlineExceeded", end_time=NOW), id="deadline"),
    pytest.param(SUCCEEDED, None, {}, ended("Succeeded", end_time=NOW), id="succeeded"),
    pytest.param(EXHAUSTED, None, {}, ended("Failed", end_time=NOW), id="failed"),
    pytest.param(
        WAITING,
        BROKEN,
        {},
        ended("Failed", end_time=NOW, reason="UploadFailed", message="storage"),
        id="its-last-words",
    ),
]


@pytest.mark.parametrize(("step", "pod", "report", "entry"), AT_ONCE)
def test_an_existing_pod_is_an_open_or_ended_attempt(step, pod, report, entry):
    assert told(step, pods=(pod,), report=report) == (entry,)
    assert told(step, pods=(pod,), report=report, old=(FIRST,)) == (entry,)


@pytest.mark.parametrize(("step", "report", "fields", "entry"), GONE)
def test_a_missing_pod_ends_its_attempt(step, report, fields, entry):
    assert told(step, report=report, old=(FIRST,), **fields) == (entry,)


@pytest.mark.parametrize(
    "entry", [param.values[-1] for param in (*AT_ONCE, *GONE) if param.values[-1].outcome]
)
@pytest.mark.parametrize(
    "step", [SEARCHING, SUSPENDED, DEADLINE, SUCCEEDED], ids=lambda step: step.cause.reason
)
@pytest.mark.parametrize("pods", [(), (ASKED,), (RUNNING,)], ids=["gone", "asked", "running"])
def test_how_an_attempt_ended_never_changes(entry, step, pods):
    assert told(step, pods=pods, old=(entry,)) == (entry,)


def test_the_message_of_the_trainer_is_added_even_if_it_comes_late():
    first = ended("Failed", exit_code=1, reason="TrainerCrashed", message="it ended with 1")
    [entry] = told(pods=(CRASHED,), report=BROKEN, old=(first,))
    assert (entry.reason, entry.message, entry.end_time) == ("UploadFailed", "storage", ENDED)


def test_attempts_continue_the_count_of_the_status():
    second = replace(RUNNING, uid="p2", created=NOW)
    first, then = told(pods=(CRASHED, second))
    assert (first.number, then.number, then.outcome) == (1, 2, None)
    assert [attempt.number for attempt in told(pods=(second,), old=(first,))] == [1, 2]


def test_attempts_that_were_not_observed_are_counted():
    report = Report(job_uid="u", pod_uid="p1", attempt=4)
    assert [attempt.number for attempt in told(pods=(RUNNING,), report=report)] == [4]
    assert [attempt.number for attempt in told(pods=(RUNNING,), report=report, old=(FIRST,))] == [4]
    status = TrainingJobStatus(attempt_history=None)
    seen = Observed(pods=(RUNNING,))
    assert [
        attempt.number
        for attempt in record_attempts(replace(SUBJECT, status=status), seen, SEARCHING, 3, NOW)
    ] == [3]


def test_the_last_attempts_are_kept_and_older_pods_never_return():
    pods = tuple(
        replace(CRASHED, uid=f"p{number}", created=MADE + timedelta(seconds=number)) for number in range(25)
    )
    first = told(pods=pods)
    assert [attempt.number for attempt in first] == list(range(16, 26))
    assert told(pods=pods, old=first) == first
    more = replace(RUNNING, uid="new", created=NOW)
    assert [attempt.number for attempt in told(pods=(*pods, more), old=first)] == list(range(17, 27))


def test_a_long_message_is_cut_and_says_so():
    pod = replace(CRASHED, trouble=Cause("TrainerCrashed", "é" * 500))
    [entry] = told(pods=(pod,))
    assert len(entry.message) == 200
    assert entry.message.endswith("é…")


PODS = st.lists(
    st.sampled_from([POD, RUNNING, DONE, CRASHED, KILLED, ASKED, EVICTED, WAITS]), min_size=0, max_size=14
)
STEPS = st.sampled_from([WAITING, SEARCHING, SUSPENDED])


@given(st.lists(st.tuples(PODS, STEPS), max_size=6))
def test_the_history_is_always_bounded_ordered_and_stable(passes):
    old = ()
    for kinds, step in passes:
        pods = tuple(
            replace(kind, uid=f"p{number}", created=MADE + timedelta(seconds=number))
            for number, kind in enumerate(kinds)
        )
        new = told(step, pods=pods, old=old)
        assert len(new) <= MAX_ATTEMPTS
        numbers = [attempt.number for attempt in new]
        assert numbers == sorted(set(numbers))
        assert told(step, pods=pods, old=new) == new
        closed = {attempt.pod_uid: attempt for attempt in old if attempt.outcome is not None}
        assert all(closed.get(attempt.pod_uid, attempt) == attempt for attempt in new)
        old = new
