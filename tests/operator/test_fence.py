"""The plan of a running job never changes, whatever is deleted by hand."""

from dataclasses import replace

import pytest

from support.fake_kubernetes import Operation
from support.fake_kubernetes.cluster import NAMESPACE
from support.fake_kubernetes.operation import SETTINGS
from trainingjob_operator.children import PLAN_ANNOTATION, Child

OTHERS = {
    "image": replace(SETTINGS, trainer_image="registry.example/trainer:2"),
    "generations": replace(SETTINGS, defaults={"TPOT__GENERATIONS": "3"}),
    "search_digest": replace(SETTINGS, defaults={"TPOT__CONFIG_DICT": "graph"}),
    "automl_enabled": replace(SETTINGS, rollout_percent=0.0),
}


def image_of(cluster):
    return cluster.child(Child.JOB)["spec"]["template"]["spec"]["containers"][0]["image"]


def begin(store, cluster, **spec):
    cluster.submit(**spec)
    Operation(store).settle()
    cluster.run_pod()
    cluster.report_progress(1)
    Operation(store).settle()


FENCE, JOB = Child.RUN, Child.JOB


@pytest.mark.parametrize("settings", [SETTINGS, *OTHERS.values()], ids=["same", *OTHERS])
def test_a_deleted_fence_is_recreated_unchanged(store, cluster, settings):
    begin(store, cluster)
    before, resolved = cluster.child(Child.RUN)["data"], cluster.status["resolved"]
    cluster.lose(FENCE)
    Operation(store, settings=settings).settle()
    assert cluster.child(Child.RUN)["data"] == before
    assert cluster.child(Child.RUN)["immutable"] is True
    assert cluster.status["resolved"] == resolved
    assert cluster.status["phase"] == "Searching"


def test_a_changed_search_space_does_not_change_a_running_job(store, cluster):
    tree = "{type: estimator, name: LogisticRegression}"
    cluster._make("configmaps", {"metadata": {"name": "space"}, "data": {"tree": tree}})
    begin(store, cluster, searchSpace={"configMapRef": {"name": "space", "key": "tree"}})
    before = cluster.child(Child.RUN)["data"]
    cluster.lose(FENCE)
    store.delete("configmaps", NAMESPACE, "space")
    Operation(store).settle()
    assert cluster.child(Child.RUN)["data"] == before


@pytest.mark.parametrize("copy", [None, "{}", "no json"])
def test_a_run_without_a_readable_copy_continues(store, cluster, copy):
    begin(store, cluster)
    annotations = store.get("jobs", NAMESPACE, "churn-trainer")["metadata"]["annotations"]
    annotations.pop(PLAN_ANNOTATION)
    if copy is not None:
        annotations[PLAN_ANNOTATION] = copy
    cluster.lose(FENCE)
    operation = Operation(store, settings=OTHERS["image"])
    operation.settle()
    assert cluster.child(Child.RUN) is None
    assert cluster.status["phase"] == "Searching"
    operation.end_in_success(cluster)
    assert cluster.status["phase"] == "Succeeded"


def test_the_next_attempt_without_a_copy_names_what_is_missing(store, cluster):
    begin(store, cluster)
    store.get("jobs", NAMESPACE, "churn-trainer")["metadata"]["annotations"].pop(PLAN_ANNOTATION)
    cluster.lose(FENCE)
    cluster.end_pod(143)
    cluster.make_pod()
    Operation(store, settings=OTHERS["image"]).settle()
    assert cluster.ready == ("False", "PlanLost")
    assert cluster.name_of(FENCE) in cluster.condition("Ready")["message"]


def test_a_job_without_fence_and_batch_job_continues_with_equal_settings(store, cluster):
    begin(store, cluster)
    before = cluster.child(Child.RUN)["data"]
    cluster.lose(FENCE, JOB)
    Operation(store).settle()
    assert cluster.child(Child.RUN)["data"] == before
    assert cluster.child(Child.JOB)


@pytest.mark.parametrize("field", OTHERS)
def test_a_job_without_fence_and_batch_job_ends_with_other_settings(store, cluster, field):
    begin(store, cluster)
    cluster.lose(FENCE, JOB)
    Operation(store, settings=OTHERS[field]).settle()
    assert cluster.child(Child.RUN) is None
    assert cluster.child(Child.JOB) is None
    failed = cluster.condition("Failed")
    assert (failed["status"], failed["reason"]) == ("True", "PlanLost")
    assert field in failed["message"]


def test_a_job_without_fence_and_batch_job_ends_if_its_output_was_a_default(store, cluster):
    settings = replace(SETTINGS, output_uri="s3://all")
    cluster.submit(output=None)
    Operation(store, settings=settings).settle()
    cluster.run_pod()
    Operation(store, settings=settings).settle()
    cluster.lose(FENCE, JOB)
    Operation(store, settings=replace(settings, output_uri="s3://other")).settle()
    assert cluster.condition("Failed")["reason"] == "PlanLost"
    assert "status.plan.digest" in cluster.condition("Failed")["message"]


def test_a_job_that_has_not_begun_uses_the_current_settings(store, cluster):
    cluster.submit()
    Operation(store).settle()
    key = cluster.status["plan"]["reportKey"]
    cluster.lose(FENCE, JOB)
    Operation(store, settings=OTHERS["image"]).settle()
    assert cluster.status["plan"]["reportKey"] == key
    assert image_of(cluster) == "registry.example/trainer:2"
    assert cluster.status["resolved"]["image"] == "registry.example/trainer:2"


def test_a_job_with_a_published_model_succeeds_without_its_plan(store, cluster):
    begin(store, cluster)
    cluster.report_success()
    cluster.lose(FENCE, JOB)
    Operation(store, settings=OTHERS["image"]).settle()
    assert cluster.status["phase"] == "Succeeded"


def test_a_plan_that_is_too_large_for_an_annotation_is_not_copied(cluster, operation, monkeypatch):
    monkeypatch.setattr("trainingjob_operator.manifests.MAX_COPY_BYTES", 100)
    cluster.submit()
    operation.settle()
    assert PLAN_ANNOTATION not in cluster.child(Child.JOB)["metadata"]["annotations"]
