"""Suspend and resume: evaluations are kept, and budget and deadline continue."""

from e2e.kit.jobs import START_SECONDS, STOP_SECONDS


def test_a_suspended_job_resumes_its_search(start, operator, bucket):
    run = start("paused", budget={"timeLeftSeconds": 45}, activeDeadlineSeconds=600)
    run.reach_search()
    run.suspend()
    run.eventually(lambda: run.conditions()["Suspended"][0] == "True", "it does not stop", STOP_SECONDS)
    assert run.phase == "Suspended"
    assert run.conditions()["Ready"][0] == "False"
    assert run.conditions()["Reconciling"][0] == "False"
    job = run.job
    assert job["spec"]["suspend"] is True
    assert job["spec"]["activeDeadlineSeconds"] < 600
    assert not job["status"].get("failed")
    assert run.outcomes == ["Suspended"]
    kept = len(run.journal())
    assert kept > 1

    operator.kill()
    operator.wait_ready()
    assert run.phase == "Suspended"

    run.resume()
    run.reach("Searching", START_SECONDS)
    status = run.reach("Succeeded")
    assert run.outcomes == ["Suspended", "Succeeded"]
    assert run.job["metadata"]["uid"] == job["metadata"]["uid"]
    assert status["progress"]["elapsedSeconds"] <= 45 * 1.05 + 5
    assert bucket.document(f"{run.folder}evaluation_summary.json")["evaluations"]["total"] >= kept - 1
    reasons = [event["reason"] for event in run.cluster.events(run.namespace, run.uid)]
    assert reasons.count("Suspended") >= 1
    assert reasons.count("Resumed") == 1


def test_a_job_that_is_created_suspended_starts_on_resume(start):
    run = start("waiting", suspend=True, automl={"enabled": False}, budget=None)
    run.eventually(lambda: run.conditions().get("Suspended", ("",))[0] == "True", "it is not suspended", 60)
    assert run.pods == []
    assert "startTime" not in run.status
    run.resume()
    run.reach("Succeeded", START_SECONDS)
