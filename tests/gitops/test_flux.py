"""The Flux manifests: their fields, every name that is referred to, and what keeps a worker from waiting."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
FLUX = ROOT / "gitops/flux"
CLUSTERS = sorted(path.parent.name for path in (FLUX / "clusters").glob("*/trainingjob.yaml"))
MINUTES = {"s": 1 / 60, "m": 1, "h": 60}


def substituted(text, variables):
    """Return *text* with ``${name}`` replaced, as Flux does after the build."""
    missing = set(re.findall(r"\$\{(\w+)\}", text)) - set(variables)
    assert not missing, f"Flux would put nothing in the place of {missing}"
    return re.sub(r"\$\{(\w+)\}", lambda match: variables[match.group(1)], text)


def built(path, variables):
    """Return what a Kustomization of Flux makes of the folder *path*."""
    folder = ROOT / path
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
    files = {each.name for each in folder.glob("*.yaml")} - {"kustomization.yaml"}
    assert set(kustomization["resources"]) == files
    texts = [substituted((folder / file).read_text(), variables) for file in kustomization["resources"]]
    return [each for text in texts for each in yaml.safe_load_all(text) if each]


class Cluster:
    """What one cluster holds: its file, and what the Kustomizations in it make."""

    def __init__(self, name):
        self.file = list(yaml.safe_load_all((FLUX / "clusters" / name / "trainingjob.yaml").read_text()))
        self.kustomizations = [each for each in self.file if each["kind"] == "Kustomization"]
        self.made = {
            each["metadata"]["name"]: built(
                each["spec"]["path"], each["spec"].get("postBuild", {}).get("substitute", {})
            )
            for each in self.kustomizations
        }
        self.all = [*self.file, *(each for made in self.made.values() for each in made)]
        self.releases = [each for each in self.all if each["kind"] == "HelmRelease"]

    def has(self, kind, name):
        return any((each["kind"], each["metadata"]["name"]) == (kind, name) for each in self.all)

    def values(self, release):
        """Return the values of *release* as helm-controller merges them."""
        layers = []
        for each in release["spec"].get("valuesFrom", ()):
            (found,) = [
                one
                for one in self.all
                if (one["kind"], one["metadata"]["name"]) == (each["kind"], each["name"])
            ]
            layers.append(yaml.safe_load(found["data"]["values.yaml"]))
        return [*layers, release["spec"].get("values", {})]


@pytest.fixture(params=CLUSTERS)
def cluster(request):
    return Cluster(request.param)


@pytest.fixture(scope="module")
def prod():
    return Cluster("prod")


def minutes(duration):
    number, unit = re.fullmatch(r"(\d+)([smh])", duration).groups()
    return int(number) * MINUTES[unit]


def test_there_is_a_file_for_each_cluster():
    assert CLUSTERS == ["dev", "prod", "staging"]


def test_the_fields_are_those_of_flux(cluster, problems):
    checked = [each for each in cluster.all if "fluxcd.io" in each["apiVersion"]]
    assert len(checked) >= 6
    assert [problem for each in checked for problem in problems(each)] == []


def test_every_name_that_is_referred_to_exists(cluster):
    for each in cluster.kustomizations:
        spec = each["spec"]
        assert cluster.has(spec["sourceRef"]["kind"], spec["sourceRef"]["name"])
        assert all(cluster.has("Kustomization", other["name"]) for other in spec.get("dependsOn", ()))
        assert (ROOT / spec["path"]).is_dir()
    for each in cluster.releases:
        spec = each["spec"]
        chart = spec["chart"]["spec"]
        assert cluster.has(chart["sourceRef"]["kind"], chart["sourceRef"]["name"])
        assert all(cluster.has("HelmRelease", other["name"]) for other in spec.get("dependsOn", ()))
        assert all(cluster.has(other["kind"], other["name"]) for other in spec.get("valuesFrom", ()))
        assert (ROOT / chart["chart"] / "Chart.yaml").is_file()
        assert all((ROOT / file).is_file() for file in chart.get("valuesFiles", ()))


def test_a_source_carries_what_is_read_from_it(cluster):
    for each in cluster.all:
        if each["kind"] == "GitRepository":
            kept = set(re.findall(r"^!/(\w+)$", each["spec"]["ignore"], re.MULTILINE))
            name = each["metadata"]["name"]
            paths = [
                one["spec"]["path"]
                for one in cluster.kustomizations
                if one["spec"]["sourceRef"]["name"] == name
            ]
            charts = [one["spec"]["chart"]["spec"] for one in cluster.releases]
            paths += [one["chart"] for one in charts if one["sourceRef"]["name"] == name]
            assert paths
            assert {path.split("/")[1] for path in paths} == kept


def test_names_are_given_once(cluster):
    names = [
        (each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"]) for each in cluster.all
    ]
    assert len(names) == len(set(names))


def test_the_definition_comes_first(cluster):
    (definition,) = [each for each in cluster.releases if each["metadata"]["name"] == "trainingjob-crds"]
    assert definition["spec"]["chart"]["spec"]["chart"] == "./helm/trainingjob-crds"
    assert definition["spec"]["values"] == {"keep": True}
    assert "remediation" not in definition["spec"]["upgrade"], "an older definition would be put back"
    for each in cluster.releases:
        if each is not definition:
            assert {"name": "trainingjob-crds"} in each["spec"]["dependsOn"]
    for each in cluster.kustomizations:
        if each["spec"]["path"] == "./gitops/flux/operator":
            assert {"name": "trainingjob-crds"} in each["spec"]["dependsOn"]
        elif each["spec"]["path"].startswith("./gitops/jobs"):
            assert {"name": "trainingjob-operator"} in each["spec"]["dependsOn"]


def test_releases_install_what_git_holds_and_keep_it_so(cluster):
    assert cluster.releases
    for each in cluster.releases:
        assert each["spec"]["chart"]["spec"]["reconcileStrategy"] == "Revision"
        assert each["spec"]["driftDetection"]["mode"] == "enabled"


def test_the_charts_own_values_come_first(cluster):
    files = [
        each["spec"]["chart"]["spec"]["valuesFiles"]
        for each in cluster.releases
        if "valuesFrom" in each["spec"]
    ]
    assert files
    assert {each[0] for each in files} == {"./helm/trainingjob-operator/values.yaml"}


def test_an_operator_that_does_not_get_ready_is_rolled_back(cluster):
    upgrades = [each["spec"]["upgrade"] for each in cluster.releases if "valuesFrom" in each["spec"]]
    assert all(each["remediation"]["strategy"] == "rollback" for each in upgrades)
    assert all(each["remediation"]["remediateLastFailure"] for each in upgrades)


def test_nobody_waits_for_hours(cluster):
    for each in cluster.kustomizations:
        assert minutes(each["spec"]["timeout"]) <= 10
        if each["spec"]["path"].startswith("./gitops/jobs"):
            waits = each["spec"]["wait"]
            assert not waits or "healthCheckExprs" in each["spec"], (
                "kstatus would wait for the end of the search"
            )
            assert each["spec"]["force"] is False, "a spec that is refused would delete the running job"
        else:
            assert each["spec"]["wait"] is True
    assert all(minutes(each["spec"]["timeout"]) <= 5 for each in cluster.releases)


def test_outside_development_everything_is_pinned():
    for name in set(CLUSTERS) - {"dev"}:
        cluster = Cluster(name)
        for each in cluster.kustomizations:
            ref = each["spec"].get("postBuild", {}).get("substitute", {}).get("ref")
            assert ref is None or re.fullmatch(r"refs/tags/v\d+\.\d+\.\d+(-rc\.\d+)?", ref)
        for each in cluster.releases:
            if "valuesFrom" in each["spec"]:
                values, _ = cluster.values(each)
                images = (values["image"], values["trainer"]["image"])
                assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", one["digest"]) for one in images)


def test_two_releases_in_production_share_nothing(prod, rendered, merged):
    releases = [each for each in prod.releases if "valuesFrom" in each["spec"]]
    assert [each["metadata"]["name"] for each in releases] == ["trainingjob-operator", "trainingjob-canary"]
    classes, objects = [], []
    for each in releases:
        spec = each["spec"]
        files = [yaml.safe_load((ROOT / file).read_text()) for file in spec["chart"]["spec"]["valuesFiles"]]
        values = merged(*files, *prod.values(each))
        classes.append(values["operatorClass"])
        made = rendered(
            "helm/trainingjob-operator", values, name=spec["releaseName"], namespace=spec["targetNamespace"]
        )
        objects.append(
            {
                (
                    one["kind"],
                    one["metadata"].get("namespace", spec["targetNamespace"]),
                    one["metadata"]["name"],
                )
                for one in made
            }
        )
    assert classes == ["stable", "canary"]
    assert all(objects)
    assert objects[0] & objects[1] == set()


def test_both_tools_install_the_same(prod):
    argo = {
        name: yaml.safe_load((ROOT / f"gitops/argocd/environments/{name}.yaml").read_text())
        for name in ("prod", "prod-canary", "staging", "dev")
    }
    for cluster, release, name in (
        (prod, "trainingjob-operator", "prod"),
        (prod, "trainingjob-canary", "prod-canary"),
        (Cluster("staging"), "trainingjob-operator", "staging"),
        (Cluster("dev"), "trainingjob-operator", "dev"),
    ):
        (found,) = [each for each in cluster.releases if each["metadata"]["name"] == release]
        files = [Path(file).name for file in found["spec"]["chart"]["spec"]["valuesFiles"][1:]]
        assert files == argo[name]["valueFiles"]
        assert found["spec"]["targetNamespace"] == argo[name]["namespace"]
        (source,) = [
            each
            for each in cluster.all
            if (each["kind"], each["metadata"]["name"]) == ("GitRepository", release)
        ]
        assert source["spec"]["ref"]["name"].rpartition("/")[2] == argo[name]["revision"]
        values, _ = cluster.values(found)
        assert {"operatorClass": "stable", **argo[name]["values"]} == values
