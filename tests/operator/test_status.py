"""The status made from decision and report: its size, times and conditions, and the table in the docs."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from support.conditions import COLUMNS
from support.decisions import decided
from support.fake_kubernetes import Cluster, Operation, Store
from support.fake_kubernetes.golden import check_text
from trainingjob_api import (
    Best,
    Failure,
    LeaderboardEntry,
    NotFitted,
    ParetoPoint,
    Phase,
    Progress,
    Report,
    Resolved,
    TrainingJobStatus,
)
from trainingjob_api.reasons import Cause
from trainingjob_api.status import MAX_STATUS_BYTES
from trainingjob_operator.children import Owner
from trainingjob_operator.facts import Observed, PodSeen
from trainingjob_operator.job_view import JobView, read_job_view
from trainingjob_operator.status import build_status, merge_patch

DOCS = Path(__file__).resolve().parents[2] / "docs/reference/conditions.md"
NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
SUBJECT = JobView(owner=Owner("churn", "team", "u"), generation=3)
STEP = decided(phase=Phase.SEARCHING, reason="Searching", message="at work")


def size(status):
    return len(status.model_dump_json(by_alias=True, exclude_none=True).encode())


def test_a_status_with_ten_thousand_evaluations_is_below_the_limit():
    text = "é" * 300
    rows = [
        LeaderboardEntry(rank=number, pipeline=text, score="0.123456", complexity="1234.5", key="k" * 64)
        for number in range(1, 101)
    ]
    front = [
        ParetoPoint(score="0.123456", complexity="1234.5", pipeline=text, key="k" * 64) for _ in range(100)
    ]
    progress = Progress(generation=400, evaluated=10_000, failed=5_000, timed_out=900, best_score="0.9")
    steps = [
        {"from": "dask", "to": "local", "reason": f"Lost{number}", "time": NOW, "message": "é" * 300}
        for number in range(8)
    ]
    artifacts = [
        {"name": f"file-{number}", "uri": "s3://" + "x" * 200, "sha256": "a" * 64, "sizeBytes": 9}
        for number in range(32)
    ]
    report = Report(
        job_uid="u",
        leaderboard=tuple(rows),
        pareto_front=tuple(front),
        progress=progress,
        fallbacks=tuple(steps),
        artifacts=tuple(artifacts),
    )
    pods = tuple(
        PodSeen(
            uid=f"{number:036}",
            name="x" * 63,
            node="n" * 253,
            created=NOW + timedelta(seconds=number),
            finished=True,
            exit_code=1,
            trouble=Cause("TrainerCrashed", "é" * 400),
        )
        for number in range(30)
    )
    step = replace(STEP, cause=Cause("Searching", "é" * 5000))
    status = build_status(SUBJECT, Observed(report=report, pods=pods), step, NOW)
    assert size(status) < MAX_STATUS_BYTES
    assert [attempt.number for attempt in status.attempt_history] == list(range(21, 31))
    assert status.attempts == 30
    assert status.progress.evaluated == 10_000
    assert len(status.leaderboard) >= 5
    assert len(status.conditions) == 10
    assert status.conditions[0].message.endswith("é…")


def test_equal_observations_give_the_same_status_and_no_write():
    report = Report(job_uid="u", progress=Progress(generation=1))
    seen = Observed(report=report, begun=NOW)
    first = build_status(SUBJECT, seen, STEP, NOW)
    again = build_status(replace(SUBJECT, status=first), seen, STEP, NOW + timedelta(hours=1))
    assert again == first


def test_a_condition_keeps_its_time_while_its_status_stays():
    first = build_status(SUBJECT, Observed(), STEP, NOW)
    later = NOW + timedelta(hours=1)
    new = replace(STEP, phase=Phase.SAVING, cause=Cause("Saving"))
    second = {
        condition.type: condition
        for condition in build_status(replace(SUBJECT, status=first), Observed(), new, later).conditions
    }
    assert second["Ready"].last_transition_time == NOW
    assert second["Ready"].reason == "Saving"
    ended = replace(STEP, phase=Phase.FAILED, cause=Cause("Why"), ended=later)
    third = {
        condition.type: condition
        for condition in build_status(replace(SUBJECT, status=first), Observed(), ended, later).conditions
    }
    assert third["Failed"].last_transition_time == later


def test_the_status_has_all_facts_about_the_best_pipeline():
    missed = NotFitted(pipeline="SVC", score="0.95", reason="the fit took longer than 9.0 s")
    best = Best(
        pipeline="PCA",
        score="0.9",
        train_rows=8000,
        holdout_score="0.8",
        holdout_rows=500,
        holdout_interval=("0.7", "0.9"),
        not_fitted=(missed,),
    )
    report = Report(job_uid="u", best=best)
    status = build_status(SUBJECT, Observed(report=report), STEP, NOW)
    assert status.best == best


def test_fields_that_a_report_lacks_stay():
    old = TrainingJobStatus(progress=Progress(generation=7), attempts=2, backend="dask")
    status = build_status(replace(SUBJECT, status=old), Observed(report=Report(job_uid="u")), STEP, NOW)
    assert (status.progress.generation, status.attempts, status.backend) == (7, 2, "dask")


def test_a_damaged_status_still_says_that_the_job_has_ended():
    raw = {
        "metadata": {"name": "a", "namespace": "b", "uid": "u"},
        "spec": {},
        "status": {"phase": "Succeeded", "best": {"score": "nan"}},
    }
    assert read_job_view(raw).ended


@pytest.mark.parametrize(
    ("old", "new", "patch"),
    [
        ({}, {"a": 1}, {"a": 1}),
        ({"a": 1}, {}, {"a": None}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1}}, {"a": {"c": None}}),
        ({"a": [1, 2]}, {"a": [1]}, {"a": [1]}),
        ({"a": {"b": 1}}, {"a": {"b": 1}}, {}),
        ({"a": 1}, {"a": {"b": 1}}, {"a": {"b": 1}}),
    ],
)
def test_merge_patch(old, new, patch):
    assert merge_patch(old, new) == patch


def kstatus(raw):
    """Return what kstatus (Flux, Helm) makes of an object with generic conditions."""
    status = raw.get("status") or {}
    found = {condition["type"]: condition["status"] for condition in status.get("conditions") or ()}
    if status.get("observedGeneration") != raw["metadata"]["generation"]:
        return "InProgress"
    if found.get("Reconciling") == "True":
        return "InProgress"
    if found.get("Stalled") == "True":
        return "Failed"
    return "InProgress" if found.get("Ready") in {"False", "Unknown"} else "Current"


def argo(raw):
    """Return what the health script for Argo CD says."""
    status = raw.get("status") or {}
    found = {condition["type"]: condition["status"] for condition in status.get("conditions") or ()}
    if status.get("observedGeneration") != raw["metadata"]["generation"]:
        return "Progressing"
    if found.get("Stalled") == "True":
        return "Degraded"
    if found.get("Suspended") == "True":
        return "Suspended"
    return "Healthy" if found.get("Ready") == "True" else "Progressing"


def situations():
    """Yield each situation of the table with the resource as it is then."""
    store = Store()
    cluster, operation = Cluster(store), Operation(store)

    def now():
        operation.settle()
        return json.loads(json.dumps(cluster.job))

    cluster.submit(acceptance={"minScore": 0.5})
    yield "made, the pod has not started", now()
    cluster.make_pod(phase="Pending", containerStatuses=[{"name": "trainer", "state": WAITS}])
    yield "the pod cannot start", now()
    cluster.stop_pods()
    cluster.run_pod()
    cluster.report_progress()
    yield "searching", now()
    cluster.change(suspend=True)
    yield "suspended, still stopping", now()
    cluster.stop_pods()
    yield "suspended", now()
    cluster.change(suspend=False)
    cluster.run_pod()
    step = {"from": "dask", "to": "local", "reason": "SchedulerLost", "time": "2026-11-01T12:00:10Z"}
    cluster.report_progress(2, fallbacks=[step])
    yield "searching after a step down", now()
    cluster.report(stage="Uploading")
    yield "uploading", now()
    cluster.report_success()
    cluster.end_pod(0)
    cluster.end_job("Complete")
    yield "a model, accepted", now()
    cluster.change(acceptance={"minScore": 0.99})
    yield "a model, below acceptance", now()
    other = Store()
    cluster, operation = Cluster(other), Operation(other)
    cluster.submit(dataset={"uri": "file:///x.csv"})
    yield "the spec is wrong", now()
    other = Store()
    cluster, operation = Cluster(other), Operation(other)
    cluster.submit()
    now()
    cluster.run_pod()
    cluster.end_pod(1)
    cluster.end_job("Failed", "BackoffLimitExceeded")
    yield "attempts exhausted", now()


WAITS = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
SHORT = {"True": "T", "False": "F", "Unknown": "?"}


def table():
    head = ["Situation", "Phase", *COLUMNS, "Reason of Ready", "kstatus", "Argo CD"]
    lines = [head, ["---"] * len(head)]
    for name, raw in situations():
        found = {condition["type"]: condition for condition in raw["status"]["conditions"]}
        marks = [SHORT[found[kind]["status"]] for kind in COLUMNS]
        phase, reason = raw["status"]["phase"], found["Ready"]["reason"]
        lines.append([name, phase, *marks, f"`{reason}`", kstatus(raw), argo(raw)])
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def test_the_table_in_the_docs_is_that_of_the_code():
    text = DOCS.read_text()
    begin, end = "<!-- table -->\n", "<!-- end -->"
    replaced = re.sub(f"{begin}.*{end}", lambda _: f"{begin}\n{table()}\n{end}", text, flags=re.DOTALL)
    check_text(DOCS, replaced)


def test_the_conditions_of_each_stage_have_readable_messages():
    health = {name: (kstatus(raw), argo(raw)) for name, raw in situations()}
    assert health["a model, accepted"] == ("Current", "Healthy")
    assert health["a model, below acceptance"] == ("Failed", "Degraded")
    assert health["suspended"] == ("InProgress", "Suspended")
    assert health["the spec is wrong"] == ("Failed", "Degraded")
    assert health["searching"] == ("InProgress", "Progressing")


def test_a_job_without_a_status_is_never_current():
    raw = {"metadata": {"generation": 1}}
    assert kstatus(raw) == "InProgress"


def test_lists_of_a_report_are_cut_to_the_limits_of_the_definition():
    artifacts = [
        {"name": f"{number}", "uri": "s3://b/x", "sha256": "a" * 64, "sizeBytes": 9} for number in range(32)
    ]
    steps = [{"from": "dask", "to": "local", "reason": f"R{number}", "time": NOW} for number in range(8)]
    rows = [LeaderboardEntry(rank=number, pipeline="p", score="0.5") for number in range(1, 101)]
    front = [ParetoPoint(score="0.5", complexity="1", pipeline="p") for _ in range(100)]
    report = Report(
        job_uid="u",
        leaderboard=tuple(rows),
        pareto_front=tuple(front),
        artifacts=tuple(artifacts),
        fallbacks=tuple(steps),
    )
    old = TrainingJobStatus(
        fallbacks=tuple(
            {"from": "local", "to": "none", "reason": f"O{number}", "time": NOW} for number in range(4)
        )
    )
    found = build_status(replace(SUBJECT, status=old), Observed(report=report), STEP, NOW)
    lists = (found.artifacts, found.fallbacks, found.leaderboard, found.pareto_front)
    assert [len(entries) for entries in lists] == [16, 8, 10, 20]
    assert build_status(replace(SUBJECT, status=found), Observed(report=report), STEP, NOW) == found


def test_artifacts_are_uploaded_only_once_the_job_has_succeeded():
    artifact = {"name": "model.joblib", "uri": "s3://b/x", "sha256": "a" * 64, "sizeBytes": 9}
    seen = Observed(report=Report(job_uid="u", artifacts=(artifact,)))
    for phase, expected in ((Phase.SAVING, "False"), (Phase.FAILED, "False"), (Phase.SUCCEEDED, "True")):
        step = replace(STEP, phase=phase, ended=NOW if phase.terminal else None)
        conditions = {
            condition.type: condition.status
            for condition in build_status(SUBJECT, seen, step, NOW).conditions
        }
        assert conditions["ArtifactsUploaded"] == expected


def test_the_status_of_an_ended_job_never_changes():
    step_down = {"from": "dask", "to": "local", "reason": "SchedulerLost", "time": NOW}
    report = Report(job_uid="u", model_source="tpot", fallbacks=(step_down,), progress=Progress(generation=7))
    end = replace(STEP, phase=Phase.SUCCEEDED, ended=NOW)
    old = build_status(SUBJECT, Observed(report=report, begun=NOW), end, NOW)
    told = {condition.type: condition for condition in old.conditions}
    assert (told["Degraded"].status, told["ArtifactsUploaded"].status) == ("True", "True")
    other = Report(
        job_uid="u", model_source="baseline", fallbacks=(step_down,), progress=Progress(generation=9)
    )
    later = NOW + timedelta(hours=1)
    for seen in (Observed(), Observed(report=other, begun=later, pods=(PodSeen(uid="p", created=later),))):
        assert build_status(replace(SUBJECT, status=old), seen, end, later) == old


@pytest.mark.parametrize("phase", [Phase.SUCCEEDED, Phase.FAILED])
def test_conditions_of_an_ended_job_about_cluster_and_artifacts_stay(phase):
    resolved = Resolved(parallel_mode="distributed", automl_enabled=True)
    failure = Failure(reason="UploadFailed", message="the bucket is away", exit_code=1)
    report = Report(job_uid="u", final=True, dask_ready=True, failure=failure)
    begun = replace(SUBJECT, status=TrainingJobStatus(resolved=resolved))
    end = replace(STEP, phase=phase, ended=NOW)
    old = build_status(begun, Observed(report=report, begun=NOW), end, NOW)
    told = {condition.type: (condition.status, condition.reason) for condition in old.conditions}
    assert told["DaskReady"] == ("True", "DaskReady")
    uploaded = ("True", "Uploaded") if phase is Phase.SUCCEEDED else ("False", "UploadFailed")
    assert told["ArtifactsUploaded"] == uploaded
    # The report is gone, as after a deletion of its ConfigMap.
    assert build_status(replace(SUBJECT, status=old), Observed(), end, NOW) == old


def test_the_start_time_stays_although_the_fence_is_recreated():
    old = build_status(SUBJECT, Observed(begun=NOW), STEP, NOW)
    later = NOW + timedelta(hours=1)
    assert build_status(replace(SUBJECT, status=old), Observed(begun=later), STEP, later).start_time == NOW


def test_fallbacks_are_kept_once_and_in_order():
    steps = [{"from": "dask", "to": "local", "reason": reason, "time": NOW} for reason in ("A", "B")]
    first = build_status(SUBJECT, Observed(report=Report(job_uid="u", fallbacks=(steps[1],))), STEP, NOW)
    both = Observed(report=Report(job_uid="u", fallbacks=tuple(steps)))
    second = build_status(replace(SUBJECT, status=first), both, STEP, NOW)
    assert [fallback.reason for fallback in second.fallbacks] == ["B", "A"]
    assert build_status(replace(SUBJECT, status=second), both, STEP, NOW) == second
