"""Reports that are accepted or rejected."""

import json
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import generate_latest

from support.fake_kubernetes import Fault, Operation
from trainingjob_api import LastReport, Report, dump_report
from trainingjob_api.reasons import Cause
from trainingjob_certificates import ReportKey
from trainingjob_operator.facts import PodSeen, Rejection
from trainingjob_operator.observe import check_report

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
UID = "job-uid"
POD = PodSeen(uid="pod-2", created=NOW, running=True)


def report(**fields):
    said = {"job_uid": UID, "attempt": 2, "pod_uid": "pod-2", "sequence": 5, "written_at": NOW} | fields
    return Report(**said)


KEY, OTHER_KEY = ReportKey.generate(), ReportKey.generate()


def check(told, *, pods=(POD,), last=None, key=KEY.public, signature=None, most=9):
    text = dump_report(told) if isinstance(told, Report) else told
    if signature is None and text is not None:
        signature = KEY.sign(text.encode(errors="replace").decode())
    found = check_report(text, signature, key=key, uid=UID, pods=pods, last=last, most_attempts=most)
    return Verdict(*((None, found) if isinstance(found, Cause) else (found, None)))


class Verdict(NamedTuple):
    """The report if it is accepted, or why it is rejected; neither where there is none."""

    report: Report | None
    refused: Cause | None


MARK = LastReport(attempt=2, sequence=5, pod_uid="pod-2")
NEW_POD = PodSeen(uid="pod-3", created=NOW + timedelta(seconds=1), running=True)


@pytest.mark.parametrize(
    ("told", "last", "pods"),
    [
        pytest.param(report(), None, (POD,), id="first"),
        pytest.param(report(), MARK, (POD,), id="same"),
        pytest.param(report(sequence=6), MARK, (POD,), id="next"),
        pytest.param(report(attempt=3, pod_uid="pod-3", sequence=6), MARK, (POD,), id="next-attempt"),
        pytest.param(report(), None, (), id="pods-gone"),
        pytest.param(
            report(attempt=1, pod_uid="pod-3", sequence=1),
            MARK,
            (POD, NEW_POD),
            id="new-pod-without-a-report",
        ),
        pytest.param(
            report(attempt=1, pod_uid="pod-1", written_at=NOW - timedelta(seconds=9)),
            None,
            (POD,),
            id="last-word-of-a-pod-that-is-gone",
        ),
    ],
)
def test_believed(told, last, pods):
    verdict = check(told, last=last, pods=pods)
    assert verdict.report == told
    assert verdict.refused is None


@pytest.mark.parametrize(
    ("told", "last", "word", "kind"),
    [
        pytest.param(report(job_uid="other"), None, "another job", "OtherJob", id="job"),
        pytest.param(report(pod_uid=None), None, "no pod", "NoPod", id="no-pod"),
        pytest.param(report(attempt=1), MARK, "attempt 1", "Stale", id="attempt"),
        pytest.param(report(sequence=4), MARK, "sequence 4", "Stale", id="sequence"),
        pytest.param(report(pod_uid="pod-9"), MARK, "Two pods", "TwoPods", id="two-pods"),
        pytest.param(
            report(pod_uid="pod-1", written_at=NOW + timedelta(seconds=9)),
            None,
            "replaced",
            "ReplacedPod",
            id="zombie",
        ),
        pytest.param(report(written_at=None), None, "writtenAt", "Malformed", id="no-time"),
        pytest.param(report(attempt=10), None, "attempt 10", "Implausible", id="too-many-attempts"),
        pytest.param("{", None, "json", "Malformed", id="no-json"),
        pytest.param("x" * 300_000, None, "larger", "TooLarge", id="huge"),
        pytest.param(
            json.dumps({"schemaVersion": 2, "jobUid": UID}), None, "schemaVersion", "Malformed", id="version"
        ),
        pytest.param(
            json.dumps({"jobUid": UID, "best": {"score": "nan"}}), None, "best", "Malformed", id="nan"
        ),
    ],
)
def test_refused(told, last, word, kind):
    verdict = check(told, last=last)
    assert verdict.report is None
    assert word in verdict.refused.message
    assert verdict.refused.reason == kind
    assert verdict.refused == check(told, last=last).refused


@pytest.mark.parametrize(
    "fields",
    [
        {"signature": ""},
        {"signature": "no base64"},
        {"signature": OTHER_KEY.sign(dump_report(report()))},
        {"signature": KEY.sign(dump_report(report(sequence=6)))},
        {"key": OTHER_KEY.public},
        {"key": ""},
    ],
)
@pytest.mark.parametrize("told", [report(), report(final=True, sequence=99), "{", "[" * 100_000])
def test_a_report_without_a_valid_signature_is_rejected_before_parsing(told, fields, monkeypatch):
    monkeypatch.setattr("trainingjob_operator.observe.parse_report", None)
    verdict = check(told, **fields)
    assert verdict.report is None
    assert verdict.refused.reason == "BadSignature"


def test_a_missing_report_is_not_an_error():
    verdict = check(None)
    assert verdict.report is None
    assert verdict.refused is None


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_any_report_of_a_trainer_is_accepted_or_rejected(value):
    verdict = check(json.dumps(value))
    assert (verdict.report is None) != (verdict.refused is None)


@given(st.text())
def test_any_text_is_accepted_or_rejected(text):
    assert check(text).refused


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 9)), max_size=20))
def test_accepted_reports_never_go_back(order):
    mark = None
    for attempt, sequence in order:
        verdict = check(
            report(attempt=attempt, sequence=sequence, pod_uid=f"pod-{attempt}"), pods=(), last=mark
        )
        new = mark is None or (attempt, sequence) >= (mark.attempt, mark.sequence)
        assert (verdict.report is not None) is new, "only newer reports are accepted"
        if verdict.report is not None:
            mark = LastReport(attempt=attempt, sequence=sequence, pod_uid=f"pod-{attempt}")


def told_of(cluster, operation):
    return len(cluster.events("ReportRefused")), {
        kind: operation.value("trainingjob_reports_refused_total", reason=kind)
        for kind in ("Malformed", "Stale")
    }


@pytest.fixture
def running(cluster, operation):
    cluster.submit()
    operation.settle()
    cluster.run_pod()
    for generation in (1, 2, 3):
        cluster.report_progress(generation)
        operation.settle()


def test_a_rejected_report_is_posted_and_counted_once(cluster, operation, running):
    cluster.report(raw='{"jobUid": 1}')
    for _ in range(3):
        operation.look()
    assert told_of(cluster, operation) == (1, {"Malformed": 1, "Stale": 0})
    [event] = cluster.events("ReportRefused")
    assert event["type"] == "Warning"
    assert "jobUid" in event["message"]
    assert cluster.status["progress"]["generation"] == 3
    assert cluster.status["phase"] == "Searching"


def test_different_rejected_reports_are_counted_and_posted_by_kind(cluster, operation, running):
    for number in range(5):
        cluster.report(raw=json.dumps({"jobUid": number}))
        operation.look()
    cluster.report(sequence=1)
    operation.look()
    cluster.report(sequence=2)
    operation.look()
    assert told_of(cluster, operation) == (2, {"Malformed": 5, "Stale": 2})


def test_a_restart_repeats_no_event(cluster, operation, running):
    cluster.report(raw="nonsense")
    operation.look()
    operation.start()
    operation.look()
    assert told_of(cluster, operation) == (1, {"Malformed": 1, "Stale": 0})


def test_a_rejection_in_another_attempt_is_posted_again(cluster, operation, running):
    cluster.report(raw="nonsense")
    operation.settle()
    cluster.end_pod(143)
    operation.settle()
    cluster.run_pod()
    operation.settle()
    cluster.report(raw="more nonsense")
    operation.settle()
    assert told_of(cluster, operation) == (2, {"Malformed": 2, "Stale": 0})


def test_a_rejected_event_does_not_stop_a_pass(store, cluster):
    operation = Operation(store, Fault(403, method="POST", plural="events", times=99))
    cluster.submit()
    operation.settle()
    cluster.run_pod()
    cluster.report(raw="nonsense")
    operation.settle()
    assert cluster.status["phase"] == "Searching"
    assert operation.value("trainingjob_reports_refused_total", reason="Malformed") == 1


def test_an_event_that_failed_is_posted_again(store, cluster):
    operation = Operation(store)
    cluster.submit()
    operation.settle()
    cluster.run_pod()
    operation.settle()
    cluster.report(raw="nonsense")
    operation.client.faults.append(Fault(503, method="POST", plural="events"))
    operation.settle()
    assert told_of(cluster, operation) == (1, {"Malformed": 1, "Stale": 0})


def test_all_kinds_of_rejections_have_a_counter_from_the_start(operation):
    text = generate_latest(operation.metrics.registry).decode()
    assert all(f'trainingjob_reports_refused_total{{reason="{kind}"}} 0.0' in text for kind in Rejection)


def test_the_message_about_a_rejected_report_is_bounded():
    rows = [{f"field-{number}": 1} for number in range(500)]
    message = check(json.dumps({"jobUid": UID, "leaderboard": rows})).refused.message
    assert "leaderboard" in message
    assert len(message) <= 500


def test_a_report_after_the_end_posts_nothing(cluster, operation):
    operation.run_to_success(cluster)
    cluster.report(raw="nonsense")
    operation.settle()
    assert told_of(cluster, operation) == (0, {"Malformed": 0, "Stale": 0})


def test_a_report_does_not_change_the_image_in_the_status(cluster, operation, running):
    cluster.report(resolved={"image": "evil:1", "sources": {"metric": "spec"}, "metric": "f1", "cvFolds": 3})
    operation.settle()
    resolved = cluster.status["resolved"]
    assert (resolved["image"], resolved["metric"]) == ("registry.example/trainer:1", "f1")
    assert "budget.timeLeftSeconds" in resolved["sources"]


def test_a_job_does_not_inherit_the_numbers_of_an_earlier_job_of_its_name(cluster, operation, running):
    cluster.report(attempt=7, sequence=70)
    operation.settle()
    cluster.remove()
    cluster.attempt = cluster.sequence = cluster.pod_number = 0
    cluster.submit()
    operation.settle()
    cluster.run_pod()
    cluster.report_progress(1)
    operation.settle()
    assert told_of(cluster, operation) == (0, {"Malformed": 0, "Stale": 0})
    assert cluster.status["progress"]["generation"] == 1
