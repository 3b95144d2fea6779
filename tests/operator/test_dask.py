"""Distributed jobs from start to end, with a simulated Dask operator and kubelet."""

import base64

from cryptography import x509

from support.dask_jobs import fell_back, said, writes
from support.fake_kubernetes.cluster import NAMESPACE
from trainingjob_operator.children import Child


def test_all_parts_are_created_at_once_and_certificates_before_the_pod(cluster, operation, dask, store):
    cluster.submit(parallelMode="distributed")
    operation.settle()
    made = [plural for kind, plural, _ in store.writes if kind == "POST" and plural != "events"]
    assert made[-4:] == ["secrets", "networkpolicies", "jobs", "daskclusters"]
    assert {part["metadata"]["name"] for part in dask.parts()} == {dask.cluster["metadata"]["name"]}
    assert said(cluster) == ("Unknown", "WaitingForDask")
    assert cluster.status["phase"] == "Pending"


def test_the_key_of_the_authority_is_stored_nowhere(begun, dask):
    [secret] = dask.parts(Child.DASK_CERTIFICATES)
    roles = ("scheduler", "worker", "client")
    assert set(secret["data"]) == {"ca.crt", *(f"{role}.{end}" for role in roles for end in ("crt", "key"))}
    certificate = x509.load_pem_x509_certificate(base64.b64decode(secret["data"]["scheduler.crt"]))
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    service = f"{dask.cluster['metadata']['name']}-scheduler.{NAMESPACE}.svc"
    assert service in names.get_values_for_type(x509.DNSName)
    deadline = begun.child(Child.JOB)["spec"]["activeDeadlineSeconds"]
    lasts = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    assert deadline < lasts.total_seconds() < deadline + 3 * 3600


def test_the_cluster_is_deleted_at_the_end_of_the_search(begun, operation, dask):
    dask.come_up()
    begun.report_progress(1, daskReady=True)
    begun.report(daskReady=True, backend="dask")
    operation.settle()
    assert said(begun) == ("True", "DaskReady")
    assert begun.status["backend"] == "dask"
    begun.report_success(daskReady=True)
    begun.end_pod(0)
    begun.end_job("Complete")
    operation.settle()
    assert begun.status["phase"] == "Succeeded"
    assert begun.condition("Degraded")["status"] == "False"
    assert dask.parts() == []
    dask.let_go()
    assert dask.cluster is None


def test_a_fallback_deletes_the_cluster_at_once_and_for_good(begun, operation, dask, store):
    dask.come_up()
    begun.report(daskReady=True, backend="dask")
    operation.settle()
    begun.report_progress(2, daskReady=False, fallbacks=[fell_back(store, "SchedulerLost")])
    operation.settle()
    assert dask.parts(Child.DASK_CLUSTER) == []
    assert said(begun) == ("False", "SchedulerLost")
    assert begun.condition("Degraded")["reason"] == "SchedulerLost"
    dask.let_go()
    begun.later(60)
    operation.settle()
    assert dask.cluster is None
    assert operation.value("tpot_parallel_fallbacks_total", reason="SchedulerLost") == 1


def test_scheduler_and_workers_are_deleted_while_the_dask_operator_is_down(begun, operation, dask, store):
    dask.come_up()
    begun.report_progress(1, daskReady=False, fallbacks=[fell_back(store)])
    operation.settle()
    assert dask.cluster["metadata"]["deletionTimestamp"]
    left = [plural for plural, *_ in store.objects if plural == "deployments"]
    assert left == []


def test_the_cluster_of_a_deleted_job_is_deleted_without_an_operator(begun, dask, store):
    dask.come_up()
    begun.remove()
    assert dask.parts(Child.DASK_CERTIFICATES) == []
    assert [plural for plural, *_ in store.objects if plural == "deployments"] == []
    dask.let_go()
    kept = {plural for plural, *_ in store.objects}
    assert kept <= {"events"}


def test_a_suspension_deletes_the_cluster_and_a_resume_creates_another(begun, operation, dask, store):
    dask.come_up()
    begun.report(daskReady=True, backend="dask")
    operation.settle()
    [before] = dask.parts(Child.DASK_CERTIFICATES)
    begun.change(suspend=True)
    operation.settle()
    assert dask.parts() == []
    assert said(begun) == ("False", "Suspended")
    dask.let_go()
    begun.stop_pods()
    operation.settle()
    begun.later(86_400 * 30)
    begun.change(suspend=False)
    operation.settle()
    assert len(dask.parts()) == 3
    assert dask.parts(Child.DASK_CERTIFICATES)[0]["data"] != before["data"]
    assert said(begun) == ("Unknown", "WaitingForDask")
    begun.run_pod()
    operation.settle()
    dask.come_up()
    begun.report(daskReady=True, backend="dask")
    operation.settle()
    assert said(begun) == ("True", "DaskReady")


def test_a_resume_does_not_wait_for_the_previous_cluster(begun, operation, dask):
    dask.come_up()
    begun.report(daskReady=True)
    operation.settle()
    begun.change(suspend=True)
    operation.settle()
    begun.stop_pods()
    begun.change(suspend=False)
    operation.settle()
    # The Dask operator is down: its finalizer holds the old one.
    assert begun.child(Child.JOB)["spec"]["suspend"] is False
    assert dask.parts(Child.DASK_CERTIFICATES)
    assert "still being deleted" in begun.condition("DaskReady")["message"]
    begun.run_pod()
    dask.let_go()
    operation.settle()
    assert dask.parts(Child.DASK_CLUSTER)


def test_the_next_attempt_uses_the_existing_cluster(begun, operation, dask, store):
    dask.come_up()
    begun.report(daskReady=True)
    operation.settle()
    begun.end_pod(143)
    operation.settle()
    begun.later(10)
    begun.run_pod()
    operation.settle()
    assert said(begun) == ("Unknown", "WaitingForDask")
    assert [kind for kind, _ in writes(store, "daskclusters")] == ["POST"]


def test_the_next_attempt_starts_with_the_cluster_again(begun, operation, dask, store):
    dask.come_up()
    step = fell_back(store)
    begun.report_progress(1, daskReady=False, fallbacks=[step])
    operation.settle()
    dask.let_go()
    begun.end_pod(1)
    operation.settle()
    assert dask.cluster is None
    begun.later(60)
    begun.run_pod()
    operation.settle()
    assert dask.parts(Child.DASK_CLUSTER)
    dask.come_up()
    # A report carries the steps of earlier attempts on.
    begun.report(daskReady=True, backend="dask", fallbacks=[step])
    operation.settle()
    assert dask.parts(Child.DASK_CLUSTER)
    assert said(begun) == ("True", "DaskReady")
    assert begun.condition("Degraded")["status"] == "True"
