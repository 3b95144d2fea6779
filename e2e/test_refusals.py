"""A wrong job is rejected once, with a reason, and not retried."""

import pytest
from e2e.kit.bucket import SECRET
from e2e.kit.jobs import START_SECONDS


def failed(run, reason, seconds=START_SECONDS):
    """Wait for the end and return the message, which all conditions have to share."""
    run.reach("Failed", seconds)
    said = run.conditions()
    assert said["Failed"] == ("True", reason)
    assert said["Ready"] == ("False", reason)
    assert said["Stalled"] == ("True", reason)
    assert said["Complete"][0] == said["Reconciling"][0] == "False"
    return run.condition("Failed")["message"]


def test_a_missing_column_fails_the_job_without_a_retry(start, cluster, namespace):
    run = start("no-such-column", targetColumn="nowhere", backoffLimit=3)
    message = failed(run, "TargetColumnMissing")
    assert "nowhere" in message
    assert run.status["attempts"] == 1
    (attempt,) = run.status["attemptHistory"]
    said = (attempt["outcome"], attempt["exitCode"], attempt["reason"])
    assert said == ("Failed", 2, "TargetColumnMissing")
    assert len(run.pods) == 1
    (condition,) = [
        candidate for candidate in run.job["status"]["conditions"] if candidate["type"] == "Failed"
    ]
    assert condition["reason"] == "PodFailurePolicy"
    warnings = [event for event in cluster.events(namespace, run.uid) if event["type"] == "Warning"]
    assert [warning["reason"] for warning in warnings] == ["TargetColumnMissing"]


def test_an_invalid_spec_creates_no_pod(start, cluster, namespace):
    run = start("no-output", output={"uri": None})
    message = failed(run, "SpecInvalid", 60)
    assert "spec.output.uri" in message
    assert cluster.children(namespace, run.uid) == []


def test_a_job_waits_for_a_secret_that_is_created_later(start, cluster, namespace):
    run = start("late-secret", output={"credentialsSecretRef": {"name": "late"}})
    run.eventually(
        lambda: run.condition("Ready").get("reason") == "CredentialsMissing", "the Secret is not named", 60
    )
    message = run.condition("Ready")["message"]
    assert "Secret late" in message
    assert "spec.output.credentialsSecretRef" in message
    assert run.phase == "Pending"
    keys = cluster.core.read_namespaced_secret(SECRET, namespace).data
    body = {"metadata": {"name": "late"}, "data": {"AWS_ACCESS_KEY_ID": keys["AWS_ACCESS_KEY_ID"]}}
    cluster.core.create_namespaced_secret(namespace, body)
    run.eventually(
        lambda: "key: AWS_SECRET_ACCESS_KEY" in run.condition("Ready").get("message", ""),
        "the key is not named",
        150,
    )
    cluster.core.patch_namespaced_secret("late", namespace, {"data": keys})
    run.reach("Succeeded")
    assert run.status["attempts"] == 1
    assert len(run.pods) == 1


@pytest.mark.parametrize(
    ("name", "change", "reason", "word"),
    [
        pytest.param(
            "unschedulable",
            {"trainer": {"nodeSelector": {"nowhere": "true"}}},
            "Unschedulable",
            "No node can run",
            id="node",
        ),
        pytest.param(
            "no-claim",
            {"dataset": {"uri": "pvc://nowhere/table.csv"}},
            "ClaimNotFound",
            "nowhere",
            id="claim",
        ),
    ],
)
def test_a_pod_that_cannot_start_has_a_reason_until_the_deadline_ends_the_job(
    start, name, change, reason, word
):
    run = start(name, activeDeadlineSeconds=20, **change)
    run.eventually(lambda: run.condition("Ready").get("reason") == reason, f"{reason} is not said", 20)
    assert run.phase == "Pending"
    assert word in run.condition("Ready")["message"]
    message = failed(run, "DeadlineExceeded", 90)
    assert reason in message


def test_a_job_ends_at_its_deadline(start):
    run = start("deadline", budget={"timeLeftSeconds": 30}, activeDeadlineSeconds=30, backoffLimit=0)
    run.reach("Searching", START_SECONDS)
    message = failed(run, "DeadlineExceeded")
    assert "30 s" in message
    assert run.outcomes == ["DeadlineExceeded"]
    run.eventually(
        lambda: all(pod["status"]["phase"] in {"Succeeded", "Failed"} for pod in run.pods),
        "a pod is left",
        90,
    )
