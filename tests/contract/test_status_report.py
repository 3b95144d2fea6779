import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from support.acceptance import each_row
from trainingjob_api import (
    Acceptance,
    Artifact,
    Attempt,
    Backend,
    Best,
    Condition,
    Digests,
    Failure,
    Fallback,
    FindingNote,
    LeaderboardEntry,
    NotFitted,
    ParetoPoint,
    Phase,
    Progress,
    Reason,
    Report,
    ReportError,
    Severity,
    Stage,
    TrainingJobStatus,
    dump_report,
    format_score,
    judge,
    parse_report,
    trim_status,
)
from trainingjob_api.report import MAX_FINDINGS, MAX_REPORT_BYTES
from trainingjob_api.status import MAX_STATUS_BYTES

NOW = datetime(2026, 11, 24, 19, 42, tzinfo=UTC)
LONG = "→" * 300


def full_report(**more):
    return Report(
        job_uid="0b0e6f2e-6b3c-4d6b-9d1d-0a1b2c3d4e5f",
        attempt=2,
        pod_uid="pod",
        sequence=7,
        stage=Stage.SEARCHING,
        backend=Backend.LOCAL,
        fallbacks=(Fallback(from_="dask", to="local", reason=Reason.SCHEDULER_LOST, time=NOW),),
        progress=Progress(generation=3, generations=20, evaluated=96, best_score="0.912", updated_at=NOW),
        best=Best(pipeline="PCA → SVC", score="0.912"),
        leaderboard=(LeaderboardEntry(rank=1, pipeline="PCA → SVC", score="0.912", complexity="14"),),
        pareto_front=(ParetoPoint(score="0.912", complexity="14", pipeline="PCA → SVC"),),
        failure=Failure(reason="TargetColumnMissing", message="no column x", exit_code=2),
        digests=Digests(spec="a", data="b"),
        **more,
    )


def full_status():
    return TrainingJobStatus(
        observed_generation=1,
        phase=Phase.SUCCEEDED,
        conditions=[
            Condition(
                type=kind, status="True", reason="R" * 128, message="m" * 1024, last_transition_time=NOW
            )
            for kind in ("Ready", "Complete", "Failed", "Suspended", "DaskReady", "Degraded")
        ],
        attempt_history=[
            Attempt(
                number=n + 1,
                pod="x" * 63,
                pod_uid="u" * 36,
                start_time=NOW,
                outcome="Failed",
                message=LONG[:20],
            )
            for n in range(10)
        ],
        leaderboard=[LeaderboardEntry(rank=n + 1, pipeline=LONG, score="0.5") for n in range(10)],
        pareto_front=[ParetoPoint(pipeline=LONG, score="0.5", complexity="1") for _ in range(20)],
        artifacts=[
            Artifact(name="model.joblib", uri="s" * 1024, sha256="0" * 64, size_bytes=1) for _ in range(16)
        ],
    )


def size(status):
    return len(status.model_dump_json(by_alias=True, exclude_none=True).encode())


def test_a_report_survives_a_round_trip():
    report = full_report()
    text = dump_report(report)
    assert parse_report(text) == report
    data = json.loads(text)
    assert data["schemaVersion"] == 1
    assert data["fallbacks"][0]["from"] == "dask"
    assert data["fallbacks"][0]["time"] == "2026-11-24T19:42:00Z"
    assert "modelSource" not in data


def test_a_newer_report_is_read_and_an_unknown_version_is_not():
    data = json.loads(dump_report(full_report()))
    assert parse_report(json.dumps({**data, "novelty": 1})).sequence == 7
    with pytest.raises(ReportError, match="schemaVersion"):
        parse_report(json.dumps({**data, "schemaVersion": 2}))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "does not match"),
        ("[]", "does not match"),
        ("{}", "jobUid: missing"),
        ('{"jobUid": "a", "attempt": "1"}', "attempt: int_type"),
        ('{"jobUid": "a", "sequence": -1}', "sequence: greater_than_equal"),
        ('{"jobUid": "a", "best": {"pipeline": "x", "score": "NaN"}}', "best.score: string_pattern_mismatch"),
        ('{"jobUid": "a", "stage": "Dreaming"}', "stage: enum"),
        ('{"jobUid": "a", "warnings": ["' + "x" * 300_000 + '"]}', "larger than"),
        ('{"jobUid": "a", "progress": ' + '{"x":' * 3000 + "1" + "}" * 3001, "does not match"),
    ],
)
def test_malformed_reports_are_rejected(text, message):
    with pytest.raises(ReportError, match=message):
        parse_report(text)


def test_the_message_of_a_rejection_contains_no_values():
    with pytest.raises(ReportError) as error:
        parse_report('{"jobUid": "a", "stage": "hunter2"}')
    assert "hunter2" not in str(error.value)


def test_a_report_is_bounded_when_it_is_written():
    report = full_report(warnings=tuple("→" * 1024 for _ in range(50)))
    assert len(dump_report(report).encode()) <= MAX_REPORT_BYTES
    board = tuple(LeaderboardEntry(rank=n + 1, pipeline=LONG, score="1") for n in range(100))
    front = tuple(ParetoPoint(pipeline=LONG, score="1", complexity="1") for n in range(100))
    with pytest.raises(ReportError, match="a report may hold"):
        dump_report(report.model_copy(update={"leaderboard": board, "pareto_front": front}))


def test_a_report_with_all_findings_and_warnings_of_a_run_can_be_written():
    note = FindingNote(finding="K" * 128, severity=Severity.WARNING, column="→" * 256, message="→" * 1024)
    report = full_report(findings=(note,) * MAX_FINDINGS, warnings=("→" * 1000,) * 20)
    board = tuple(LeaderboardEntry(rank=n + 1, pipeline=LONG, score="1") for n in range(20))
    front = tuple(ParetoPoint(pipeline=LONG, score="1", complexity="1") for n in range(20))
    full = report.model_copy(update={"leaderboard": board, "pareto_front": front})
    assert parse_report(dump_report(full)).findings == report.findings


def test_times_are_utc_and_without_fractions():
    local = NOW.astimezone(timezone(timedelta(hours=2))).replace(microsecond=123456)
    text = Progress(updated_at=local).model_dump_json(by_alias=True, exclude_none=True)
    assert '"updatedAt":"2026-11-24T19:42:00Z"' in text
    with pytest.raises(ValueError, match="timezone"):
        Progress(updated_at=datetime(2026, 1, 1))  # noqa: DTZ001


def test_a_status_is_trimmed_and_keeps_its_conditions():
    status = full_status()
    assert size(status) > MAX_STATUS_BYTES
    trimmed = trim_status(status)
    assert size(trimmed) < MAX_STATUS_BYTES
    assert trimmed.conditions == status.conditions
    assert trimmed.pareto_front is None
    assert trimmed.leaderboard == status.leaderboard[: len(trimmed.leaderboard)]
    assert trimmed.attempt_history == status.attempt_history
    assert trim_status(trimmed) == trimmed


def test_the_last_attempts_stay():
    trimmed = trim_status(full_status(), 9_000)
    numbers = [attempt.number for attempt in trimmed.attempt_history]
    assert numbers[-1] == 10
    assert numbers == list(range(numbers[0], 11))
    assert 1 < len(numbers) < 10


@given(st.integers(min_value=9_000, max_value=60_000))
def test_a_status_is_trimmed_to_any_possible_limit(limit):
    trimmed = trim_status(full_status(), limit)
    assert size(trimmed) < limit


def test_terminal_phases():
    assert {phase for phase in Phase if phase.terminal} == {Phase.SUCCEEDED, Phase.FAILED}


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_scores_are_numbers_as_text_that_the_schema_takes(value):
    text = format_score(value)
    assert Best(pipeline="x", score=text).score == text
    assert float(text) == pytest.approx(value, rel=1e-5)


@pytest.mark.parametrize(
    ("value", "text"), [(0.912, "0.912"), (-0.0, "0"), (1, "1"), (1e20, "1e+20"), (1 / 3, "0.333333")]
)
def test_a_score_is_written_with_six_digits(value, text):
    assert format_score(value) == text


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_missing_score_is_not_nan(value):
    with pytest.raises(ValueError, match="finite"):
        format_score(value)


def test_the_best_has_its_rows_an_interval_and_what_could_not_be_fitted():
    best = Best(
        pipeline="PCA",
        score="0.8",
        train_rows=8000,
        test_rows=2000,
        holdout_rows=500,
        holdout_interval=("0.7", "0.9"),
        not_fitted=(NotFitted(pipeline="SVC", score="0.9", reason="the fit took longer than 9.0 s"),),
    )
    plain = json.loads(best.model_dump_json(by_alias=True, exclude_none=True))
    assert plain == {
        "pipeline": "PCA",
        "score": "0.8",
        "trainRows": 8000,
        "testRows": 2000,
        "holdoutRows": 500,
        "holdoutInterval": ["0.7", "0.9"],
        "notFitted": [{"pipeline": "SVC", "score": "0.9", "reason": "the fit took longer than 9.0 s"}],
    }
    assert Best.model_validate_json(json.dumps(plain)) == best


@pytest.mark.parametrize("interval", [(), ("0.7",), ("0.7", "0.8", "0.9"), ("0.7", "nan"), (0.7, 0.9)])
def test_an_interval_is_two_numbers_as_text(interval):
    with pytest.raises(ValidationError):
        Best(pipeline="PCA", holdout_interval=interval)


@each_row
def test_acceptance_follows_the_table(asked, best, met, reason):
    found = judge(asked, best)
    assert (found.accepted, found.reason) == (met, reason)
    assert found.message


@pytest.mark.parametrize("asked", [Acceptance(min_score=0.0), Acceptance(must_beat_baseline=True)])
def test_an_acceptance_without_a_model_is_not_met(asked):
    found = judge(asked, None)
    assert (found.accepted, found.reason) == (False, "NoHoldoutScore")
