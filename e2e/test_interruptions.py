"""Killed pods and operators: evaluations are kept, and nothing is created twice."""

import pytest
from e2e.kit.jobs import START_SECONDS

LONG = {"timeLeftSeconds": 45}


def test_the_next_attempt_after_a_deleted_trainer_resumes_the_search(start, cluster, namespace, bucket):
    run = start("deleted", budget=LONG, backoffLimit=0)
    run.reach_search()
    (pod,) = run.pods
    cluster.core.delete_namespaced_pod(pod["metadata"]["name"], namespace)
    resumed(run, bucket, pod, len(run.journal()))


def test_the_next_attempt_after_an_evicted_trainer_resumes_the_search(start, cluster, namespace, bucket):
    run = start("evicted", budget=LONG, backoffLimit=0)
    run.reach_search()
    (pod,) = run.pods
    cluster.evict(namespace, pod["metadata"]["name"])
    resumed(run, bucket, pod, len(run.journal()))


def test_a_trainer_that_is_evicted_while_it_saves_ships_its_best_model(start, cluster, namespace, bucket):
    if bucket.server is None:
        pytest.skip("the S3 server is not the tests' own to stop")
    run = start("evicted-saving", backoffLimit=0)
    run.reach_search()
    # Without storage the trainer cannot finish before it is evicted, and what it saved goes with its pod.
    bucket.server.stop()
    try:
        run.reach("Saving", START_SECONDS)
        (pod,) = run.pods
        cluster.evict(namespace, pod["metadata"]["name"])
        run.eventually(lambda: "Evicted" in run.outcomes, "it is not evicted", START_SECONDS)
    finally:
        bucket.server.start()
    status = run.reach("Succeeded")
    assert run.outcomes == ["Evicted", "Succeeded"]
    assert status["modelSource"] == "tpot"
    assert status["progress"]["remainingSeconds"] <= 10, "half a budget is kept for finalists and fits"
    assert run.conditions()["Degraded"][0] == "False"


def resumed(run, bucket, first, before):
    """Wait for the second pod and the model, without a counted failure or a repeated evaluation."""
    run.eventually(
        lambda: [pod for pod in run.pods if pod["metadata"]["uid"] != first["metadata"]["uid"]],
        "there is no second pod",
        START_SECONDS,
    )
    status = run.reach("Succeeded")
    assert status["attempts"] == 2
    gone, stood = status["attemptHistory"]
    assert (gone["number"], gone["podUid"]) == (1, first["metadata"]["uid"])
    assert (gone["outcome"], gone["exitCode"], gone["node"]) == ("Evicted", 143, first["spec"]["nodeName"])
    assert gone["startTime"] < gone["endTime"] <= stood["endTime"]
    assert (stood["number"], stood["outcome"]) == (2, "Succeeded")
    assert not run.job["status"].get("failed")
    summary = bucket.document(f"{run.folder}evaluation_summary.json")
    # The journal has a line of its own for the run.
    assert summary["evaluations"]["total"] >= before - 1
    assert status["progress"]["elapsedSeconds"] <= LONG["timeLeftSeconds"] * 1.05 + 5
    assert run.conditions()["Degraded"][0] == "False"


@pytest.mark.parametrize("phase", ["Pending", "Searching", "Saving"])
def test_a_killed_operator_loses_nothing(start, operator, phase):
    run = start(f"killed-{phase.lower()}")
    if phase != "Pending":
        run.reach(phase, START_SECONDS)
    operator.kill()
    operator.wait_ready()
    status = run.reach("Succeeded")
    assert status["attempts"] == 1
    assert run.outcomes == ["Succeeded"]
    assert len(run.pods) == 1


def test_an_operator_accepts_the_last_report_after_an_outage(start, operator):
    run = start("unwatched")
    run.reach("Searching", START_SECONDS)
    with operator.down():
        run.eventually(
            lambda: (run.job or {}).get("status", {}).get("succeeded"), "the trainer does not end", 240
        )
        assert run.phase == "Searching"
    status = run.reach("Succeeded", 60)
    assert status["leaderboard"]
    assert run.conditions()["ArtifactsUploaded"] == ("True", "Uploaded")
