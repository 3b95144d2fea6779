"""The charts, offline: strict lint, manifests, the schema of the values, the rights."""

import json
import os
import re
from pathlib import Path

import pytest
import yaml

from support.charts import (
    CASES,
    CRDS,
    FULL,
    OPERATOR,
    OVERLAYS,
    ROOT,
    environment,
    helm,
    job_of_the_test,
    manifests,
    named,
    operator_pod,
    rendered,
    rights,
)
from trainingjob_api import CONFIG_DICT, DASK_SCHEDULER_FILE, TABLE, parse_job, variables_of
from trainingjob_operator import settings as operator_settings
from trainingjob_operator.children import TRAINER_CHILDREN, Owner
from trainingjob_operator.manifests import build_role
from trainingjob_operator.settings import Settings

GOLDEN = Path(__file__).with_name("golden")
DEFINITION = "automl.trainingjob.dev_trainingjobs.yaml"
NAME = "trainingjob-operator"
ROLE = "trainingjob-system:trainingjob-operator"
FULL_OF_ONE = {key: value for key, value in FULL.items() if key not in {"admission", "daskOperator"}}
"""Full values without objects that a cluster or namespace has once."""


@pytest.mark.parametrize(
    ("chart", "case"),
    [(CRDS, "default"), *((OPERATOR, case) for case in CASES)],
    ids=str,
)
def test_strict_lint_finds_nothing(chart, case):
    report = helm.lint(str(chart), CASES[case], strict=True, with_subcharts=chart == OPERATOR)
    # A missing icon is no more than a remark.
    assert not [message for message in report["messages"] if message["severity"] > 1], report
    assert not report["errors"]


@pytest.mark.parametrize("case", CASES)
def test_the_deployment_runs_one_operator_at_a_time(case):
    deployment = named("Deployment", NAME, manifests(OPERATOR, CASES[case]))["spec"]
    assert deployment["replicas"] == 1
    assert deployment["strategy"] == {"type": "Recreate"}


@pytest.mark.parametrize("case", CASES)
def test_the_manifests_equal_the_golden_files(case):
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


def test_helm_deletes_the_definition_only_if_asked_to():
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
    assert settings.allow_https
    assert settings.trainer_environment["TRAININGJOB_ALLOW_PRIVATE_HTTPS"] == "true"
    assert settings.trainer_environment["AWS_REGION"] == "eu-west-1"
    assert settings.trainer_environment["TRAININGJOB_ALLOW_GOOGLE_METADATA"] == "true"
    assert settings.trainer_environment["AZURE_STORAGE_ACCOUNT_NAME"] == "models"
    assert settings.output_secret == "minio"
    assert settings.job_label


def test_each_row_of_the_environment_table_has_a_value():
    template = (OPERATOR / "templates/_environment.tpl").read_text()
    source = Path(operator_settings.__file__).read_text()
    handed_on = re.findall(r'"((?:TRAININGJOB|AWS|AZURE)_[A-Z_0-9]+)"', source)
    read = {*handed_on, *(name for names in variables_of(Settings).values() for name in names)}
    wanted = {row.variable for row in TABLE} | {CONFIG_DICT, DASK_SCHEDULER_FILE} | read
    assert {"TRAININGJOB_ALLOW_PRIVATE_HTTPS", "TRAININGJOB_OPERATOR_CLASS"} <= read
    assert wanted == set(re.findall(r'"([A-Z_0-9]{5,})"', template))


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
        pytest.param(
            {"s3": {"allowedEndpoints": ["https://a"]}}, "allowedEndpoints", id="address for a host"
        ),
        pytest.param({"s3": {"allowedEndpoints": ["a:9000"]}}, "allowedEndpoints", id="port on a host"),
        pytest.param(
            {"metrics": {"service": {"enabled": False}, "serviceMonitor": {"enabled": True}}},
            "metrics.service.enabled",
            id="monitor without service",
        ),
        pytest.param({"daskOperator": {"enabled": True, "namespace": "x"}}, "namespace", id="unknown below"),
    ],
)
def test_wrong_values_are_refused_by_name(values, message):
    with pytest.raises(helm.HelmError, match=message):
        rendered(OPERATOR, values)


def test_each_namespace_has_a_role_and_no_cluster_role_exists():
    documents = [manifest for manifest in manifests(OPERATOR, FULL) if manifest["metadata"]["name"] == ROLE]
    assert [manifest["kind"] for manifest in documents] == ["Role", "RoleBinding"] * 2
    assert [manifest["metadata"]["namespace"] for manifest in documents] == [
        "team-a",
        "team-a",
        "team-b",
        "team-b",
    ]
    subjects = [manifest["subjects"] for manifest in documents if manifest["kind"] == "RoleBinding"]
    account = {"kind": "ServiceAccount", "name": NAME, "namespace": "trainingjob-system"}
    assert subjects == [[account], [account]]


@pytest.mark.parametrize("case", CASES)
def test_cluster_roles_exist_only_for_all_namespaces(case):
    kinds = {manifest["kind"] for manifest in manifests(OPERATOR, CASES[case])}
    assert bool(kinds & {"ClusterRole", "ClusterRoleBinding"}) == (case == "cluster-wide")


@pytest.mark.parametrize("case", CASES)
def test_the_rights_have_no_wildcard_and_read_no_secret(case):
    for document in manifests(OPERATOR, CASES[case]):
        for rule in document.get("rules", []):
            assert "*" not in json.dumps(rule)
            assert "secrets" not in rule["resources"] or set(rule["verbs"]) <= {"create", "delete"}


def test_rights_for_distributed_jobs_can_be_left_out():
    for enabled in (True, False):
        rules = named("Role", ROLE, manifests(OPERATOR, {"dask": {"enabled": enabled}}))["rules"]
        groups = {group for group, _, _ in rights(rules)}
        assert ("kubernetes.dask.org" in groups) is enabled
        assert ("", "secrets", "create") in rights(rules), "keys of reports take no Dask"
        assert (("", "secrets", "delete") in rights(rules)) is enabled


def test_the_operator_has_the_rights_that_it_grants():
    held = rights(named("Role", ROLE, manifests(OPERATOR))["rules"])
    assert rights(build_role(Owner("job", "default", "uid"), None, None)["rules"]) <= held
    for child in TRAINER_CHILDREN:
        group = child.api_version.rpartition("/")[0]
        assert {(group, child.plural, verb) for verb in ("get", "create")} <= held


def test_no_role_is_rendered_if_another_tool_creates_the_roles():
    kinds = {
        manifest["kind"]
        for manifest in manifests(OPERATOR, FULL | {"rbac": {"create": False}, "test": {"enabled": False}})
    }
    assert not [kind for kind in kinds if "Role" in kind]


@pytest.mark.parametrize("case", CASES)
def test_the_operators_pod_is_restricted_and_probed(case):
    pod = operator_pod(manifests(OPERATOR, CASES[case]))
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
        {
            (manifest["kind"], manifest["metadata"]["name"])
            for manifest in manifests(OPERATOR, FULL_OF_ONE, name=name)
        }
        for name in ("stable", "canary")
    ]
    assert not names[0] & names[1]


def test_long_release_names_give_valid_object_names():
    for document in manifests(OPERATOR, name="a" * 53):
        assert len(document["metadata"]["name"].rpartition(":")[2]) <= 63


@pytest.mark.parametrize("path", OVERLAYS, ids=lambda path: path.stem)
def test_the_values_of_an_environment_hold_only_differences(path):
    own = yaml.safe_load((OPERATOR / "values.yaml").read_text())

    def same(overlay, values, where=()):
        for key, value in overlay.items():
            if isinstance(value, dict):
                yield from same(value, values[key], (*where, key))
            elif values[key] == value:
                yield ".".join((*where, key))

    assert not list(same(yaml.safe_load(path.read_text()), own))
    assert len(path.read_text().splitlines()) <= 20


def test_each_environment_has_its_mode_and_share():
    found = {
        path.stem: Settings.from_environment(environment(manifests(OPERATOR, CASES[path.stem])))
        for path in OVERLAYS
    }
    modes = {name: settings.defaults["TPOT_PARALLEL_MODE"] for name, settings in found.items()}
    assert modes == {
        "dev": "local",
        "staging": "distributed",
        "prod-canary": "distributed",
        "prod": "distributed",
    }
    assert int(found["dev"].defaults["TPOT__TIME_LEFT"]) < 600
    assert {name: settings.rollout_percent for name, settings in found.items()} == {
        "dev": None,
        "staging": None,
        "prod-canary": 10.0,
        "prod": 100.0,
    }


@pytest.mark.parametrize("case", CASES)
def test_this_release_handles_the_job_of_helm_test(case):
    documents = manifests(OPERATOR, CASES[case])
    job = job_of_the_test(documents)
    job["metadata"]["name"] = job["metadata"].pop("generateName") + "x"
    assert parse_job(job).spec.budget.time_left_seconds == 30
    settings = Settings.from_environment(environment(documents))
    assert job["metadata"]["labels"] == {"automl.trainingjob.dev/operator-class": settings.operator_class}
    assert job["metadata"]["namespace"] in (settings.namespaces or ("trainingjob-system",))


def test_the_values_change_the_job_of_helm_test():
    spec = job_of_the_test(manifests(OPERATOR, FULL))["spec"]
    assert spec["budget"]["generations"] == 2
    assert spec["budget"]["timeLeftSeconds"] == 30
    assert spec["output"] == {"leaderboardTopK": 3}
    assert not [path for path in rendered(OPERATOR, {"test": {"enabled": False}}) if "/tests/" in path]


@pytest.mark.parametrize("case", CASES)
def test_service_and_policy_select_only_the_operator(case):
    documents = manifests(OPERATOR, CASES[case])
    labels = {
        manifest["metadata"]["name"]: (
            manifest["metadata"]["labels"]
            if manifest["kind"] == "Pod"
            else manifest["spec"]["template"]["metadata"]["labels"]
        )
        for manifest in documents
        if manifest["kind"] in {"Pod", "Deployment"}
    }
    selectors = [
        named("Service", NAME, documents)["spec"]["selector"],
        named("NetworkPolicy", NAME, documents)["spec"]["podSelector"]["matchLabels"],
    ]
    for selector in selectors:
        assert [name for name, own in labels.items() if selector.items() <= own.items()] == [NAME]


def test_the_network_policy_admits_the_configured_peers():
    policy = named("NetworkPolicy", NAME, manifests(OPERATOR, FULL))["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    (way_in,) = policy["ingress"]
    assert way_in["ports"] == [{"port": "http", "protocol": "TCP"}]
    assert way_in["from"] == FULL["networkPolicy"]["from"]
    ports = {port["port"] for way in policy["egress"] for port in way["ports"]}
    assert ports == {53, 443, 6443}
    off = manifests(
        OPERATOR,
        {
            "daskOperator": {"enabled": True},
            "networkPolicy": {"enabled": False},
            "metrics": {"service": {"enabled": False}},
        },
    )
    assert not [manifest for manifest in off if manifest["kind"] in {"NetworkPolicy", "Service"}]


@pytest.mark.parametrize("case", CASES)
def test_each_pod_has_one_network_policy(case):
    documents = manifests(OPERATOR, CASES[case])
    selectors = [
        manifest["spec"]["podSelector"]["matchLabels"]
        for manifest in documents
        if manifest["kind"] == "NetworkPolicy"
    ]
    for manifest in documents:
        if manifest["kind"] in {"Pod", "Deployment"}:
            pod = manifest if manifest["kind"] == "Pod" else manifest["spec"]["template"]
            labels = pod["metadata"]["labels"]
            assert len([selector for selector in selectors if selector.items() <= labels.items()]) == 1


def test_monitoring_is_off_by_default():
    kinds = {"ServiceMonitor", "PrometheusRule"}
    assert not kinds & {manifest["kind"] for manifest in manifests(OPERATOR)}
    documents = manifests(OPERATOR, FULL)
    for kind in kinds:
        assert named(kind, NAME, documents)["metadata"]["labels"]["release"] == "prometheus"
    selector = named("ServiceMonitor", NAME, documents)["spec"]["selector"]["matchLabels"]
    assert selector.items() <= named("Service", NAME, documents)["metadata"]["labels"].items()


@pytest.mark.parametrize("case", CASES)
def test_the_notes_name_the_next_step(case):
    notes = rendered(OPERATOR, CASES[case])[f"{NAME}/templates/NOTES.txt"]
    assert "kubectl get crd trainingjobs.automl.trainingjob.dev" in notes
    assert f"helm test {NAME} --namespace trainingjob-system" in notes
    assert "kubectl apply --namespace" in notes
    shared = "rolloutPercent" in CASES[case].get("automl", {})
    assert ("run the search; the others" in notes) is shared
