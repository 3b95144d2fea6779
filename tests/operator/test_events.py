"""Events are posted once, with names that a restart repeats."""

from datetime import UTC, datetime, timedelta

from trainingjob_api.reasons import Cause
from trainingjob_operator.children import Owner
from trainingjob_operator.status import Event, build_event

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
OWNER = Owner("churn", "team", "uid")
NOTE = Event("Warning", Cause("Why", "what happened"), "1/1")


def name(note=NOTE, owner=OWNER, now=NOW):
    return build_event(owner, note, now)["metadata"]["name"]


def test_an_event_has_the_same_name_at_any_time():
    assert name() == name(now=NOW + timedelta(hours=1))


def test_different_events_have_different_names():
    others = [
        name(Event("Normal", Cause("Why", "what happened"), "1/1")),
        name(Event("Warning", Cause("Else", "what happened"), "1/1")),
        name(Event("Warning", Cause("Why", "something else"), "1/1")),
        name(Event("Warning", Cause("Why", "what happened"), "2/1")),
        name(owner=Owner("churn", "team", "another")),
    ]
    assert len({name(), *others}) == 6


def test_any_job_name_gives_a_valid_event_name():
    assert len(name(owner=Owner("x" * 253, "team", "uid"))) <= 253


def test_a_huge_message_is_bounded():
    event = build_event(OWNER, Event("Normal", Cause("Why", "x" * 9999)), NOW)
    assert len(event["message"]) <= 1024
    assert event["message"].endswith("x…")
    assert event["involvedObject"]["uid"] == "uid"


def test_the_events_of_a_job_are_in_order(cluster, operation):
    cluster.submit()
    operation.settle()
    cluster.run_pod()
    operation.settle()
    cluster.report(stage="Uploading")
    operation.settle()
    cluster.report_success()
    cluster.end_job("Complete")
    operation.settle()
    told = [raw["reason"] for kind, plural, _, raw in cluster.store.history if plural == "events"]
    assert told == ["WaitingForTrainer", "Searching", "Saving", "Succeeded"]
