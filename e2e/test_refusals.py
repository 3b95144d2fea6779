"""What is wrong is said once, with its reason, and not tried again."""

import pytest
from e2e.kit.bucket import SECRET
from e2e.kit.jobs import START_SECONDS


def failed(run, reason, seconds=START_SECONDS):
    """Wait for the end and return the message; all conditions have to tell the same story."""
    run.reach("Failed", seconds)
    said = run.conditions()
    assert said["Failed"] == ("True", reason)
    assert said["Ready"] == ("False", reason)
    assert said["Stalled"] == ("True", reason)
    assert said["Complete"][0] == said["Reconciling"][0] == "False"
    return run.condition("Failed")["message"]


def test_a_column_that_is_not_there_fails_without_a_retry(start, cluster, namespace):
    run = start("no-such-column", targetColumn="nowhere", backoffLimit=3)
    message = failed(run, "TargetColumnMissing")
    assert "nowhere" in message
    assert run.status["attempts"] == 1
    (attempt,) = run.status["attemptHistory"]
    said = (attempt["outcome"], attempt["exitCode"], attempt["reason"])
    assert said == ("Failed", 2, "TargetColumnMissing")
    assert len(run.pods) == 1
    (condition,) = [each for each in run.job["status"]["conditions"] if each["type"] == "Failed"]
    assert condition["reason"] == "PodFailurePolicy"
    warnings = [each for each in cluster.events(namespace, run.uid) if each["type"] == "Warning"]
    assert [each["reason"] for each in warnings] == ["TargetColumnMissing"]


def test_a_spec_that_cannot_work_makes_no_pod(start, cluster, namespace):
    run = start("no-output", output={"uri": None})
    message = failed(run, "SpecInvalid", 60)
    assert "spec.output.uri" in message
    assert cluster.children(namespace, run.uid) == []


def test_a_secret_that_comes_after_the_job_is_waited_for(start, cluster, namespace):
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
def test_a_pod_that_cannot_start_is_named_and_ends_at_the_deadline(start, name, change, reason, word):
    run = start(name, activeDeadlineSeconds=20, **change)
    run.eventually(lambda: run.condition("Ready").get("reason") == reason, f"{reason} is not said", 20)
    assert run.phase == "Pending"
    assert word in run.condition("Ready")["message"]
    message = failed(run, "DeadlineExceeded", 90)
    assert reason in message


def test_a_run_ends_at_its_deadline(start):
    run = start("deadline", budget={"timeLeftSeconds": 30}, activeDeadlineSeconds=30, backoffLimit=0)
    run.reach("Searching", START_SECONDS)
    message = failed(run, "DeadlineExceeded")
    assert "30 s" in message
    assert run.outcomes == ["DeadlineExceeded"]
    run.eventually(
        lambda: all(each["status"]["phase"] in {"Succeeded", "Failed"} for each in run.pods),
        "a pod is left",
        90,
    )
