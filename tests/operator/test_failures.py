"""Failures of spec, data and pods have a reason and a message."""

import json

import pytest

from support.fake_kubernetes.cluster import NAMESPACE
from trainingjob_operator import pods
from trainingjob_operator.children import TRAINER_CHILDREN, Child
from trainingjob_operator.pods import read_pod


def end_without_a_report(cluster, operation):
    """Let a trainer end well, its last report lost; return the uid of its Job."""
    operation.settle()
    uid = cluster.child(Child.JOB)["metadata"]["uid"]
    cluster.run_pod()
    cluster.report_success()
    cluster.store.delete("configmaps", NAMESPACE, cluster.name_of(Child.REPORT))
    cluster.end_pod(0)
    cluster.end_job("Complete")
    due = operation.settle()
    assert cluster.status["phase"] == "Saving"
    for _ in range(20):
        cluster.later(due or 0)
        due = operation.settle()
    return uid


def test_a_trainer_whose_last_report_is_lost_reports_again(cluster, operation):
    cluster.submit()
    first = end_without_a_report(cluster, operation)
    assert cluster.child(Child.JOB)["metadata"]["uid"] != first
    assert cluster.child(Child.REPORT)
    cluster.run_pod()
    operation.end_in_success(cluster)
    assert cluster.status["phase"] == "Succeeded"
    assert [attempt["outcome"] for attempt in cluster.status["attemptHistory"]] == ["Succeeded", "Succeeded"]


@pytest.mark.parametrize("restarts", [False, True])
def test_a_trainer_that_ends_twice_without_a_report_fails(cluster, operation, restarts):
    cluster.submit()
    end_without_a_report(cluster, operation)
    if restarts:
        operation.start()
    end_without_a_report(cluster, operation)
    failed = cluster.condition("Failed")
    assert (cluster.status["phase"], failed["reason"]) == ("Failed", "TrainerCrashed")
    uid = cluster.job["metadata"]["uid"]
    assert f"s3://models/churn-{uid[:8]}/ with its digests in manifest.json" in failed["message"]
    assert cluster.status["attempts"] == 2


def test_an_operator_that_missed_the_end_records_the_pod_before_a_new_run(cluster, operation):
    cluster.submit()
    operation.settle()
    cluster.run_pod()
    cluster.end_pod(0)
    cluster.end_job("Complete")
    cluster.later(3600)
    operation.look()
    assert cluster.child(Child.JOB)["status"].get("conditions")
    operation.settle()
    operation.settle()
    assert not cluster.child(Child.JOB).get("status")
    assert [attempt["outcome"] for attempt in cluster.status["attemptHistory"]] == ["Succeeded"]


def test_wrong_data_fails_once_with_the_trainers_reason(cluster, operation):
    cluster.submit()
    operation.settle()
    cluster.run_pod()
    cluster.report_failure("TargetColumnMissing", "column 'churned' is not there", code=2)
    cluster.end_pod(2)
    cluster.end_job("Failed", "PodFailurePolicy", "Container trainer failed with exit code 2")
    operation.settle()
    assert cluster.status["phase"] == "Failed"
    assert cluster.condition("Failed")["reason"] == "TargetColumnMissing"
    assert cluster.condition("Stalled")["status"] == "True"
    assert "churned" in cluster.condition("Ready")["message"]
    assert len(cluster.events("TargetColumnMissing")) == 1


@pytest.mark.parametrize(
    ("spec", "reason", "word"),
    [
        pytest.param({"dataset": {"uri": "file:///data.csv"}}, "SpecInvalid", "file://", id="file-dataset"),
        pytest.param(
            {"output": {"uri": "file:///models"}}, "SpecInvalid", "spec.output.uri", id="file-output"
        ),
        pytest.param({"output": None}, "SpecInvalid", "spec.output.uri", id="no-output"),
        pytest.param({"budgett": {}}, "SpecInvalid", "budget", id="misspelt"),
        pytest.param({"dataset": {"uri": "https://host/x.csv"}}, "NotAllowed", "https://", id="https"),
        pytest.param({"searchSpace": {"inline": "{type: nonsense}"}}, "SpecInvalid", "inline", id="space"),
    ],
)
def test_an_invalid_spec_is_a_condition_and_creates_no_job(cluster, operation, spec, reason, word):
    cluster.submit(**spec)
    operation.settle()
    assert cluster.status["phase"] == "Failed"
    assert cluster.condition("Failed")["reason"] == reason
    assert word in cluster.condition("Failed")["message"]
    assert not any(cluster.child(child) for child in TRAINER_CHILDREN)
    assert len(cluster.events()) == 1


def test_the_job_fails_after_its_last_attempt(cluster, operation):
    cluster.submit(backoffLimit=1)
    operation.settle()
    for _ in range(2):
        cluster.run_pod()
        cluster.report_failure("UploadFailed", "storage does not answer")
        operation.settle()
        cluster.end_pod(1)
        operation.settle()
    cluster.job_status(failed=2)
    cluster.end_job("Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
    operation.settle()
    failed = cluster.condition("Failed")
    assert failed["reason"] == "BackoffLimitExceeded"
    assert "UploadFailed: storage does not answer" in failed["message"]
    assert cluster.condition("ArtifactsUploaded")["reason"] == "UploadFailed"
    tries = [
        (attempt["outcome"], attempt["reason"], attempt["exitCode"])
        for attempt in cluster.status["attemptHistory"]
    ]
    assert tries == [("Failed", "UploadFailed", 1)] * 2
    assert cluster.status["attempts"] == 2


def killed(cluster, operation, reason, code=137, told=None):
    """Kill the trainer in its last attempt, as the kubelet reports it; return the attempt."""
    cluster.submit(backoffLimit=0)
    operation.settle()
    cluster.run_pod()
    if told is not None:
        cluster.report_failure(told, "the search process was ended by signal 9")
    cluster.end_pod(code, reason=reason)
    cluster.end_job("Failed", "BackoffLimitExceeded")
    operation.settle()
    [attempt] = cluster.status["attemptHistory"]
    return attempt


@pytest.mark.parametrize(
    ("code", "told"),
    [
        pytest.param(137, None, id="container"),
        # Some runtimes say so of a container in which a child was killed, too.
        pytest.param(1, "NoModel", id="child"),
    ],
)
def test_a_kill_for_memory_names_the_limit_and_the_fields(cluster, operation, code, told):
    attempt = killed(cluster, operation, "OOMKilled", code, told)
    message = cluster.condition("Failed")["message"]
    limit = cluster.child(Child.JOB)["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert f"OutOfMemory: The trainer exceeded its memory limit of {limit['memory']}" in message
    assert "raise spec.memoryLimitMb or spec.trainer.resources.limits.memory" in message
    assert "NoModel" not in message
    assert (attempt["outcome"], attempt["exitCode"]) == ("OOMKilled", code)


def test_a_kill_without_a_reason_of_the_kubelet_is_explained(cluster, operation):
    attempt = killed(cluster, operation, "Error")
    assert "137 (killed, most often for exceeding its memory limit)" in attempt["message"]


@pytest.mark.parametrize(
    ("message", "its_own"),
    [
        ("Pod ephemeral local storage usage exceeds the total limit of containers 8Ki.", True),
        ('Container trainer exceeded its local ephemeral storage limit "8Ki".', True),
        ('Usage of EmptyDir volume "work" exceeds the limit "20Gi".', True),
        ("The node was low on resource: ephemeral-storage. Container trainer was using 9Gi.", False),
        ("The node was low on resource: memory.", False),
    ],
)
def test_only_an_eviction_for_its_own_storage_is_a_failure(cluster, operation, message, its_own):
    cluster.submit(backoffLimit=1)
    operation.settle()
    for _ in range(3):
        if cluster.status.get("phase") == "Failed":
            break
        cluster.run_pod()
        operation.settle()
        disruption = {"type": "DisruptionTarget", "status": "True", "message": message}
        cluster.pod_status(phase="Failed", reason="Evicted", conditions=[disruption])
        operation.settle()
    if not its_own:
        assert (cluster.status["phase"], cluster.ready[1]) == ("Pending", "TrainerEvicted")
        return
    failed = cluster.condition("Failed")
    assert (cluster.status["attempts"], failed["reason"]) == (2, "OutOfStorage")
    assert "spec.trainer.resources.limits" in failed["message"]
    assert message.split('"')[0].rstrip(".") in failed["message"]
    assert [attempt["outcome"] for attempt in cluster.status["attemptHistory"]] == ["Failed", "Failed"]


def test_the_next_attempt_resumes_after_a_named_eviction(cluster, operation):
    cluster.submit()
    operation.settle()
    cluster.run_pod()
    cluster.report_progress(2)
    operation.settle()
    disruption = {"type": "DisruptionTarget", "status": "True", "message": "node drained"}
    cluster.pod_status(phase="Failed", reason="Evicted", conditions=[disruption])
    operation.settle()
    assert (cluster.status["phase"], *cluster.ready) == ("Pending", "False", "TrainerEvicted")
    cluster.run_pod()
    operation.settle()
    assert cluster.status["phase"] == "Searching"
    cluster.report_progress(3)
    operation.settle()
    assert cluster.status["attempts"] == 2
    assert cluster.status["progress"]["generation"] == 3
    first, second = cluster.status["attemptHistory"]
    assert (first["number"], first["outcome"], first["reason"]) == (1, "Evicted", "TrainerEvicted")
    assert "node drained" in first["message"]
    assert (second["number"], second["pod"], second["node"]) == (2, "churn-trainer-2", "node-1")
    assert "outcome" not in second


def test_a_failed_pod_on_an_unreachable_node_does_not_run():
    raw = {
        "metadata": {"uid": "p", "creationTimestamp": "2026-11-01T12:00:00Z"},
        "status": {
            "phase": "Failed",
            "reason": "NodeLost",
            "containerStatuses": [{"name": "trainer", "state": {"running": {}}}],
        },
    }
    seen = read_pod(raw, {})
    assert (seen.running, seen.finished) == (False, True)
    raw["status"]["phase"] = "Running"
    assert read_pod(raw, {}).running


@pytest.mark.parametrize(
    ("message", "says"),
    [
        ("UnexpectedError: ValueError: x", ": UnexpectedError: ValueError: x"),
        ('{"event": "a"}\n{"event": "failed", "reason": "R", "message": "m"}\n', ": failed: m"),
        ("a line\nthe last line", ": the last line"),
        ("Traceback (most recent call last):\n  File x\nOSError: no space", ": OSError: no space"),
        (
            json.dumps({"event": "died", "traceback": "Traceback\n  File x\nOSError: full\n"}),
            ": died: OSError: full",
        ),
        (json.dumps({"event": "failed", "message": "m", "traceback": "T\nE: m"}), ": failed: m"),
        (json.dumps({"traceback": "T\n" * 2000 + "OSError: full"})[-2048:], ": OSError: full"),
        ("[1]", ": [1]"),
        ("[" * 4000, ": [[["),
        ("", ""),
    ],
)
def test_the_message_of_a_crash_is_its_last_line(message, says):
    found = pods._ended({"exitCode": 1, "message": message}, "")
    assert found.reason == "TrainerCrashed"
    assert found.message.startswith(f"The trainer ended with exit code 1{says}")
    assert "traceback" not in found.message.lower()
    assert len(found.message) < 500
