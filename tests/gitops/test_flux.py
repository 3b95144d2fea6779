"""The Flux manifests: their fields, the names that they refer to, and limits on waiting."""

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
    assert not missing, f"Flux would replace {missing} with nothing"
    return re.sub(r"\$\{(\w+)\}", lambda match: variables[match.group(1)], text)


def built(path, variables):
    """Return the manifests that a Kustomization of Flux applies from the folder *path*."""
    folder = ROOT / path
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
    files = {path.name for path in folder.glob("*.yaml")} - {"kustomization.yaml"}
    assert set(kustomization["resources"]) == files
    texts = [substituted((folder / file).read_text(), variables) for file in kustomization["resources"]]
    return [document for text in texts for document in yaml.safe_load_all(text) if document]


class Cluster:
    """The manifests of a cluster: those in its file, and those that its Kustomizations apply."""

    def __init__(self, name):
        self.file = list(yaml.safe_load_all((FLUX / "clusters" / name / "trainingjob.yaml").read_text()))
        self.kustomizations = [manifest for manifest in self.file if manifest["kind"] == "Kustomization"]
        self.made = {
            kustomization["metadata"]["name"]: built(
                kustomization["spec"]["path"],
                kustomization["spec"].get("postBuild", {}).get("substitute", {}),
            )
            for kustomization in self.kustomizations
        }
        self.all = [*self.file, *(manifest for made in self.made.values() for manifest in made)]
        self.releases = [manifest for manifest in self.all if manifest["kind"] == "HelmRelease"]

    def has(self, kind, name):
        return any((manifest["kind"], manifest["metadata"]["name"]) == (kind, name) for manifest in self.all)

    def values(self, release):
        """Return the values of *release* as helm-controller merges them."""
        layers = []
        for reference in release["spec"].get("valuesFrom", ()):
            (found,) = [
                manifest
                for manifest in self.all
                if (manifest["kind"], manifest["metadata"]["name"]) == (reference["kind"], reference["name"])
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
    checked = [manifest for manifest in cluster.all if "fluxcd.io" in manifest["apiVersion"]]
    assert len(checked) >= 6
    assert [problem for manifest in checked for problem in problems(manifest)] == []


def test_each_name_that_a_manifest_refers_to_exists(cluster):
    for kustomization in cluster.kustomizations:
        spec = kustomization["spec"]
        assert cluster.has(spec["sourceRef"]["kind"], spec["sourceRef"]["name"])
        assert all(cluster.has("Kustomization", other["name"]) for other in spec.get("dependsOn", ()))
        assert (ROOT / spec["path"]).is_dir()
    for release in cluster.releases:
        spec = release["spec"]
        chart = spec["chart"]["spec"]
        assert cluster.has(chart["sourceRef"]["kind"], chart["sourceRef"]["name"])
        assert all(cluster.has("HelmRelease", other["name"]) for other in spec.get("dependsOn", ()))
        assert all(cluster.has(other["kind"], other["name"]) for other in spec.get("valuesFrom", ()))
        assert (ROOT / chart["chart"] / "Chart.yaml").is_file()
        assert all((ROOT / file).is_file() for file in chart.get("valuesFiles", ()))


def test_a_git_source_includes_the_folders_that_are_read_from_it(cluster):
    for manifest in cluster.all:
        if manifest["kind"] == "GitRepository":
            kept = set(re.findall(r"^!/(\w+)$", manifest["spec"]["ignore"], re.MULTILINE))
            name = manifest["metadata"]["name"]
            paths = [
                kustomization["spec"]["path"]
                for kustomization in cluster.kustomizations
                if kustomization["spec"]["sourceRef"]["name"] == name
            ]
            charts = [release["spec"]["chart"]["spec"] for release in cluster.releases]
            paths += [chart["chart"] for chart in charts if chart["sourceRef"]["name"] == name]
            assert paths
            assert {path.split("/")[1] for path in paths} == kept


def test_each_object_has_its_own_name(cluster):
    names = [
        (manifest["kind"], manifest["metadata"].get("namespace"), manifest["metadata"]["name"])
        for manifest in cluster.all
    ]
    assert len(names) == len(set(names))


def test_the_definition_comes_first(cluster):
    (definition,) = [
        release for release in cluster.releases if release["metadata"]["name"] == "trainingjob-crds"
    ]
    assert definition["spec"]["chart"]["spec"]["chart"] == "./helm/trainingjob-crds"
    assert definition["spec"]["values"] == {"keep": True}
    assert "remediation" not in definition["spec"]["upgrade"], "an older definition would be put back"
    for release in cluster.releases:
        if release is not definition:
            assert {"name": "trainingjob-crds"} in release["spec"]["dependsOn"]
    for kustomization in cluster.kustomizations:
        if kustomization["spec"]["path"] == "./gitops/flux/operator":
            assert {"name": "trainingjob-crds"} in kustomization["spec"]["dependsOn"]
        elif kustomization["spec"]["path"].startswith("./gitops/jobs"):
            assert {"name": "trainingjob-operator"} in kustomization["spec"]["dependsOn"]


def test_releases_follow_git_and_correct_drift(cluster):
    assert cluster.releases
    for release in cluster.releases:
        assert release["spec"]["chart"]["spec"]["reconcileStrategy"] == "Revision"
        assert release["spec"]["driftDetection"]["mode"] == "enabled"


def test_the_charts_own_values_come_first(cluster):
    files = [
        release["spec"]["chart"]["spec"]["valuesFiles"]
        for release in cluster.releases
        if "valuesFrom" in release["spec"]
    ]
    assert files
    assert {paths[0] for paths in files} == {"./helm/trainingjob-operator/values.yaml"}


def test_flux_rolls_back_an_operator_that_does_not_become_ready(cluster):
    upgrades = [release["spec"]["upgrade"] for release in cluster.releases if "valuesFrom" in release["spec"]]
    assert all(upgrade["remediation"]["strategy"] == "rollback" for upgrade in upgrades)
    assert all(upgrade["remediation"]["remediateLastFailure"] for upgrade in upgrades)


def test_flux_never_waits_for_hours(cluster):
    for kustomization in cluster.kustomizations:
        assert minutes(kustomization["spec"]["timeout"]) <= 10
        if kustomization["spec"]["path"].startswith("./gitops/jobs"):
            waits = kustomization["spec"]["wait"]
            assert not waits or "healthCheckExprs" in kustomization["spec"], (
                "kstatus would wait for the end of the search"
            )
            assert kustomization["spec"]["force"] is False, (
                "a spec that is refused would delete the running job"
            )
        else:
            assert kustomization["spec"]["wait"] is True
    assert all(minutes(release["spec"]["timeout"]) <= 5 for release in cluster.releases)


def test_staging_and_production_pin_tags_and_images():
    for name in set(CLUSTERS) - {"dev"}:
        cluster = Cluster(name)
        for kustomization in cluster.kustomizations:
            ref = kustomization["spec"].get("postBuild", {}).get("substitute", {}).get("ref")
            assert ref is None or re.fullmatch(r"refs/tags/v\d+\.\d+\.\d+(-rc\.\d+)?", ref)
        for release in cluster.releases:
            if "valuesFrom" in release["spec"]:
                values, _ = cluster.values(release)
                images = (values["image"], values["trainer"]["image"])
                assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", image["digest"]) for image in images)


def test_two_releases_in_production_share_no_object(prod, rendered, merged):
    releases = [release for release in prod.releases if "valuesFrom" in release["spec"]]
    assert [release["metadata"]["name"] for release in releases] == [
        "trainingjob-operator",
        "trainingjob-canary",
    ]
    classes, objects = [], []
    for release in releases:
        spec = release["spec"]
        files = [yaml.safe_load((ROOT / file).read_text()) for file in spec["chart"]["spec"]["valuesFiles"]]
        values = merged(*files, *prod.values(release))
        classes.append(values["operatorClass"])
        made = rendered(
            "helm/trainingjob-operator", values, name=spec["releaseName"], namespace=spec["targetNamespace"]
        )
        objects.append(
            {
                (
                    manifest["kind"],
                    manifest["metadata"].get("namespace", spec["targetNamespace"]),
                    manifest["metadata"]["name"],
                )
                for manifest in made
            }
        )
    assert classes == ["stable", "canary"]
    assert all(objects)
    assert objects[0] & objects[1] == set()


def test_argo_cd_and_flux_install_the_same_releases(prod):
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
        (found,) = [candidate for candidate in cluster.releases if candidate["metadata"]["name"] == release]
        files = [Path(file).name for file in found["spec"]["chart"]["spec"]["valuesFiles"][1:]]
        assert files == argo[name]["valueFiles"]
        assert found["spec"]["targetNamespace"] == argo[name]["namespace"]
        (source,) = [
            manifest
            for manifest in cluster.all
            if (manifest["kind"], manifest["metadata"]["name"]) == ("GitRepository", release)
        ]
        assert source["spec"]["ref"]["name"].rpartition("/")[2] == argo[name]["revision"]
        values, _ = cluster.values(found)
        assert {"operatorClass": "stable", **argo[name]["values"]} == values
