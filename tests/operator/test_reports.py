"""Which reports are believed."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainingjob_api import Progress, Report, TrainingJobStatus, dump_report
from trainingjob_operator.observe import PodSeen, Watermark, check_report

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
UID = "job-uid"
POD = PodSeen(uid="pod-2", created=NOW, running=True)


def report(**fields):
    said = {"job_uid": UID, "attempt": 2, "pod_uid": "pod-2", "sequence": 5, "written_at": NOW} | fields
    return Report(**said)


def check(told, *, pods=(POD,), watermark=None, status=None):
    text = dump_report(told) if isinstance(told, Report) else told
    return check_report(text, uid=UID, pods=pods, watermark=watermark, status=status or TrainingJobStatus())


MARK = Watermark(2, 5, "pod-2")
OLD_STATUS = TrainingJobStatus(progress=Progress(updated_at=NOW))


@pytest.mark.parametrize(
    ("told", "watermark", "pods"),
    [
        pytest.param(report(), None, (POD,), id="first"),
        pytest.param(report(), MARK, (POD,), id="same"),
        pytest.param(report(sequence=6), MARK, (POD,), id="next"),
        pytest.param(report(attempt=3, pod_uid="pod-3", sequence=6), MARK, (POD,), id="next-attempt"),
        pytest.param(report(), None, (), id="pods-gone"),
        pytest.param(
            report(attempt=1, pod_uid="pod-1", written_at=NOW - timedelta(seconds=9)),
            None,
            (POD,),
            id="last-word-of-a-pod-that-is-gone",
        ),
    ],
)
def test_believed(told, watermark, pods):
    verdict = check(told, watermark=watermark, pods=pods)
    assert verdict.report == told
    assert verdict.refused is None
    assert verdict.watermark == Watermark(told.attempt, told.sequence, told.pod_uid)


@pytest.mark.parametrize(
    ("told", "watermark", "word"),
    [
        pytest.param(report(job_uid="other"), None, "another job", id="job"),
        pytest.param(report(pod_uid=None), None, "no pod", id="no-pod"),
        pytest.param(report(attempt=1), MARK, "attempt 1", id="attempt"),
        pytest.param(report(sequence=4), MARK, "sequence 4", id="sequence"),
        pytest.param(report(pod_uid="pod-9"), MARK, "two pods", id="two-pods"),
        pytest.param(
            report(pod_uid="pod-1", written_at=NOW + timedelta(seconds=9)), None, "replaced", id="zombie"
        ),
        pytest.param("{", None, "json", id="no-json"),
        pytest.param("x" * 300_000, None, "larger", id="huge"),
        pytest.param(json.dumps({"schemaVersion": 2, "jobUid": UID}), None, "schemaVersion", id="version"),
        pytest.param(json.dumps({"jobUid": UID, "best": {"score": "nan"}}), None, "best", id="nan"),
    ],
)
def test_refused(told, watermark, word):
    verdict = check(told, watermark=watermark)
    assert verdict.report is None
    assert word in verdict.refused


def test_after_a_restart_the_status_stands_in_for_the_watermark():
    old = report(progress=Progress(updated_at=NOW - timedelta(seconds=1)))
    assert "older than the status" in check(old, status=OLD_STATUS).refused
    assert check(report(progress=Progress(updated_at=NOW)), status=OLD_STATUS).report


def test_there_may_be_none():
    verdict = check(None)
    assert verdict.report is None
    assert verdict.refused is None


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_whatever_a_trainer_writes_is_believed_or_refused(value):
    verdict = check(json.dumps(value))
    assert (verdict.report is None) != (verdict.refused is None)


@given(st.text())
def test_any_text_is_believed_or_refused(text):
    assert check(text).refused


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 9)), max_size=20))
def test_what_is_believed_never_goes_back(order):
    mark = None
    for attempt, sequence in order:
        verdict = check(
            report(attempt=attempt, sequence=sequence, pod_uid=f"pod-{attempt}"), pods=(), watermark=mark
        )
        if verdict.report is not None:
            assert mark is None or verdict.watermark >= mark
            mark = verdict.watermark
