"""Jobs that are suspended, resumed, or created suspended."""

from trainingjob_operator.children import TRAINER_CHILDREN, Child


def test_a_resumed_job_has_its_work_and_the_rest_of_its_deadline(cluster, operation):
    cluster.submit(activeDeadlineSeconds=1000)
    operation.settle()
    cluster.run_pod()
    cluster.report_progress(1)
    cluster.later(285)
    operation.settle()
    cluster.change(suspend=True)
    operation.settle()
    assert cluster.child(Child.JOB)["spec"]["suspend"] is True
    assert cluster.child(Child.JOB)["spec"]["activeDeadlineSeconds"] == 700
    assert cluster.status["phase"] == "Suspended"
    assert cluster.condition("Suspended")["status"] == "False"
    cluster.stop_pods()
    operation.settle()
    assert cluster.condition("Suspended")["status"] == "True"
    assert cluster.condition("Reconciling")["status"] == "False"
    cluster.later(5000)
    operation.settle()
    cluster.change(suspend=False)
    operation.settle()
    assert cluster.child(Child.JOB)["spec"]["suspend"] is False
    told = [event["reason"] for event in cluster.events()]
    assert (told.count("Resumed"), told.count("WaitingForTrainer")) == (1, 1)
    assert cluster.child(Child.JOB)["spec"]["activeDeadlineSeconds"] == 700
    cluster.run_pod()
    cluster.report_progress(2)
    operation.settle()
    assert cluster.status["phase"] == "Searching"
    assert cluster.condition("Suspended")["status"] == "False"
    assert cluster.status["attempts"] == 2
    assert [attempt.get("outcome") for attempt in cluster.status["attemptHistory"]] == ["Suspended", None]


def test_a_job_that_is_created_suspended_creates_nothing_and_needs_two_writes(cluster, operation):
    cluster.submit(suspend=True)
    operation.settle()
    assert not any(cluster.child(child) for child in TRAINER_CHILDREN)
    assert cluster.status["phase"] == "Suspended"
    assert "startTime" not in cluster.status
    assert len([request for request in operation.client.requests if request[0] != "GET"]) == 2
    cluster.change(suspend=False)
    operation.settle()
    assert cluster.child(Child.JOB)
