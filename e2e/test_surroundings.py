"""Trouble around a run: preemption, a small disk, certificates, changed keys, an API server that restarts."""

import os
import shlex
import subprocess

import pytest
from e2e.kit.bucket import Bucket
from e2e.kit.installation import Installation
from e2e.kit.jobs import START_SECONDS, Run, output_of
from e2e.kit.tls import tls_in_front
from e2e.kit.waiting import eventually

from support.seaweed import S3Server

CLASSES = {"e2e-low": -10, "e2e-high": 100_000}


@pytest.fixture
def classes(cluster):
    for name, value in CLASSES.items():
        cluster.scheduling.create_priority_class({"metadata": {"name": name}, "value": value})
    yield
    for name in CLASSES:
        cluster.scheduling.delete_priority_class(name)


def cores(quantity):
    return float(quantity[:-1]) / 1000 if quantity.endswith("m") else float(quantity)


def free_cores(cluster, node):
    """Return the cores of *node* that no pod requests."""
    pods = cluster.plain(cluster.core.list_pod_for_all_namespaces(field_selector=f"spec.nodeName={node}"))
    asked = sum(
        cores(container.get("resources", {}).get("requests", {}).get("cpu", "0"))
        for pod in pods["items"]
        if pod["status"]["phase"] in {"Pending", "Running"}
        for container in pod["spec"]["containers"]
    )
    return cores(cluster.plain(cluster.core.read_node(node))["status"]["allocatable"]["cpu"]) - asked


def test_a_job_resumes_after_a_pod_of_higher_priority_preempts_its_trainer(
    start, cluster, namespace, bucket, classes
):
    resources = {"requests": {"cpu": "1"}, "limits": {"cpu": "2"}}
    run = start(
        "preempted",
        budget={"timeLeftSeconds": 45},
        backoffLimit=0,
        trainer={"priorityClassName": "e2e-low", "resources": resources},
    )
    run.reach_search()
    before = len(run.journal())
    (pod,) = run.pods
    node, image = pod["spec"]["nodeName"], pod["spec"]["containers"][0]["image"]
    wanted = free_cores(cluster, node) + 0.5
    urgent = {
        "metadata": {"name": "urgent"},
        "spec": {
            "priorityClassName": "e2e-high",
            "nodeSelector": {"kubernetes.io/hostname": node},
            "terminationGracePeriodSeconds": 0,
            "securityContext": pod["spec"]["securityContext"],
            "containers": [
                {
                    "name": "sleep",
                    "image": image,
                    "imagePullPolicy": pod["spec"]["containers"][0]["imagePullPolicy"],
                    "command": ["sleep", "infinity"],
                    "resources": {"requests": {"cpu": f"{int(wanted * 1000)}m"}},
                    "securityContext": pod["spec"]["containers"][0]["securityContext"],
                }
            ],
        },
    }
    cluster.core.create_namespaced_pod(namespace, urgent)
    try:
        run.eventually(
            lambda: [outcome for outcome in run.outcomes if outcome == "Evicted"],
            "it is not pushed out",
            START_SECONDS,
        )
        run.eventually(
            lambda: run.condition("Ready").get("reason") == "Unschedulable",
            "the status does not say Unschedulable",
            START_SECONDS,
        )
    finally:
        cluster.core.delete_namespaced_pod("urgent", namespace)
    status = run.reach("Succeeded")
    assert run.outcomes == ["Evicted", "Succeeded"]
    assert status["modelSource"] == "tpot"
    summary = bucket.document(f"{run.folder}evaluation_summary.json")
    assert summary["evaluations"]["total"] >= before - 1


def test_a_trainer_without_disk_space_ends_with_out_of_storage(start):
    small = {"requests": {"cpu": "100m"}, "limits": {"cpu": "2", "ephemeral-storage": "8Ki"}}
    run = start("small-disk", trainer={"resources": small}, budget={"timeLeftSeconds": 60}, backoffLimit=1)
    status = run.reach("Failed", 600)
    failed = run.condition("Failed")
    assert "ephemeral" in failed["message"], status
    assert "spec.trainer.resources" in failed["message"], status
    assert status["attempts"] <= 2, "an eviction for its own use is no accident"


@pytest.fixture
def strict_release(cluster, namespace, environment, prefix):
    """A second release with its own class, whose trainers trust a single authority."""
    made = Installation(
        cluster,
        cluster.make_namespace(f"{prefix}-authority"),
        [namespace],
        environment,
        operatorClass="authority",
        s3={"caConfigMap": "company-ca"},
    )
    made.install(definition=False)
    yield made
    made.uninstall()
    cluster.delete_namespace(made.namespace)


@pytest.mark.usefixtures("operator")
def test_a_job_trusts_the_private_certificate_of_an_s3_server(
    cluster, namespace, bucket, strict_release, tmp_path
):
    if bucket.server is None:
        pytest.skip("the S3 server is not the tests' own to put TLS in front of")
    labels = {"automl.trainingjob.dev/operator-class": "authority"}
    with tls_in_front(bucket.endpoint, tmp_path) as (endpoint, authority):
        output = output_of(bucket, namespace) | {"endpoint": endpoint}
        run = Run(cluster, namespace, bucket, "authority", {"output": output}, labels=labels)
        run.eventually(
            lambda: "company-ca" in run.condition("Ready").get("message", ""),
            "the status does not name the missing ConfigMap",
            START_SECONDS,
        )
        made = {"metadata": {"name": "company-ca"}, "data": {"ca.crt": authority}}
        cluster.core.create_namespaced_config_map(namespace, made)
        assert run.reach("Succeeded")["artifacts"]
    run.delete()
    run.gone()


@pytest.fixture
def rotating_bucket(cluster, namespace, bucket, tmp_path):
    """A bucket on a server of this test, whose keys can change in mid-run."""
    if bucket.server is None:
        pytest.skip("the S3 server is not the tests' own to change keys of")
    server = S3Server(tmp_path, host=bucket.server.host, access_key="first", secret_key="first-of-two")
    server.start()
    made = Bucket(server.endpoint, server.access_key, server.secret_key, server)
    made.share(cluster, namespace, "rotating-keys")
    yield made
    server.stop()
    cluster.core.delete_namespaced_secret("rotating-keys", namespace)


@pytest.mark.usefixtures("operator")
def test_a_model_is_published_after_a_change_of_the_keys(cluster, namespace, rotating_bucket):
    output = output_of(rotating_bucket, namespace) | {"credentialsSecretRef": {"name": "rotating-keys"}}
    budget = {"timeLeftSeconds": 60}
    run = Run(cluster, namespace, rotating_bucket, "rotated", {"output": output, "budget": budget})
    run.reach_search()
    before = len(run.journal()) - 1
    rotating_bucket.rotate("second", "second-of-two")
    run.eventually(lambda: run.phase == "Saving", "the search does not end", START_SECONDS)
    rotating_bucket.share_again(cluster, namespace, "rotating-keys")
    status = run.reach("Succeeded", 600)
    assert status["modelSource"] == "tpot"
    assert set(run.outcomes[:-1]) <= {"Failed"}, "a refusal may cost attempts, never the job"
    for artifact in status["artifacts"]:
        assert rotating_bucket.digest(artifact["uri"]) == artifact["sha256"]
    summary = rotating_bucket.document(f"{run.folder}evaluation_summary.json")
    assert summary["evaluations"]["total"] >= before
    run.delete()
    run.gone()


SIDECAR = """[JSONPatch{op: "add", path: "/spec/containers/-", value: Object.spec.containers{
  name: "mesh",
  image: object.spec.containers[0].image,
  imagePullPolicy: object.spec.containers[0].imagePullPolicy,
  command: ["sleep", "infinity"],
  securityContext: Object.spec.containers.securityContext{
    allowPrivilegeEscalation: false,
    readOnlyRootFilesystem: true,
    capabilities: Object.spec.containers.securityContext.capabilities{drop: ["ALL"]}
  }
}}]"""


@pytest.fixture
def mesh(cluster, namespace):
    """A policy that adds a container that never ends to each trainer's pod of the namespace."""
    if not cluster.knows("admissionregistration.k8s.io/v1", "mutatingadmissionpolicies"):
        pytest.skip("this API server knows no MutatingAdmissionPolicy v1")
    name = f"{namespace}-mesh"
    pods = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    policy = {
        "matchConstraints": {
            "resourceRules": [pods],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
            "objectSelector": {"matchLabels": {"app.kubernetes.io/component": "trainer"}},
        },
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": SIDECAR}}],
    }
    group = ("admissionregistration.k8s.io", "v1")
    made = {
        "MutatingAdmissionPolicy": policy,
        "MutatingAdmissionPolicyBinding": {"policyName": name},
    }
    plurals = {"MutatingAdmissionPolicy": "policies", "MutatingAdmissionPolicyBinding": "policybindings"}
    for kind, spec in made.items():
        manifest = {"apiVersion": "/".join(group), "kind": kind, "metadata": {"name": name}, "spec": spec}
        cluster.custom.create_cluster_custom_object(*group, f"mutatingadmission{plurals[kind]}", manifest)
    eventually(lambda: adds_a_container(cluster, namespace), "the policy does not come into force", 60)
    yield
    for plural in plurals.values():
        cluster.custom.delete_cluster_custom_object(*group, f"mutatingadmission{plural}", name)


def adds_a_container(cluster, namespace):
    """Return whether the policy would add a container to a trainer's pod."""
    strict = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    container = {"name": "trainer", "image": "none", "securityContext": strict}
    pod = {
        "metadata": {"name": "probe", "labels": {"app.kubernetes.io/component": "trainer"}},
        "spec": {
            "containers": [container],
            "securityContext": {"runAsNonRoot": True, "seccompProfile": strict["seccompProfile"]},
        },
    }
    return len(cluster.core.create_namespaced_pod(namespace, pod, dry_run="All").spec.containers) == 2


@pytest.mark.usefixtures("mesh")
def test_a_sidecar_that_never_ends_does_not_delay_the_end(start):
    run = start("beside")
    status = run.reach("Succeeded")
    assert {container["name"] for container in run.pods[0]["spec"]["containers"]} == {"trainer", "mesh"}
    assert run.outcomes == ["Succeeded"]
    assert status["artifacts"]
    run.eventually(lambda: not run.pods, "the pod with the other container stays", 240)


def test_a_job_keeps_its_attempt_when_the_api_server_restarts(start, cluster, operator):
    command = os.environ.get("E2E_RESTART_API_SERVER")
    if not command:
        pytest.skip("E2E_RESTART_API_SERVER names no command that restarts the API server")
    run = start("restarted", budget={"timeLeftSeconds": 60})
    run.reach_search()
    subprocess.run(shlex.split(command), check=True, timeout=120)
    eventually(cluster.answers, "the API server does not come back", 120)

    def reported() -> int:
        return int(run.status.get("progress", {}).get("elapsedSeconds", -1))

    before = reported()  # perhaps nothing yet
    run.eventually(
        lambda: reported() > before or run.phase != "Searching",
        "reports come no longer",
        120,
    )
    status = run.reach("Succeeded")
    assert status["attempts"] == 1
    assert run.outcomes == ["Succeeded"]
    assert len(run.pods) == 1
