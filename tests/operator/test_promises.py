"""Promises of the security model about the objects that the operator creates."""

import base64
import json

import pytest

from support.fake_kubernetes.cluster import NAMESPACE
from trainingjob_api import parse_job
from trainingjob_operator.children import DASK_CHILDREN, TRAINER_CHILDREN, Child, Owner
from trainingjob_operator.job_view import make_plan
from trainingjob_operator.manifests import build
from trainingjob_operator.settings import Settings

OWNER, OTHER = Owner("churn", NAMESPACE, "uid-1"), Owner("churn-2", NAMESPACE, "uid-2")
SETTINGS = Settings(trainer_image="registry.example/trainer:1")
SPEC = {
    "dataset": {"uri": "pvc://tables/x.csv", "credentialsSecretRef": {"name": "reader"}},
    "targetColumn": "y",
    "output": {"uri": "pvc://models/x", "credentialsSecretRef": {"name": "writer"}},
    "parallelMode": "distributed",
    "activeDeadlineSeconds": 3600,
    "trainer": {"serviceAccountAnnotations": {"automl.trainingjob.dev/job-name": "stolen", "role": "arn"}},
}
EVERYTHING = [*TRAINER_CHILDREN, *DASK_CHILDREN]
each_child = pytest.mark.parametrize("child", EVERYTHING, ids=lambda child: child.name.lower())


def made(child, owner=OWNER, **spec):
    raw = {
        "apiVersion": "automl.trainingjob.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": owner.name, "namespace": NAMESPACE, "uid": owner.uid},
        "spec": SPEC | spec,
    }
    found = make_plan(parse_job(raw), SETTINGS)
    return build(child, owner, found, SETTINGS)


def pods(**spec):
    """Return the metadata and the spec of each role's pod, with the labels that the Dask operator adds."""
    job = made(Child.JOB, **spec)["spec"]["template"]
    found = {"trainer": (job["metadata"]["labels"], job["spec"])}
    cluster = made(Child.DASK_CLUSTER, **spec)
    for role in ("scheduler", "worker"):
        labels = cluster["metadata"]["labels"] | {
            "dask.org/cluster-name": cluster["metadata"]["name"],
            "dask.org/component": role,
        }
        found[role] = (labels, cluster["spec"][role]["spec"])
    return found


@each_child
def test_children_are_deleted_with_their_job_without_waiting(child):
    [reference] = made(child)["metadata"]["ownerReferences"]
    assert (reference["kind"], reference["name"], reference["uid"]) == ("TrainingJob", "churn", "uid-1")
    assert reference["controller"] is True
    assert reference["blockOwnerDeletion"] is False
    assert made(child)["metadata"]["namespace"] == NAMESPACE


@each_child
@pytest.mark.parametrize("name", ["a", "x" * 63, "x" * 253, "a.b-c", "1." + "y" * 200 + ".z"])
def test_labels_and_names_are_within_bounds_and_the_jobs_name_is_whole_in_an_annotation(child, name):
    meta = made(child, Owner(name, NAMESPACE, OWNER.uid))["metadata"]
    assert len(meta["name"]) <= 63
    assert all(len(value) <= 63 for value in meta["labels"].values())
    assert meta["annotations"]["automl.trainingjob.dev/job-name"] == name
    assert meta["labels"]["automl.trainingjob.dev/job-uid"] == OWNER.uid


def test_the_role_of_the_trainer_covers_only_its_report():
    [rule] = made(Child.ROLE)["rules"]
    assert rule["resourceNames"] == [made(Child.REPORT)["metadata"]["name"]]
    assert rule["resourceNames"] != [made(Child.REPORT, OTHER)["metadata"]["name"]]
    assert (rule["apiGroups"], rule["resources"]) == ([""], ["configmaps"])
    assert set(rule["verbs"]) == {"get", "patch"}


def test_the_role_is_bound_only_to_the_account_of_the_job():
    binding = made(Child.ROLE_BINDING)
    account = made(Child.SERVICE_ACCOUNT)["metadata"]["name"]
    assert binding["roleRef"]["kind"] == "Role"
    assert binding["roleRef"]["name"] == made(Child.ROLE)["metadata"]["name"]
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": account, "namespace": NAMESPACE}]
    assert pods()["trainer"][1]["serviceAccountName"] == account
    assert account != made(Child.SERVICE_ACCOUNT, OTHER)["metadata"]["name"]


def test_only_the_trainer_mounts_a_token():
    assert made(Child.SERVICE_ACCOUNT)["automountServiceAccountToken"] is False
    mounted = {role: spec["automountServiceAccountToken"] for role, (_, spec) in pods().items()}
    assert mounted == {"trainer": True, "scheduler": False, "worker": False}
    assert all("serviceAccountName" not in pods()[role][1] for role in ("scheduler", "worker"))
    assert all(spec["enableServiceLinks"] is False for _, spec in pods().values())


def test_annotations_of_the_account_do_not_move_it_to_another_job():
    annotations = made(Child.SERVICE_ACCOUNT)["metadata"]["annotations"]
    assert annotations == {"automl.trainingjob.dev/job-name": "churn", "role": "arn"}


def test_the_plan_and_the_certificates_do_not_change():
    assert made(Child.RUN)["immutable"] is True
    assert made(Child.DASK_CERTIFICATES)["immutable"] is True
    assert "data" not in made(Child.REPORT), "the report is the trainer's to write"


def test_secrets_are_mounted_read_only_with_two_keys_and_a_token():
    _, spec = pods()["trainer"]
    secrets = {
        volume["name"]: volume.get("projected") or volume["secret"]
        for volume in spec["volumes"]
        if volume.keys() & {"projected", "secret"}
    }
    mounts = {mount["name"]: mount for mount in spec["containers"][0]["volumeMounts"]}
    assert set(secrets) == {"dataset-credentials", "output-credentials", "dask-tls"}
    assert secrets["dask-tls"]["optional"] is True, "a job does without a cluster"
    for name, secret in secrets.items():
        assert mounts[name]["readOnly"] is True
        assert secret["defaultMode"] & 0o007 == 0, "no other user of the node's may read them"
        sources = [source["secret"] for source in secret.get("sources", [])] or [secret]
        assert sum(len(source["items"]) for source in sources) == 3
    assert not any(
        "valueFrom" in variable and "secretKeyRef" in variable["valueFrom"]
        for variable in spec["containers"][0]["env"]
    )


def test_each_pod_of_the_cluster_mounts_only_its_own_key():
    keys = {}
    for role, (_, spec) in pods().items():
        [secret] = [volume["secret"] for volume in spec["volumes"] if volume["name"] == "dask-tls"]
        keys[role] = {item["key"] for item in secret["items"] if item["key"].endswith(".key")}
    assert keys == {"trainer": {"client.key"}, "scheduler": {"scheduler.key"}, "worker": {"worker.key"}}
    assert "ca.key" not in made(Child.DASK_CERTIFICATES)["data"]


def test_no_other_object_holds_a_certificate():
    key = base64.b64decode(made(Child.DASK_CERTIFICATES)["data"]["client.key"]).decode()
    assert "PRIVATE KEY" in key
    others = [json.dumps(made(child)) for child in EVERYTHING if child is not Child.DASK_CERTIFICATES]
    assert not any("PRIVATE KEY" in text or "BEGIN CERTIFICATE" in text for text in others)


@pytest.mark.parametrize(
    ("dataset", "output", "writable"),
    [
        ("pvc://tables/x.csv", "pvc://models/x", {"models"}),
        ("pvc://both/x.csv", "pvc://both/x", {"both"}),
        ("pvc://tables/x.csv", "s3://models", set()),
    ],
)
def test_a_claim_is_writable_only_where_the_model_goes(dataset, output, writable):
    _, spec = pods(dataset={"uri": dataset}, output={"uri": output})["trainer"]
    claims = {
        volume["name"]: volume["persistentVolumeClaim"]["claimName"]
        for volume in spec["volumes"]
        if "persistentVolumeClaim" in volume
    }
    mounts = [mount for mount in spec["containers"][0]["volumeMounts"] if mount["name"] in claims]
    assert {claims[mount["name"]] for mount in mounts if not mount.get("readOnly")} == writable
    assert len(mounts) == len(claims)


def selects(selector, labels):
    """Whether a label selector of Kubernetes takes *labels*."""
    if any(labels.get(name) != value for name, value in (selector.get("matchLabels") or {}).items()):
        return False
    for expression in selector.get("matchExpressions") or ():
        assert expression["operator"] == "In"
        if labels.get(expression["key"]) not in expression["values"]:
            return False
    return True


def lets(policy, kind, own, peer, port):
    """Whether *policy* leaves a connection of *own* with *peer* be, as Kubernetes reads it."""
    spec = policy["spec"]
    if not selects(spec["podSelector"], own) or kind.capitalize() not in spec["policyTypes"]:
        return True
    for rule in spec.get(kind) or ():
        peers = rule.get("from" if kind == "ingress" else "to")
        ports = rule.get("ports")
        found = peers is None or any(
            set(entry) == {"podSelector"} and selects(entry["podSelector"], peer) for entry in peers
        )
        if found and (ports is None or port in {entry["port"] for entry in ports}):
            return True
    return False


PEERS = {
    "trainer": pods()["trainer"][0],
    "scheduler": pods()["scheduler"][0],
    "worker": pods()["worker"][0],
    "another job's trainer": pods()["trainer"][0] | {"automl.trainingjob.dev/job-uid": "uid-2"},
    "another job's worker": pods()["worker"][0] | {"automl.trainingjob.dev/job-uid": "uid-2"},
    "a stranger": {"app": "web"},
    "nobody": {},
}
OURS = {"trainer", "scheduler", "worker"}


@pytest.mark.parametrize("own", ["scheduler", "worker"])
@pytest.mark.parametrize("peer", PEERS)
def test_the_policy_admits_pods_of_the_job_and_isolates_the_cluster(own, peer):
    policy = made(Child.DASK_POLICY)
    assert lets(policy, "ingress", PEERS[own], PEERS[peer], 40_000) is (peer in OURS)
    assert lets(policy, "egress", PEERS[own], PEERS[peer], 40_000) is (peer in {"scheduler", "worker"})
    assert lets(policy, "egress", PEERS[own], PEERS[peer], 53), "names are looked up"


@pytest.mark.parametrize("peer", PEERS)
def test_the_policy_says_nothing_about_other_pods(peer):
    own = PEERS["trainer"]
    assert lets(made(Child.DASK_POLICY), "egress", own, PEERS[peer], 443), "the trainer reaches its bucket"
    assert lets(made(Child.DASK_POLICY), "ingress", PEERS["another job's worker"], PEERS[peer], 8786)


def counts(job, *, exit_code, disrupted=False, container="trainer"):
    """Return the action of the first rule that a failed pod fits, as Kubernetes does, else ``Count``."""
    for rule in job["spec"]["podFailurePolicy"]["rules"]:
        codes = rule.get("onExitCodes")
        if codes is not None and codes["containerName"] == container:
            assert codes["operator"] == "In"
            if exit_code in codes["values"]:
                return rule["action"]
        conditions = rule.get("onPodConditions") or ()
        if disrupted and any(
            condition["type"] == "DisruptionTarget" and condition["status"] == "True"
            for condition in conditions
        ):
            return rule["action"]
    return "Count"


@pytest.mark.parametrize(
    ("ended", "action"),
    [
        ({"exit_code": 1}, "Count"),
        ({"exit_code": 137}, "Count"),
        ({"exit_code": 2}, "FailJob"),
        ({"exit_code": 143}, "Ignore"),
        ({"exit_code": 137, "disrupted": True}, "Ignore"),
        ({"exit_code": 2, "disrupted": True}, "Ignore"),
    ],
)
def test_evictions_do_not_count_and_a_wrong_spec_is_not_retried(ended, action):
    assert counts(made(Child.JOB), **ended) == action


def test_one_pod_runs_at_a_time_and_the_job_does_not_delete_itself():
    spec = made(Child.JOB, backoffLimit=4)["spec"]
    assert (spec["parallelism"], spec["completions"], spec["podReplacementPolicy"]) == (1, 1, "Failed")
    assert (spec["backoffLimit"], spec["activeDeadlineSeconds"]) == (4, 3600)
    assert spec["template"]["spec"]["restartPolicy"] == "Never"
    assert "ttlSecondsAfterFinished" not in spec
