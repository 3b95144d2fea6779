"""The Dask operator as a dependency: pinned, off by default, limited to the namespaces of the release."""

import importlib.metadata

import pytest
import yaml

from charts.dask import archive_name, contents, lock_text, packed
from support.charts import CASES, OPERATOR, helm, manifests, named, pods, rendered, rights

kopf_cli = pytest.importorskip("kopf.cli", reason="the Dask operator's arguments are kopf's")

ON = {"daskOperator": {"enabled": True}, "namespaces": ["team-b", "team-a"]}
OURS = "trainingjob-dask-operator"
ROLE = "trainingjob-system:trainingjob-operator:dask"


def test_the_archive_holds_the_chart_of_the_locked_package():
    (archive,) = (OPERATOR / "charts").iterdir()
    assert archive.name == archive_name(), "run `make charts`"
    assert contents(archive.read_bytes()) == contents(packed()), "run `make charts`"
    assert (
        b"BSD" in contents(packed())["dask-kubernetes-operator/LICENSE"]
        or b"Redistribution" in contents(packed())["dask-kubernetes-operator/LICENSE"]
    )


def test_all_places_name_one_version_of_the_dask_operator():
    version = importlib.metadata.version("dask-kubernetes")
    chart = yaml.safe_load((OPERATOR / "Chart.yaml").read_text())
    (dependency,) = chart["dependencies"]
    assert dependency["version"] == version
    assert (OPERATOR / "Chart.lock").read_text() == lock_text(chart), "run `make charts`"
    deployment = named("Deployment", "trainingjob-operator-dask-operator", manifests(OPERATOR, ON))
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"].endswith(f":{version}")


def test_helm_accepts_the_lock_of_the_chart(tmp_path):
    """Helm compares the digest before it looks for a repository, so a wrong digest gives another error."""
    wrong = tmp_path / "wrong"
    wrong.mkdir()
    for name in ("Chart.yaml", "Chart.lock"):
        (wrong / name).write_text((OPERATOR / name).read_text())
    lock = yaml.safe_load((wrong / "Chart.lock").read_text())
    (wrong / "Chart.lock").write_text(yaml.safe_dump(lock | {"digest": f"sha256:{'0' * 64}"}))
    with pytest.raises(helm.HelmError, match="out of sync"):
        helm.dependency_build(str(wrong), skip_refresh=True)
    (wrong / "Chart.lock").write_text((OPERATOR / "Chart.lock").read_text())
    with pytest.raises(helm.HelmError) as caught:
        helm.dependency_build(str(wrong), skip_refresh=True)
    assert "out of sync" not in str(caught.value)


def test_the_dask_operator_is_off_by_default():
    assert "dask" not in " ".join(rendered(OPERATOR))
    assert any(
        manifest["kind"] == "Deployment"
        for manifest in manifests(OPERATOR, ON)
        if "dask" in manifest["metadata"]["name"]
    )


@pytest.mark.parametrize(
    ("values", "namespaces", "everywhere"),
    [
        pytest.param(ON, ("team-a", "team-b"), False, id="named"),
        pytest.param({"daskOperator": {"enabled": True}}, ("trainingjob-system",), False, id="own"),
        pytest.param(CASES["cluster-wide"], (), True, id="all"),
    ],
)
def test_the_dask_operator_reads_its_namespaces_from_the_chart(values, namespaces, everywhere, monkeypatch):
    documents = manifests(OPERATOR, values)
    config = named("ConfigMap", OURS, documents)["data"]
    deployment = named("Deployment", "trainingjob-operator-dask-operator", documents)
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    for variable in container["env"]:
        source = variable.get("valueFrom", {}).get("configMapKeyRef")
        if source is not None:
            assert source["name"] == OURS
            assert source["optional"]
            if source["key"] in config:
                monkeypatch.setenv(variable["name"], config[source["key"]])
    arguments = ["-m", "dask_kubernetes.operator.controller", *container["args"]]
    with (
        kopf_cli.main.make_context("kopf", ["run", *arguments]) as above,
        kopf_cli.run.make_context("run", list(arguments), parent=above) as read,
    ):
        assert read.params["namespaces"] == namespaces
        assert read.params["clusterwide"] is everywhere


def test_the_dask_operator_has_the_rights_of_its_chart_without_wildcards():
    documents = manifests(OPERATOR, ON)
    roles = [
        manifest
        for manifest in documents
        if manifest["kind"] == "Role" and manifest["metadata"]["name"] == ROLE
    ]
    assert [role["metadata"]["namespace"] for role in roles] == ["team-a", "team-b"]
    granted = rights(roles[0]["rules"])
    with_its_own = manifests(
        OPERATOR,
        {"daskOperator": {"enabled": True}, "rbac": {"create": True}},
    )
    assert not [manifest for manifest in with_its_own if manifest["metadata"]["name"].endswith("-role")]
    upstream = yaml.safe_load(
        "\n".join(
            line
            for line in contents(packed())["dask-kubernetes-operator/templates/role.yaml"]
            .decode()
            .splitlines()
            if "{{" not in line
        )
    )
    theirs = rights(upstream["rules"])
    assert all((g, r, v) in theirs or (g, r, "*") in theirs for g, r, v in granted)
    assert not {resource for _, resource, _ in granted} & {"secrets", "roles", "namespaces", "configmaps"}


def test_the_pod_of_the_dask_operator_is_restricted():
    (pod,) = [spec for name, spec in pods(manifests(OPERATOR, ON)) if "dask" in name]
    (container,) = pod["containers"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert container["resources"]["limits"]


@pytest.mark.parametrize(
    "values", [{"kopfArgs": ["--all-namespaces"]}, {"rbac": {"create": True}}], ids=["arguments", "rights"]
)
def test_the_chart_rejects_other_arguments_and_rights_for_the_dask_operator(values):
    with pytest.raises(helm.HelmError, match=r"kopfArgs must be empty and rbac\.create false"):
        rendered(OPERATOR, ON | {"dask-kubernetes-operator": values})


def test_an_upgrade_to_the_dask_operator_names_the_command_for_its_definitions():
    with helm.Chart.load(str(OPERATOR)) as chart:
        options = {"name": "trainingjob-operator", "namespace": "trainingjob-system", "is_upgrade": True}
        with pytest.raises(helm.HelmError, match=r"helm show crds .* \| kubectl apply --server-side -f -"):
            chart.render(ON, **options)
        assert chart.render({}, **options)
    definitions = [
        document
        for document in yaml.safe_load_all(helm.show(str(OPERATOR), output_format="crds"))
        if document
    ]
    assert {definition["spec"]["names"]["kind"] for definition in definitions} >= {
        "DaskCluster",
        "DaskWorkerGroup",
    }


def test_the_user_of_the_dask_operator_has_a_name():
    """Kopf needs a user name; without a line in /etc/passwd only the environment has it."""
    deployment = named("Deployment", "trainingjob-operator-dask-operator", manifests(OPERATOR, ON))
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert {"name": "USER", "value": "dask-operator"} in container["env"]
