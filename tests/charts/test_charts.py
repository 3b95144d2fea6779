"""The charts, offline: strict lint, what they render, what their schema refuses, what they grant."""

import json
import os
import re
from pathlib import Path

import pytest
import yaml

from trainingjob_api.environment import CONFIG_DICT, DASK_SCHEDULER_FILE, TABLE
from trainingjob_operator.desired.role import build_role
from trainingjob_operator.names import Child, Owner
from trainingjob_operator.settings import Settings

helm = pytest.importorskip("helm_python", reason="helm-python-sdk carries Helm")

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).with_name("golden")
OPERATOR = ROOT / "helm/trainingjob-operator"
CRDS = ROOT / "helm/trainingjob-crds"
DEFINITION = "automl.trainingjob.dev_trainingjobs.yaml"

FULL = {
    "image": {"repository": "registry.example/operator", "digest": f"sha256:{'0' * 64}"},
    "trainer": {"image": {"repository": "registry.example/trainer", "tag": "1.2.3"}, "maxRows": 12_000_000},
    "imagePullSecrets": [{"name": "pull"}],
    "namespaces": ["team-b", "team-a"],
    "operatorClass": "canary",
    "automl": {"enabled": True, "fallback": False, "rolloutPercent": 0},
    "defaults": {
        "parallelMode": "none",
        "generations": 20,
        "populationSize": 32,
        "timeLeftSeconds": 900,
        "perRunLimitSeconds": 30,
        "metric": "f1",
        "cvFolds": 3,
        "searchSpace": '{"type": "choice"}',
        "nJobs": 2,
        "memoryLimitMb": 2048,
        "daskSchedulerFile": "/run/scheduler.json",
    },
    "output": {"uri": "s3://models", "endpoint": "https://minio.example", "credentialsSecret": "minio"},
    "s3": {"endpoint": "https://minio.example", "allowedEndpoints": ["minio.example", "s3.example"]},
    "metrics": {"jobLabel": True},
    "resyncSeconds": 12.5,
    "priorityClassName": "high",
    "nodeSelector": {"kubernetes.io/arch": "amd64"},
    "tolerations": [{"key": "infra", "operator": "Exists"}],
    "podAnnotations": {"note": "on"},
    "podLabels": {"team": "ml"},
    "extraEnv": [{"name": "TZ", "value": "UTC"}],
}
CASES = {"default": {}, "full": FULL, "cluster-wide": {"clusterWide": True}}


def rendered(chart, values=None, *, name="trainingjob-operator", namespace="trainingjob-system"):
    """Return template path and text of each file that is rendered to something."""
    with helm.Chart.load(str(chart)) as loaded:
        files = loaded.render(values or {}, name=name, namespace=namespace)
    return {path: text for path, text in sorted(files.items()) if text.strip()}


def manifests(chart, values=None, **release):
    texts = rendered(chart, values, **release)
    return [
        document
        for path, text in texts.items()
        if path.endswith(".yaml")
        for document in yaml.safe_load_all(text)
        if document
    ]


def one(kind, documents):
    (found,) = [each for each in documents if each["kind"] == kind]
    return found


def environment(documents):
    (container,) = one("Deployment", documents)["spec"]["template"]["spec"]["containers"]
    return {each["name"]: each["value"] for each in container["env"]}


@pytest.mark.parametrize("chart", [CRDS, OPERATOR], ids=lambda path: path.name)
def test_strict_lint_finds_nothing(chart):
    report = helm.lint(str(chart), strict=True)
    # A missing icon is no more than a remark.
    assert not [each for each in report["messages"] if each["severity"] > 1], report
    assert not report["errors"]


@pytest.mark.parametrize("case", CASES)
def test_the_manifests_are_those_kept_beside_the_test(case):
    texts = rendered(OPERATOR, CASES[case])
    text = "".join(f"# {path}\n{part.strip()}\n" for path, part in texts.items())
    golden = GOLDEN / f"{case}.txt"
    if os.environ.get("WRITE_GOLDEN"):
        golden.write_text(text)
    assert text == golden.read_text(), "run `make charts` and read the difference"


def test_the_definition_in_the_chart_is_the_generated_one():
    source, copy = ROOT / "crds" / DEFINITION, CRDS / "files" / DEFINITION
    assert copy.read_text() == source.read_text(), "run `make charts`"
    (crd,) = manifests(CRDS)
    assert crd["metadata"].pop("annotations") == {"helm.sh/resource-policy": "keep"}
    assert crd["metadata"].pop("labels")["app.kubernetes.io/name"] == "trainingjob"
    assert crd == yaml.safe_load(source.read_text())


def test_the_definition_goes_with_the_release_if_asked_to():
    (crd,) = manifests(CRDS, {"keep": False})
    assert "annotations" not in crd["metadata"]


@pytest.mark.parametrize("case", CASES)
def test_the_operator_can_read_its_environment(case):
    Settings.from_environment(environment(manifests(OPERATOR, CASES[case])))


def test_every_value_reaches_the_operator():
    variables = environment(manifests(OPERATOR, FULL))
    settings = Settings.from_environment(variables)
    assert dict(settings.defaults) == {
        "ENABLE_AUTOML": "true",
        "ENABLE_AUTOML_FALLBACK": "false",
        "TPOT_PARALLEL_MODE": "none",
        "TPOT__GENERATIONS": "20",
        "TPOT__POPULATION_SIZE": "32",
        "TPOT__TIME_LEFT": "900",
        "TPOT__PER_RUN_LIMIT": "30",
        "TPOT__METRIC": "f1",
        "TPOT__CV_FOLDS": "3",
        "TPOT__CONFIG_DICT": '{"type": "choice"}',
        "TPOT__N_JOBS": "2",
        "TPOT__MEMORY_LIMIT_MB": "2048",
        "TPOT__DASK_SCHEDULER_FILE": "/run/scheduler.json",
    }
    assert settings.trainer_image == "registry.example/trainer:1.2.3"
    assert settings.trainer_environment["TRAININGJOB_MAX_ROWS"] == "12000000"
    assert settings.namespaces == ("team-a", "team-b")
    assert settings.operator_class == "canary"
    assert settings.rollout_percent == 0.0
    assert settings.resync_seconds == 12.5
    assert settings.allowed_endpoints == ("minio.example", "s3.example")
    assert settings.output_secret == "minio"
    assert settings.job_label


def test_each_row_of_the_environment_table_has_a_value():
    template = (OPERATOR / "templates/_environment.tpl").read_text()
    wanted = {row.variable for row in TABLE} | {CONFIG_DICT, DASK_SCHEDULER_FILE}
    assert wanted <= set(re.findall(r'"([A-Z_]+)"', template))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        pytest.param({"replicas": 2}, "replicas", id="unknown"),
        pytest.param({"automl": {"rolloutPercent": 120}}, "rolloutPercent", id="percent"),
        pytest.param({"defaults": {"generations": "many"}}, "generations", id="word for a number"),
        pytest.param({"defaults": {"parallelMode": "off"}}, "parallelMode", id="mode"),
        pytest.param({"image": {"pullPolicy": "Sometimes"}}, "pullPolicy", id="pull policy"),
        pytest.param({"output": {"uri": "file://./runs"}}, "uri", id="file output"),
        pytest.param({"clusterWide": True, "namespaces": ["a"]}, "must be empty", id="both scopes"),
    ],
)
def test_wrong_values_are_refused_by_name(values, message):
    with pytest.raises(helm.HelmError, match=message):
        rendered(OPERATOR, values)


def test_a_role_for_each_namespace_and_nothing_beyond():
    documents = manifests(OPERATOR, FULL)
    kinds = [each["kind"] for each in documents]
    assert not [kind for kind in kinds if kind.startswith("Cluster")]
    roles = [each["metadata"]["namespace"] for each in documents if each["kind"] == "Role"]
    assert roles == ["team-a", "team-b"]
    subjects = [each["subjects"] for each in documents if each["kind"] == "RoleBinding"]
    account = {"kind": "ServiceAccount", "name": "trainingjob-operator", "namespace": "trainingjob-system"}
    assert subjects == [[account], [account]]


@pytest.mark.parametrize("case", CASES)
def test_no_wildcards_and_no_secrets(case):
    for document in manifests(OPERATOR, CASES[case]):
        for rule in document.get("rules", []):
            assert "*" not in json.dumps(rule)
            assert "secrets" not in rule["resources"]


def test_the_operator_holds_what_it_grants():
    held = {
        (group, resource, verb)
        for rule in one("Role", manifests(OPERATOR))["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    granted = build_role(Owner("job", "default", "uid"), None, None)["rules"]
    for rule in granted:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                assert {(group, resource, verb) for verb in rule["verbs"]} <= held
    for child in Child:
        group = child.api_version.rpartition("/")[0]
        assert {(group, child.plural, verb) for verb in ("get", "create")} <= held


@pytest.mark.parametrize("case", CASES)
def test_the_pod_is_restricted(case):
    pod = one("Deployment", manifests(OPERATOR, CASES[case]))["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"requests", "limits"} <= set(container["resources"])
    assert {"startupProbe", "livenessProbe", "readinessProbe"} <= set(container)


def test_two_releases_share_a_namespace():
    names = [
        {(each["kind"], each["metadata"]["name"]) for each in manifests(OPERATOR, name=name)}
        for name in ("stable", "canary")
    ]
    assert not names[0] & names[1]


def test_long_names_stay_names():
    for document in manifests(OPERATOR, name="a" * 53):
        assert len(document["metadata"]["name"].rpartition(":")[2]) <= 63
