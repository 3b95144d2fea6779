"""Each manifest equals its golden file, and all follow common rules."""

import json
from dataclasses import replace
from importlib.metadata import files
from pathlib import Path

import pytest
import yaml
from dask_kubernetes.operator.validation import validate_cluster_name
from jsonschema import Draft7Validator

from support.fake_kubernetes.golden import check_golden
from trainingjob_api import parse_job
from trainingjob_operator.children import PLAN_ANNOTATION, TRAINER_CHILDREN, Child, Owner, name_of
from trainingjob_operator.job_view import make_plan, read_copy, read_run
from trainingjob_operator.manifests import CLAIMS_DIR, build
from trainingjob_operator.pod_parts import amount
from trainingjob_operator.settings import Settings

GOLDEN = Path(__file__).parent / "golden"
OWNER = Owner("churn", "team", "0f3c2a5e-7d7e-4f43-a8a5-2f3a6d1c9b10")
SMALL = {
    "dataset": {"uri": "sample://breast_cancer"},
    "targetColumn": "target",
    "output": {"uri": "s3://models"},
}
LARGE = {
    "dataset": {"uri": "pvc://tables/churn.csv", "credentialsSecretRef": {"name": "reader"}},
    "targetColumn": "churned",
    "output": {"uri": "pvc://models/churn", "credentialsSecretRef": {"name": "writer"}},
    "nJobs": 4,
    "memoryLimitMb": 2048,
    "backoffLimit": 1,
    "activeDeadlineSeconds": 3600,
    "trainer": {
        "resources": {"limits": {"memory": "16Gi", "example.com/gpu": "1"}},
        "nodeSelector": {"disk": "fast"},
        "tolerations": [{"key": "batch", "operator": "Exists", "effect": "NoSchedule"}],
        "priorityClassName": "low",
        "serviceAccountAnnotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/x"},
        "imagePullSecrets": [{"name": "registry"}],
    },
}
DISTRIBUTED = LARGE | {
    "parallelMode": "distributed",
    "dask": {
        "workers": 4,
        "workerResources": {"limits": {"memory": "6Gi"}},
        "nodeSelector": {"pool": "batch"},
        "tolerations": [{"key": "spot", "operator": "Exists"}],
    },
}
SETTINGS = Settings(
    trainer_image="registry.example/trainer:1",
    image_pull_policy="IfNotPresent",
    trainer_environment={"AWS_ENDPOINT_URL": "https://s3.example"},
)


def planned(spec, name="churn", settings=SETTINGS):
    raw = {
        "apiVersion": "automl.trainingjob.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": name, "namespace": OWNER.namespace, "uid": OWNER.uid},
        "spec": spec,
    }
    return make_plan(parse_job(raw), settings)


@pytest.mark.parametrize("child", list(TRAINER_CHILDREN), ids=lambda child: child.name.lower())
@pytest.mark.parametrize(("size", "spec"), [("small", SMALL), ("large", LARGE)], ids=["small", "large"])
def test_manifest(child, size, spec):
    manifest = build(child, OWNER, planned(spec), SETTINGS)
    if child is Child.RUN:
        manifest["data"]["run.json"] = json.loads(manifest["data"]["run.json"])
    if child is Child.JOB:
        # The same as in the fence, whose golden file shows it.
        assert manifest["metadata"]["annotations"].pop(PLAN_ANNOTATION) == planned(spec).run.model_dump_json(
            by_alias=True
        )
    check_golden(GOLDEN / f"{child.name.lower()}-{size}.yaml", manifest)


@pytest.mark.parametrize("part", [Child.DASK_POLICY, Child.DASK_CLUSTER], ids=lambda part: part.name.lower())
def test_manifest_of_the_dask_cluster(part):
    check_golden(GOLDEN / f"{part.name.lower()}.yaml", build(part, OWNER, planned(DISTRIBUTED), SETTINGS))


def test_the_definition_of_the_dask_operator_accepts_the_cluster():
    # It demands strings where Kubernetes takes numbers, too.
    found = [path for path in files("dask-kubernetes") if path.match("**/helm/**/crds/daskcluster.yaml")]
    [version] = yaml.safe_load(Path(found[0].locate()).read_text())["spec"]["versions"]
    validator = Draft7Validator(version["schema"]["openAPIV3Schema"])
    for spec in (DISTRIBUTED, {**SMALL, "parallelMode": "distributed"}):
        cluster = build(Child.DASK_CLUSTER, OWNER, planned(spec), SETTINGS)
        assert [error.message for error in validator.iter_errors(cluster)] == []


def containers(spec):
    """Return pod and container of each role of a distributed job."""
    found = planned(spec)
    cluster = build(Child.DASK_CLUSTER, OWNER, found, SETTINGS)["spec"]
    pods = {role: cluster[role]["spec"] for role in ("scheduler", "worker")}
    pods["client"] = build(Child.JOB, OWNER, found, SETTINGS)["spec"]["template"]["spec"]
    return {role: (pod, pod["containers"][0]) for role, pod in pods.items()}


@pytest.mark.parametrize("role", ["scheduler", "worker", "client"])
def test_each_role_mounts_only_its_own_key(role):
    pod, container = containers(DISTRIBUTED)[role]
    [volume] = [mount for mount in pod["volumes"] if mount["name"] == "dask-tls"]
    assert [item["key"] for item in volume["secret"]["items"]] == ["ca.crt", f"{role}.crt", f"{role}.key"]
    # Without them the trainer continues alone.
    assert volume["secret"]["optional"] is (role == "client")
    [mount] = [mount for mount in container["volumeMounts"] if mount["name"] == "dask-tls"]
    named = {variable["name"]: variable.get("value", "") for variable in container["env"]}
    tls = {name: value for name, value in named.items() if name.startswith("DASK_DISTRIBUTED__")}
    assert set(tls) == {
        "DASK_DISTRIBUTED__COMM__TLS__CA_FILE",
        f"DASK_DISTRIBUTED__COMM__TLS__{role.upper()}__CERT",
        f"DASK_DISTRIBUTED__COMM__TLS__{role.upper()}__KEY",
    }
    assert all(value.startswith(f"{mount['mountPath']}/") for value in tls.values())
    assert named.get("DASK_SCHEDULER_ADDRESS", "tls://").startswith("tls://")


@pytest.mark.parametrize("role", ["scheduler", "worker"])
def test_the_pods_of_the_dask_cluster_are_restricted(role):
    pod, container = containers(DISTRIBUTED)[role]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }
    assert all(mount.get("emptyDir", {}).get("sizeLimit") or "secret" in mount for mount in pod["volumes"])
    assert [port["containerPort"] for port in container.get("ports", [])] in ([8786], [])


def test_no_local_job_mounts_certificates():
    for spec in (SMALL, DISTRIBUTED | {"automl": {"enabled": False}}):
        assert "dask-tls" not in json.dumps(pod(spec))
        assert "DASK_" not in json.dumps(pod(spec))


@pytest.mark.parametrize("name", ["a", "x" * 253, "a.b-c", "1.2"])
def test_the_dask_operator_accepts_the_name_of_the_cluster(name):
    owner = Owner(name, "team", OWNER.uid)
    found = build(Child.DASK_CLUSTER, owner, planned(DISTRIBUTED, name), SETTINGS)["metadata"]["name"]
    validate_cluster_name(found)
    assert len(f"{found}-scheduler") <= 63
    assert name_of(Owner(name, "team", "another"), Child.DASK_CLUSTER) != found


def test_the_fence_holds_the_whole_plan():
    found = planned(LARGE)
    assert read_run(build(Child.RUN, OWNER, found, SETTINGS)) == found
    assert read_copy(build(Child.JOB, OWNER, found, SETTINGS)) == found


@pytest.mark.parametrize(
    "data", [{}, {"run.json": "{}", "image": "x"}, {"run.json": "no json", "image": "x"}]
)
def test_an_unreadable_fence_is_ignored(data):
    assert read_run({"data": data}) is None


def pod(spec, settings=SETTINGS):
    return build(Child.JOB, OWNER, planned(spec, settings=settings), settings)["spec"]["template"]["spec"]


@pytest.mark.parametrize("spec", [SMALL, LARGE], ids=["small", "large"])
def test_the_pod_is_restricted(spec):
    security, [container] = pod(spec)["securityContext"], pod(spec)["containers"]
    assert security["runAsNonRoot"] is True
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }
    assert all(
        "emptyDir" in volume or mount.get("readOnly") or "persistentVolumeClaim" in volume
        for volume, mount in zip(pod(spec)["volumes"], container["volumeMounts"], strict=True)
    )


def test_a_claim_for_dataset_and_output_is_mounted_once_and_writable():
    spec = pod(LARGE | {"output": {"uri": "pvc://tables/models"}})
    mounts = [
        mount for mount in spec["containers"][0]["volumeMounts"] if mount["mountPath"].startswith(CLAIMS_DIR)
    ]
    assert mounts == [{"name": "claim-0", "mountPath": f"{CLAIMS_DIR}/tables"}]


def test_the_kubelet_waits_for_two_keys_of_a_secret_and_not_for_a_session_token():
    volumes = [mount["projected"] for mount in pod(LARGE)["volumes"] if "projected" in mount]
    assert len(volumes) == 2
    for volume in volumes:
        asked = {
            source["secret"].get("optional", False): [item["key"] for item in source["secret"]["items"]]
            for source in volume["sources"]
        }
        assert asked == {
            False: ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"],
            True: ["AWS_SESSION_TOKEN"],
        }


@pytest.mark.parametrize(
    ("uri", "required", "optional"),
    [
        ("gs://models/x", ["GOOGLE_SERVICE_ACCOUNT_KEY"], []),
        (
            "az://models/x",
            ["AZURE_STORAGE_ACCOUNT_NAME"],
            [["AZURE_STORAGE_ACCOUNT_KEY"], ["AZURE_STORAGE_SAS_TOKEN"]],
        ),
    ],
)
@pytest.mark.parametrize("part", ["dataset", "output"])
def test_the_keys_of_a_secret_are_those_of_the_address(part, uri, required, optional):
    spec = pod(SMALL | {part: {"uri": uri, "credentialsSecretRef": {"name": "keys"}}})
    [sources] = [mount["projected"]["sources"] for mount in spec["volumes"] if "projected" in mount]
    assert [[item["key"] for item in source["secret"]["items"]] for source in sources] == [
        required,
        *optional,
    ]
    # "optional" applies to a whole source: a key that may be missing has its own.
    assert [source["secret"].get("optional", False) for source in sources] == [
        False,
        *(True for _ in optional),
    ]


def test_a_pod_with_an_identity_of_azure_has_the_label_that_its_webhook_looks_for():
    def labels(annotations):
        found = planned(SMALL | {"trainer": {"serviceAccountAnnotations": annotations}})
        return build(Child.JOB, OWNER, found, SETTINGS)["spec"]["template"]["metadata"]["labels"]

    assert labels({"azure.workload.identity/client-id": "x"})["azure.workload.identity/use"] == "true"
    assert not any("azure" in name for name in labels({"eks.amazonaws.com/role-arn": "arn"}))


def test_the_platform_may_choose_the_user():
    settings = Settings(trainer_image="x", run_as_user=0)
    assert "runAsUser" not in pod(SMALL, settings)["securityContext"]


def resources(**spec):
    found = pod(SMALL | spec)["containers"][0]["resources"]
    return {f"{kind}.{name}": value for kind, values in found.items() for name, value in values.items()}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        # A machine of two cores has about one to give beside a control plane.
        pytest.param({}, ("1000m", "3", "3840Mi", "7680Mi"), id="default"),
        pytest.param({"nJobs": 4, "memoryLimitMb": 1024}, ("2000m", "5", "2816Mi", "5632Mi"), id="n-jobs"),
        pytest.param({"parallelMode": "none"}, ("500m", "2", "2304Mi", "4608Mi"), id="none"),
        pytest.param(
            {"parallelMode": "distributed", "nJobs": 8}, ("500m", "2", "2304Mi", "4608Mi"), id="dask"
        ),
        pytest.param({"automl": {"enabled": False}}, ("500m", "2", "2304Mi", "4608Mi"), id="baseline"),
        pytest.param(
            {"trainer": {"resources": {"limits": {"cpu": "500m"}}}},
            ("500m", "500m", "3840Mi", "7680Mi"),
            id="a lone limit bounds the request",
        ),
        pytest.param(
            {"trainer": {"resources": {"requests": {"memory": "9Gi"}}}},
            ("1000m", "3", "9Gi", "9Gi"),
            id="a request above the limit raises it",
        ),
        pytest.param(
            {"trainer": {"resources": {"requests": {"memory": "1Gi"}}}},
            ("1000m", "3", "1Gi", "7680Mi"),
            id="a request below the limit leaves it to the workers",
        ),
        pytest.param(
            {"trainer": {"resources": {"requests": {"memory": "8053063680"}}}},
            ("1000m", "3", "8053063680", "7680Mi"),
            id="a request in bytes at the limit leaves it",
        ),
        pytest.param(
            {"trainer": {"resources": {"requests": {"cpu": "500m"}}}},
            ("500m", "3", "3840Mi", "7680Mi"),
            id="a small request of cores leaves them to the workers",
        ),
        pytest.param(
            {"trainer": {"resources": {"requests": {"cpu": "3001m"}}}},
            ("3001m", "3001m", "3840Mi", "7680Mi"),
            id="a request of more cores raises the limit",
        ),
        pytest.param(
            {"trainer": {"resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "8"}}}},
            ("1", "8", "3840Mi", "7680Mi"),
            id="both",
        ),
    ],
)
def test_resources_follow_the_workers(spec, expected):
    found = resources(**spec)
    names = ("requests.cpu", "limits.cpu", "requests.memory", "limits.memory")
    assert tuple(found[name] for name in names) == expected


@pytest.mark.parametrize(
    ("small", "large"),
    [("1500m", "2"), ("1.5Gi", "1600Mi"), ("999M", "1G"), ("1G", "1Gi"), ("0.1", "101m"), ("5k", "5Ki")],
)
def test_quantities_are_compared_by_what_they_mean(small, large):
    assert amount(small) < amount(large)


def test_a_private_authority_is_mounted_from_the_namespace_of_the_job():
    settings = replace(SETTINGS, ca_config_map="company-ca")
    spec = build(Child.JOB, OWNER, planned(SMALL), settings)["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    (mount,) = [mount for mount in container["volumeMounts"] if mount["name"] == "ca"]
    (source,) = [mount["configMap"] for mount in spec["volumes"] if mount["name"] == "ca"]
    assert source == {"name": "company-ca", "items": [{"key": "ca.crt", "path": "ca.crt"}]}, "not optional"
    assert mount["readOnly"]
    named = next(variable["value"] for variable in container["env"] if variable["name"] == "SSL_CERT_FILE")
    assert named == f"{mount['mountPath']}/ca.crt"
