"""A job through every turn of its life, against an API server in memory."""

import pytest

from support.fake_kubernetes import Cluster, Operation
from support.fake_kubernetes.cluster import NAMESPACE, container
from support.fake_kubernetes.operation import SETTINGS
from trainingjob_operator.names import Child

MOST_WRITES = 30
"""API writes in a job's life, progress aside."""


def ready(cluster):
    condition = cluster.condition("Ready")
    return condition["status"], condition["reason"]


def run_to_success(cluster, operation):
    cluster.submit()
    operation.settle()
    cluster.run_pod()
    operation.settle()
    cluster.report_progress()
    operation.settle()
    cluster.report_success()
    operation.settle()
    cluster.end_pod(0)
    cluster.end_job("Complete")
    operation.settle()


def test_first_touch_makes_every_child_and_says_so(cluster, operation):
    cluster.submit()
    operation.settle()
    assert all(cluster.child(child) for child in Child)
    assert cluster.status["phase"] == "Pending"
    assert ready(cluster) == ("Unknown", "WaitingForTrainer")
    assert cluster.condition("Reconciling")["status"] == "True"
    assert cluster.status["observedGeneration"] == 1
    assert cluster.status["resolved"]["sources"]["budget.timeLeftSeconds"] == "spec"
    assert cluster.status["resolved"]["image"] == SETTINGS.trainer_image


def test_a_run_ends_in_a_model(cluster, operation):
    cluster.submit()
    operation.settle()
    cluster.run_pod()
    operation.settle()
    assert (cluster.status["phase"], *ready(cluster)) == ("Searching", "False", "Searching")
    cluster.report_progress(3)
    operation.settle()
    assert cluster.status["progress"]["generation"] == 3
    assert cluster.status["backend"] == "local"
    cluster.report(stage="Uploading")
    operation.settle()
    assert cluster.status["phase"] == "Saving"
    assert cluster.condition("ArtifactsUploaded")["reason"] == "Uploading"
    cluster.report_success()
    cluster.end_pod(0)
    operation.settle()
    assert cluster.status["phase"] == "Saving"
    cluster.end_job("Complete")
    operation.settle()
    assert (cluster.status["phase"], *ready(cluster)) == ("Succeeded", "True", "Succeeded")
    assert cluster.condition("ArtifactsUploaded")["status"] == "True"
    assert cluster.condition("AcceptanceMet")["reason"] == "AcceptanceNotAsked"
    assert cluster.status["progress"]["generation"] == 3
    assert cluster.status["modelSource"] == "tpot"
    assert cluster.status["artifacts"][0]["name"] == "model.joblib"
    assert cluster.status["completionTime"]


def test_a_life_has_few_writes(cluster, operation):
    run_to_success(cluster, operation)
    cluster.later(86_400)
    operation.settle()
    own = [one for one in operation.client.requests if one[0] != "GET"]
    assert len(own) <= MOST_WRITES


def test_what_says_nothing_new_is_not_written(cluster, operation):
    run_to_success(cluster, operation)
    before = len(cluster.store.writes)
    operation.start()
    operation.settle()
    assert len(cluster.store.writes) == before


def test_a_report_written_while_the_operator_was_down_is_read(cluster, operation):
    cluster.submit()
    operation.settle()
    cluster.run_pod()
    cluster.report_progress()
    cluster.report_success()
    cluster.end_pod(0)
    cluster.end_job("Complete")
    cluster.store.delete("pods", NAMESPACE, "churn-trainer-1")
    operation.start()
    operation.settle()
    assert cluster.status["phase"] == "Succeeded"
    assert cluster.status["best"]["holdoutScore"] == "0.91"


def test_completion_without_a_report_is_no_success(cluster, operation):
    cluster.submit()
    operation.settle()
    cluster.run_pod()
    cluster.end_pod(0)
    cluster.end_job("Complete")
    assert operation.settle() is not None
    assert cluster.status["phase"] == "Saving"
    cluster.later(60)
    operation.settle()
    assert (cluster.status["phase"], cluster.condition("Failed")["reason"]) == ("Failed", "TrainerCrashed")


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
def test_an_invalid_spec_is_one_condition_and_no_job(cluster, operation, spec, reason, word):
    cluster.submit(**spec)
    operation.settle()
    assert cluster.status["phase"] == "Failed"
    assert cluster.condition("Failed")["reason"] == reason
    assert word in cluster.condition("Failed")["message"]
    assert not any(cluster.child(child) for child in Child)
    assert len(cluster.events()) == 1


def test_attempts_run_out(cluster, operation):
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
    assert cluster.status["attempts"] == 2


def test_memory_is_named(cluster, operation):
    cluster.submit(backoffLimit=0)
    operation.settle()
    cluster.run_pod()
    cluster.end_pod(137, reason="OOMKilled")
    cluster.end_job("Failed", "BackoffLimitExceeded")
    operation.settle()
    assert "OutOfMemory" in cluster.condition("Failed")["message"]


def test_an_eviction_is_named_and_the_next_attempt_goes_on(cluster, operation):
    cluster.submit()
    operation.settle()
    cluster.run_pod()
    cluster.report_progress(2)
    operation.settle()
    disruption = {"type": "DisruptionTarget", "status": "True", "message": "node drained"}
    cluster.pod_status(phase="Failed", reason="Evicted", conditions=[disruption])
    operation.settle()
    assert (cluster.status["phase"], *ready(cluster)) == ("Pending", "False", "TrainerEvicted")
    cluster.run_pod()
    operation.settle()
    assert cluster.status["phase"] == "Searching"
    cluster.report_progress(3)
    operation.settle()
    assert cluster.status["attempts"] == 2
    assert cluster.status["progress"]["generation"] == 3


STARTING_TROUBLES = [
    pytest.param(
        {
            "containerStatuses": [
                container(waiting={"reason": "ImagePullBackOff", "message": "no such image"})
            ]
        },
        "ImageUnavailable",
        "no such image",
        id="image",
    ),
    pytest.param(
        {
            "conditions": [
                {
                    "type": "PodScheduled",
                    "status": "False",
                    "reason": "Unschedulable",
                    "message": '0/3 nodes are available: persistentvolumeclaim "tables" not found.',
                }
            ]
        },
        "ClaimNotFound",
        "tables",
        id="claim",
    ),
    pytest.param(
        {
            "conditions": [
                {
                    "type": "PodScheduled",
                    "status": "False",
                    "reason": "Unschedulable",
                    "message": "0/3 nodes are available: 3 Insufficient cpu.",
                }
            ]
        },
        "Unschedulable",
        "Insufficient cpu",
        id="unschedulable",
    ),
    pytest.param(
        {
            "containerStatuses": [
                container(waiting={"reason": "CreateContainerConfigError", "message": 'secret "x" not found'})
            ]
        },
        "SecretNotFound",
        '"x"',
        id="secret",
    ),
]


@pytest.mark.parametrize(("status", "reason", "word"), STARTING_TROUBLES)
def test_a_pod_that_cannot_start_is_named_and_fails_at_the_deadline(cluster, operation, status, reason, word):
    cluster.submit(activeDeadlineSeconds=100)
    operation.settle()
    cluster.make_pod(phase="Pending", **status)
    assert operation.settle() is not None
    assert cluster.status["phase"] == "Pending"
    assert ready(cluster) == ("False", reason)
    assert word in cluster.condition("Ready")["message"]
    cluster.stop_pods()
    cluster.end_job("Failed", "DeadlineExceeded")
    operation.settle()
    failed = cluster.condition("Failed")
    assert failed["reason"] == "DeadlineExceeded"
    assert reason in failed["message"]


def test_a_quota_is_named_from_the_jobs_events(cluster, operation):
    cluster.submit()
    operation.settle()
    trainer = cluster.child(Child.JOB)
    cluster._make(
        "events",
        {
            "metadata": {"name": "x"},
            "involvedObject": {"uid": trainer["metadata"]["uid"]},
            "reason": "FailedCreate",
            "message": 'pods "churn-trainer-x" is forbidden: exceeded quota: small, requested: cpu=3',
        },
    )
    assert operation.settle() is not None
    assert ready(cluster) == ("False", "QuotaExceeded")


def test_suspending_keeps_the_work_and_resuming_has_the_rest_of_the_deadline(cluster, operation):
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
    assert cluster.child(Child.JOB)["spec"]["activeDeadlineSeconds"] == 700
    cluster.run_pod()
    cluster.report_progress(2)
    operation.settle()
    assert cluster.status["phase"] == "Searching"
    assert cluster.condition("Suspended")["status"] == "False"
    assert cluster.status["attempts"] == 2


def test_a_job_suspended_from_the_first_makes_nothing_and_two_writes(cluster, operation):
    cluster.submit(suspend=True)
    operation.settle()
    assert not any(cluster.child(child) for child in Child)
    assert cluster.status["phase"] == "Suspended"
    assert "startTime" not in cluster.status
    assert len([one for one in operation.client.requests if one[0] != "GET"]) == 2
    cluster.change(suspend=False)
    operation.settle()
    assert cluster.child(Child.JOB)


def test_time_to_live_removes_the_job_and_nothing_else(cluster, operation):
    run_to_success(cluster, operation)
    cluster.change(ttlSecondsAfterFinished=100)
    cluster.later(50)
    assert operation.settle() == pytest.approx(50, abs=1)
    assert cluster.child(Child.JOB)
    cluster.later(50)
    operation.settle()
    assert cluster.child(Child.JOB) is None
    assert not cluster.pods()
    assert cluster.child(Child.REPORT)
    cluster.later(1000)
    operation.start()
    operation.settle()
    assert cluster.child(Child.JOB) is None
    assert cluster.status["phase"] == "Succeeded"
    assert cluster.status["observedGeneration"] == 2


def test_acceptance_is_judged_again_when_it_changes(cluster, operation):
    run_to_success(cluster, operation)
    cluster.change(acceptance={"minScore": 0.99})
    operation.settle()
    assert cluster.status["phase"] == "Succeeded"
    assert ready(cluster) == ("False", "BelowMinScore")
    assert cluster.condition("Stalled")["status"] == "True"
    assert cluster.condition("Complete")["status"] == "True"
    assert len(cluster.events("BelowMinScore")) == 1
    cluster.change(acceptance={"minScore": 0.5, "mustBeatBaseline": True})
    operation.settle()
    assert ready(cluster) == ("True", "Succeeded")
    assert cluster.condition("AcceptanceMet")["reason"] == "Accepted"


@pytest.mark.parametrize("phase", ["submitted", "made", "running", "suspended", "ended"])
def test_deleting_takes_everything_away(cluster, operation, phase):
    cluster.submit(suspend=phase == "suspended")
    if phase != "submitted":
        operation.settle()
    if phase in {"running", "ended"}:
        cluster.run_pod()
        operation.settle()
    if phase == "ended":
        cluster.report_success()
        cluster.end_job("Complete")
        operation.settle()
    cluster.remove()
    operation.settle()
    assert {plural for plural, *_ in cluster.store.objects} <= {"events"}


def test_a_job_that_is_being_deleted_gets_no_children(cluster, operation):
    cluster.submit()
    cluster.job["metadata"]["deletionTimestamp"] = cluster.store.stamp()
    operation.settle()
    assert not any(cluster.child(child) for child in Child)


def test_children_of_an_earlier_job_are_waited_for(cluster, operation):
    cluster.submit()
    operation.settle()
    old = cluster.child(Child.RUN)
    cluster.remove()
    cluster.submit()
    cluster.store.objects["configmaps", NAMESPACE, "churn-run"] = old
    assert operation.settle() is not None
    assert ready(cluster) == ("Unknown", "WaitingForPredecessor")
    cluster.store.delete("configmaps", NAMESPACE, "churn-run")
    operation.settle()
    assert cluster.child(Child.JOB)


def test_somebody_elses_object_is_never_touched(cluster, operation):
    cluster._make("configmaps", {"metadata": {"name": "churn-report"}, "data": {"mine": "1"}})
    cluster.submit()
    operation.settle()
    assert ready(cluster) == ("False", "NameConflict")
    assert cluster.child(Child.JOB) is None
    assert cluster.child(Child.REPORT)["data"] == {"mine": "1"}


def test_a_job_deleted_by_hand_is_made_again_and_a_finished_one_is_not(cluster, operation):
    cluster.submit()
    operation.settle()
    cluster.store.delete("jobs", NAMESPACE, "churn-trainer")
    operation.settle()
    assert cluster.child(Child.JOB)
    cluster.run_pod()
    cluster.report_success()
    cluster.store.delete("jobs", NAMESPACE, "churn-trainer")
    operation.settle()
    assert cluster.child(Child.JOB) is None
    assert cluster.status["phase"] == "Succeeded"


def test_a_role_removed_by_hand_is_made_again(cluster, operation):
    cluster.submit()
    operation.settle()
    cluster.run_pod()
    cluster.store.delete("roles", NAMESPACE, "churn-trainer")
    operation.settle()
    assert cluster.child(Child.ROLE)


def test_the_search_space_of_a_config_map_is_read_once(cluster, operation):
    cluster.submit(searchSpace={"configMapRef": {"name": "space", "key": "tree"}})
    assert operation.settle() is not None
    assert ready(cluster) == ("False", "ConfigMapNotFound")
    tree = "{type: estimator, name: LogisticRegression}"
    cluster._make("configmaps", {"metadata": {"name": "space"}, "data": {"tree": tree}})
    operation.settle()
    assert "LogisticRegression" in cluster.child(Child.RUN)["data"]["run.json"]
    cluster.store.delete("configmaps", NAMESPACE, "space")
    operation.settle()
    assert cluster.status["phase"] == "Pending"


def test_a_plan_outlives_the_settings_it_was_made_with(store, cluster):
    cluster.submit()
    Operation(store).settle()
    other = Operation(
        store, settings=SETTINGS.__class__(trainer_image="other:2", defaults={"TPOT__GENERATIONS": "3"})
    )
    other.settle()
    assert cluster.child(Child.JOB)["spec"]["template"]["spec"]["containers"][0]["image"] != "other:2"
    assert cluster.status["resolved"]["generations"] == 40


def test_each_class_minds_its_own(store):
    stable, canary = (
        Operation(store),
        Operation(store, settings=SETTINGS.__class__(trainer_image="canary:1", operator_class="canary")),
    )
    cluster = Cluster(store)
    cluster.submit()
    canary.settle()
    assert cluster.status == {}
    cluster.job["metadata"]["labels"] = {"automl.trainingjob.dev/operator-class": "canary"}
    stable.settle()
    assert cluster.status == {}
    canary.settle()
    assert cluster.status["phase"] == "Pending"


def test_a_fallback_is_told_and_counted_once(cluster, operation):
    cluster.submit()
    operation.settle()
    cluster.run_pod()
    step = {"from": "dask", "to": "local", "reason": "SchedulerLost", "time": "2026-11-01T12:00:10Z"}
    for _ in range(2):
        cluster.report_progress(1, fallbacks=[step])
        operation.settle()
    assert operation.value("tpot_parallel_fallbacks_total", reason="SchedulerLost") == 1
    assert cluster.condition("Degraded")["reason"] == "SchedulerLost"
    operation.start()
    cluster.report_progress(2, fallbacks=[step])
    operation.settle()
    assert operation.value("tpot_parallel_fallbacks_total", reason="SchedulerLost") == 0
    assert len(cluster.events("SchedulerLost")) == 1


def test_progress_is_written_seldom_however_often_it_is_reported(cluster, operation):
    cluster.submit()
    operation.settle()
    cluster.run_pod()
    cluster.report_progress(1)
    operation.settle()
    before = len([one for one in cluster.store.writes if one[1] == "trainingjobs/status"])
    for number in range(20):
        progress = {"generation": 2 + number, "updatedAt": cluster.store.stamp()}
        cluster.report(progress=progress, backend="local")
        assert (operation.look() or 0) <= 10
        cluster.later(1)
    writes = [one for one in cluster.store.writes if one[1] == "trainingjobs/status"]
    assert len(writes) - before <= 2
    cluster.later(10)
    operation.settle()
    assert cluster.status["progress"]["generation"] == 21


@pytest.mark.parametrize(
    "name", ["x" * 253, ".".join(["a" * 60] * 4), "churn.v1"], ids=["long", "dots", "dot"]
)
def test_any_name_and_any_column_goes_through_a_whole_life(store, name):
    cluster, operation = Cluster(store, name), Operation(store, name=name)
    cluster.submit(targetColumn="Gewünscht ✓ 目標", dataset={"uri": "s3://data/Tabelle ü/目標.csv"})
    operation.settle()
    cluster.run_pod()
    text = "é" * 300
    rows = [{"rank": rank, "pipeline": text, "score": "0.9"} for rank in range(1, 101)]
    cluster.report_progress(1, leaderboard=rows)
    operation.settle()
    assert cluster.status["leaderboard"][0]["pipeline"] == text
    cluster.report_success()
    cluster.end_pod(0)
    cluster.end_job("Complete")
    operation.settle()
    assert cluster.status["phase"] == "Succeeded"
    assert cluster.status["resolved"]["targetColumn"] == "Gewünscht ✓ 目標"
    free = {"trainingjobs", "events", "pods"}
    assert all(len(made) <= 63 for plural, _, made in store.objects if plural not in free)
