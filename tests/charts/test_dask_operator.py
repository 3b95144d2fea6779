"""The Dask operator as a dependency: pinned, off by default, held to the namespaces of the release."""

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


def test_one_version_is_named_everywhere():
    version = importlib.metadata.version("dask-kubernetes")
    chart = yaml.safe_load((OPERATOR / "Chart.yaml").read_text())
    (dependency,) = chart["dependencies"]
    assert dependency["version"] == version
    assert (OPERATOR / "Chart.lock").read_text() == lock_text(chart), "run `make charts`"
    deployment = named("Deployment", "trainingjob-operator-dask-operator", manifests(OPERATOR, ON))
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"].endswith(f":{version}")


def test_helm_itself_takes_the_lock_for_current(tmp_path):
    """Helm compares the digest before it looks for a repository: a wrong one is another error."""
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


def test_it_is_not_there_unless_wanted():
    assert "dask" not in " ".join(rendered(OPERATOR))
    assert any(
        each["kind"] == "Deployment" for each in manifests(OPERATOR, ON) if "dask" in each["metadata"]["name"]
    )


@pytest.mark.parametrize(
    ("values", "namespaces", "everywhere"),
    [
        pytest.param(ON, ("team-a", "team-b"), False, id="named"),
        pytest.param({"daskOperator": {"enabled": True}}, ("trainingjob-system",), False, id="own"),
        pytest.param(CASES["cluster-wide"], (), True, id="all"),
    ],
)
def test_its_own_command_line_reads_the_namespaces_from_the_chart(
    values, namespaces, everywhere, monkeypatch
):
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


def test_its_rights_are_those_of_its_chart_without_wildcards():
    documents = manifests(OPERATOR, ON)
    roles = [each for each in documents if each["kind"] == "Role" and each["metadata"]["name"] == ROLE]
    assert [each["metadata"]["namespace"] for each in roles] == ["team-a", "team-b"]
    granted = rights(roles[0]["rules"])
    with_its_own = manifests(
        OPERATOR,
        {"daskOperator": {"enabled": True}, "rbac": {"create": True}},
    )
    assert not [each for each in with_its_own if each["metadata"]["name"].endswith("-role")]
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


def test_its_pod_is_restricted_too():
    (pod,) = [spec for name, spec in pods(manifests(OPERATOR, ON)) if "dask" in name]
    (container,) = pod["containers"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert container["resources"]["limits"]


@pytest.mark.parametrize(
    "values", [{"kopfArgs": ["--all-namespaces"]}, {"rbac": {"create": True}}], ids=["arguments", "rights"]
)
def test_arguments_and_rights_beside_ours_are_refused(values):
    with pytest.raises(helm.HelmError, match=r"kopfArgs must be empty and rbac\.create false"):
        rendered(OPERATOR, ON | {"dask-kubernetes-operator": values})


def test_an_upgrade_that_turns_it_on_says_first_what_installs_its_definitions():
    with helm.Chart.load(str(OPERATOR)) as chart:
        options = {"name": "trainingjob-operator", "namespace": "trainingjob-system", "is_upgrade": True}
        with pytest.raises(helm.HelmError, match=r"helm show crds .* \| kubectl apply --server-side -f -"):
            chart.render(ON, **options)
        assert chart.render({}, **options)
    definitions = [one for one in yaml.safe_load_all(helm.show(str(OPERATOR), output_format="crds")) if one]
    assert {one["spec"]["names"]["kind"] for one in definitions} >= {"DaskCluster", "DaskWorkerGroup"}


def test_its_user_has_a_name():
    """Kopf asks for one, and without a line in /etc/passwd only the environment has it."""
    deployment = named("Deployment", "trainingjob-operator-dask-operator", manifests(OPERATOR, ON))
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert {"name": "USER", "value": "dask-operator"} in container["env"]
