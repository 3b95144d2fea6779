"""Changes of a job that has ended."""

import pytest

from trainingjob_operator.children import Child


def test_the_time_to_live_deletes_only_the_batch_job(cluster, operation):
    operation.run_to_success(cluster)
    cluster.change(ttlSecondsAfterFinished=100)
    cluster.later(50)
    assert operation.settle() == pytest.approx(50, abs=1)
    assert cluster.child(Child.JOB)
    cluster.later(50)
    operation.settle()
    assert cluster.child(Child.JOB) is None
    assert not cluster.pods()
    assert cluster.child(Child.REPORT)
    [attempt] = cluster.status["attemptHistory"]
    assert (attempt["outcome"], attempt["exitCode"]) == ("Succeeded", 0)
    cluster.later(1000)
    operation.start()
    operation.settle()
    assert cluster.status["attemptHistory"] == [attempt]
    assert cluster.child(Child.JOB) is None
    assert cluster.status["phase"] == "Succeeded"
    assert cluster.status["observedGeneration"] == 2


def test_the_time_to_live_starts_at_the_end_of_the_job(cluster, operation):
    cluster.submit(ttlSecondsAfterFinished=100)
    operation.settle()
    cluster.run_pod()
    cluster.report_success()
    cluster.end_pod(0)
    cluster.end_job("Complete")
    due = operation.look()
    assert cluster.status["phase"] == "Succeeded"
    # Nothing else happens: the event of its own write is no news to an operator.
    assert due is not None
    cluster.later(due)
    assert operation.look() == pytest.approx(100, abs=1)


def test_acceptance_is_judged_again_when_it_changes(cluster, operation):
    operation.run_to_success(cluster)
    cluster.change(acceptance={"minScore": 0.99})
    operation.settle()
    assert cluster.status["phase"] == "Succeeded"
    assert cluster.ready == ("False", "BelowMinScore")
    assert cluster.condition("Stalled")["status"] == "True"
    assert cluster.condition("Complete")["status"] == "True"
    assert len(cluster.events("BelowMinScore")) == 1
    cluster.change(acceptance={"minScore": 0.5, "mustBeatBaseline": True})
    operation.settle()
    assert cluster.ready == ("True", "Succeeded")
    assert cluster.condition("AcceptanceMet")["reason"] == "Accepted"
