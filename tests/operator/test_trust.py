"""A user who may write ConfigMaps can change neither a run nor its status."""

import json
from dataclasses import replace

import pytest

from support.fake_kubernetes import Operation
from support.fake_kubernetes.cluster import NAMESPACE
from support.fake_kubernetes.operation import SETTINGS
from trainingjob_certificates import ReportKey
from trainingjob_operator.children import TRAINER_CHILDREN, Child

MINER = "registry.example/miner:1"


def forge_fence(cluster, **changed):
    """Put a fence of one's own in place of the operator's, or before it."""
    old = cluster.store.objects.get(("configmaps", NAMESPACE, cluster.name_of(Child.RUN)))
    if old is not None:
        cluster.lose(Child.RUN)
    owner = {"kind": "TrainingJob", "name": cluster.name, "uid": cluster.owner.uid, "controller": True}
    meta = {"name": cluster.name_of(Child.RUN), "ownerReferences": [owner]}
    data = (old or {}).get("data") or {"run.json": "{}", "image": MINER}
    cluster._make("configmaps", {"metadata": meta, "immutable": True, "data": data | changed})


def priority(cluster):
    run = json.loads(cluster.child(Child.RUN)["data"]["run.json"])
    return {"run.json": json.dumps(run | {"trainer": {"priorityClassName": "system-node-critical"}})}


def image_of(cluster):
    return cluster.child(Child.JOB)["spec"]["template"]["spec"]["containers"][0]["image"]


def test_the_digest_is_in_the_status_before_any_child_but_the_key(cluster, operation, store):
    cluster.submit()
    operation.look()
    assert cluster.status["plan"].keys() == {"digest", "reportKey"}
    assert not any(cluster.child(child) for child in TRAINER_CHILDREN)
    made = [plural for kind, plural, _ in store.writes if kind == "POST" and plural != "events"]
    assert made == ["trainingjobs", "secrets"]
    operation.settle()
    assert all(cluster.child(child) for child in TRAINER_CHILDREN)


def test_status_events_and_config_maps_hold_no_private_key(cluster, operation, store):
    operation.run_to_success(cluster)
    pem = cluster.key.pem.decode().splitlines()[1]
    assert [plural for (plural, *_), raw in store.objects.items() if pem in json.dumps(raw)] == []


@pytest.mark.parametrize("when", ["before the digest", "after the digest", "without Job", "with Job"])
@pytest.mark.parametrize("what", ["image", "run.json", "nonsense"])
def test_a_forged_fence_is_named_and_never_used(cluster, operation, when, what):
    cluster.submit()
    if when == "after the digest":
        operation.look()
    elif when in {"without Job", "with Job"}:
        operation.settle()
    changed = {"image": MINER}
    if what == "run.json" and cluster.child(Child.RUN):
        changed = priority(cluster)
    elif what == "nonsense":
        changed = {"run.json": "nonsense"}
    forge_fence(cluster, **changed)
    if when == "without Job":
        cluster.lose(Child.JOB)
    operation.settle()
    assert cluster.ready == ("False", "PlanChanged")
    assert cluster.name_of(Child.RUN) in cluster.condition("Ready")["message"]
    job = cluster.child(Child.JOB)
    assert (job is not None) is (when == "with Job")
    assert job is None or image_of(cluster) == SETTINGS.trainer_image
    assert "system-node-critical" not in json.dumps(job)
    cluster.lose(Child.RUN)
    operation.settle()
    assert cluster.ready == ("Unknown", "WaitingForTrainer")
    assert cluster.child(Child.RUN)["data"]["image"] == image_of(cluster) == SETTINGS.trainer_image


def test_a_forged_fence_does_not_stop_a_running_job(cluster, operation):
    cluster.submit()
    operation.settle()
    cluster.run_pod()
    forge_fence(cluster, image=MINER)
    operation.settle()
    assert cluster.status["phase"] == "Searching"
    assert cluster.status["resolved"]["image"] == SETTINGS.trainer_image
    operation.end_in_success(cluster)
    assert cluster.status["phase"] == "Succeeded"


def test_narrower_allow_lists_apply_to_a_recorded_plan(store, cluster):
    cluster.submit(output={"uri": "s3://models", "endpoint": "https://far.example"})
    Operation(store).settle()
    cluster.lose(Child.JOB)
    Operation(store, settings=replace(SETTINGS, allowed_endpoints=("near.example",))).settle()
    assert cluster.condition("Failed")["reason"] == "NotAllowed"
    assert cluster.child(Child.JOB) is None


def forge_report(cluster, *, signature=None, **fields):
    body = {
        "jobUid": cluster.owner.uid,
        "attempt": 1,
        "podUid": (cluster.pods() or [{"metadata": {"uid": "gone"}}])[-1]["metadata"]["uid"],
        "sequence": 999,
        "stage": "Finished",
        "final": True,
        "modelSource": "tpot",
        "writtenAt": cluster.store.stamp(),
    } | fields
    text = json.dumps(body)
    sig = {"none": {}, "other": {"report.sig": ReportKey.generate().sign(text)}, "kept": None}[
        signature or "none"
    ]
    data = {"report.json": text} | (sig or {})
    name = cluster.name_of(Child.REPORT)
    cluster.store.patch("configmaps", NAMESPACE, name, {"data": data})


@pytest.mark.parametrize("signature", ["none", "other", "kept"])
@pytest.mark.parametrize("when", ["made", "running", "complete", "failed", "without Job"])
def test_a_forged_report_changes_nothing(cluster, operation, when, signature):
    cluster.submit()
    operation.settle()
    if when != "made":
        cluster.run_pod()
        cluster.report_progress(1)
        operation.settle()
    if when == "complete":
        cluster.end_pod(0)
        cluster.end_job("Complete")
    elif when == "failed":
        cluster.end_pod(1)
        cluster.end_job("Failed", "BackoffLimitExceeded")
    elif when == "without Job":
        cluster.lose(Child.JOB)
    forge_report(cluster, signature=signature)
    operation.settle()
    cluster.later(60)
    operation.settle()
    # A complete Job without a report runs once more, and one that was deleted is made again.
    assert (
        cluster.status["phase"]
        == {
            "made": "Pending",
            "running": "Searching",
            "complete": "Pending",
            "failed": "Failed",
            "without Job": "Pending",
        }[when]
    )
    assert "modelSource" not in cluster.status
    assert operation.value("trainingjob_reports_refused_total", reason="BadSignature") == 1
    [event] = cluster.events("ReportRefused")
    assert "BadSignature" in event["message"]


def test_a_report_forged_after_the_end_changes_nothing(cluster, operation):
    operation.run_to_success(cluster)
    before = cluster.status
    forge_report(cluster, modelSource="baseline", sequence=10_000)
    operation.start()
    operation.settle()
    assert cluster.status == before


def test_an_older_report_is_rejected_after_a_restart(cluster, operation):
    cluster.submit()
    operation.settle()
    cluster.run_pod()
    cluster.report(stage="Searching", modelSource="baseline")
    operation.settle()
    old = dict(cluster.child(Child.REPORT)["data"])
    cluster.report(stage="Uploading", modelSource="tpot")
    operation.settle()
    name = cluster.name_of(Child.REPORT)
    cluster.store.patch("configmaps", NAMESPACE, name, {"data": old})
    operation.start()
    operation.settle()
    assert cluster.status["modelSource"] == "tpot"
    assert operation.value("trainingjob_reports_refused_total", reason="Stale") == 1


def test_a_report_of_another_job_is_rejected(cluster, operation, store):
    cluster.submit()
    operation.settle()
    cluster.run_pod()
    cluster.report_success()
    theirs = dict(cluster.child(Child.REPORT)["data"])
    cluster.remove()
    cluster.submit()
    operation.settle()
    cluster.store.patch("configmaps", NAMESPACE, cluster.name_of(Child.REPORT), {"data": theirs})
    operation.settle()
    assert cluster.status["phase"] == "Pending"
    assert operation.value("trainingjob_reports_refused_total", reason="BadSignature") == 1


def test_a_signature_without_a_report_is_ignored(cluster, operation):
    cluster.submit()
    operation.settle()
    patch = {"data": {"report.sig": "x"}}
    cluster.store.patch("configmaps", NAMESPACE, cluster.name_of(Child.REPORT), patch)
    operation.settle()
    assert cluster.events("ReportRefused") == []


def test_a_lost_key_is_named(cluster, operation, store):
    cluster.submit()
    operation.settle()
    cluster.run_pod()
    operation.settle()
    [name] = [name for plural, _, name in store.objects if plural == "secrets"]
    cluster.end_pod(143)
    store.delete("secrets", NAMESPACE, name)
    uid = cluster.make_pod(phase="Pending")
    cluster._make(
        "events",
        {
            "metadata": {"name": "failed-mount"},
            "involvedObject": {"uid": uid},
            "reason": "FailedMount",
            "message": f'MountVolume.SetUp failed for volume "report-key" : secret "{name}" not found',
        },
    )
    cluster.later(60)
    operation.settle()
    assert cluster.ready == ("False", "ReportKeyLost")
    assert name in cluster.condition("Ready")["message"]
    assert "recreate the job" in cluster.condition("Ready")["message"]


def test_an_old_definition_leaves_a_single_unused_key(cluster, operation, store):
    cluster.submit()
    for _ in range(5):
        operation.look()
        cluster.job.get("status", {}).pop("plan", None)
    assert len([1 for plural, *_ in store.objects if plural == "secrets"]) == 1
    assert cluster.child(Child.JOB) is None
    assert "trainingjob-crds" in cluster.condition("Ready")["message"]
