"""The Argo CD manifests: their fields, the names that they refer to, the Applications of each environment."""

import re
from collections import Counter
from itertools import combinations
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
ARGO = ROOT / "gitops/argocd"
ENVIRONMENTS = {
    path.stem: yaml.safe_load(path.read_text()) for path in (ARGO / "environments").glob("*.yaml")
}
REPO = "https://git.example/platform/trainingjob.git"
TAG = r"v\d+\.\d+\.\d+(-rc\.\d+)?"
FILES = ("projects.yaml", "releases.yaml", "jobs.yaml")


@pytest.fixture(scope="module")
def manifests(read):
    return [manifest for file in FILES for manifest in read(ARGO / file)]


@pytest.fixture(scope="module")
def applications(rendered):
    """Return, for each environment, its Applications by the last word of their names."""
    found = {}
    for name, values in ENVIRONMENTS.items():
        made = rendered("gitops/argocd/apps", {**values, "repoURL": REPO}, namespace="argocd")
        found[name] = {
            application["metadata"]["name"].rpartition("-")[2]: application for application in made
        }
    return found


@pytest.fixture(scope="module")
def installed(rendered, merged):
    """Return what the operator's chart makes in each environment."""
    made = {}
    for name, values in ENVIRONMENTS.items():
        files = [
            yaml.safe_load((ROOT / "helm/environments" / file).read_text()) for file in values["valueFiles"]
        ]
        layers = merged(*files, values["values"])
        made[name] = rendered("helm/trainingjob-operator", layers, namespace=values["namespace"])
    return made


def named(manifests, kind, name):
    (found,) = [
        manifest for manifest in manifests if (manifest["kind"], manifest["metadata"]["name"]) == (kind, name)
    ]
    return found


def test_the_kustomization_lists_all_files(read):
    (kustomization,) = read(ARGO / "kustomization.yaml")
    assert kustomization["resources"] == list(FILES)
    assert kustomization["namespace"] == "argocd"


def test_the_fields_are_those_of_argo_cd(manifests, applications, problems):
    made = [*manifests, *(application for found in applications.values() for application in found.values())]
    assert len(made) >= 11
    assert {manifest["metadata"]["name"]: problems(manifest) for manifest in made} == {
        manifest["metadata"]["name"]: [] for manifest in made
    }


def test_a_misspelt_field_is_found(manifests, problems):
    release = named(manifests, "ApplicationSet", "trainingjob-releases")
    wrong = {**release, "spec": {**release["spec"], "generator": [], "goTemplate": "yes"}}
    assert problems(wrong) == ["spec.goTemplate: 'yes' is no bool", "spec.generator: there is no such field"]


def test_all_manifests_name_one_repository():
    texts = [path.read_text() for path in ROOT.glob("gitops/**/*.yaml")]
    found = Counter(re.findall(r"(?:repoURL|url): (https\S+)|- (https\S+\.git)", "\n".join(texts)))
    assert {first or second for first, second in found} == {REPO}


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_an_environment_is_named_after_its_file(name):
    assert ENVIRONMENTS[name]["environment"] == name


def test_the_four_environments_use_every_file_of_values():
    assert set(ENVIRONMENTS) == {"dev", "staging", "prod-canary", "prod"}
    used = {file for environment in ENVIRONMENTS.values() for file in environment["valueFiles"]}
    assert used == {path.name for path in (ROOT / "helm/environments").glob("*.yaml")}


@pytest.mark.parametrize("name", sorted(set(ENVIRONMENTS) - {"dev"}))
def test_a_released_environment_pins_revision_and_images(name):
    environment = ENVIRONMENTS[name]
    assert re.fullmatch(TAG, environment["revision"])
    for image in (environment["values"]["image"], environment["values"]["trainer"]["image"]):
        assert re.fullmatch(r"sha256:[0-9a-f]{64}", image["digest"])
        assert "tag" not in image


def version(environment):
    return tuple(map(int, re.findall(r"\d+", environment["revision"])))


def test_each_cluster_has_one_definition_of_the_newest_revision():
    clusters = {environment["server"] for environment in ENVIRONMENTS.values()}
    for server in clusters:
        here = [environment for environment in ENVIRONMENTS.values() if environment["server"] == server]
        (owner,) = [environment for environment in here if environment["crds"]["enabled"]]
        for environment in here:
            if environment["revision"] != owner["crds"]["revision"]:
                assert version({"revision": owner["crds"]["revision"]}) >= version(environment)


def test_two_releases_in_a_cluster_share_neither_class_nor_namespace():
    for first, other in combinations(ENVIRONMENTS.values(), 2):
        if first["server"] == other["server"]:
            assert first["namespace"] != other["namespace"]
            assert first["values"]["operatorClass"] != other["values"]["operatorClass"]


def test_two_releases_in_a_cluster_share_no_object(installed):
    def names(name):
        made, default = installed[name], ENVIRONMENTS[name]["namespace"]
        return {
            (manifest["kind"], manifest["metadata"].get("namespace", default), manifest["metadata"]["name"])
            for manifest in made
        }

    assert ENVIRONMENTS["prod"]["server"] == ENVIRONMENTS["prod-canary"]["server"]
    assert names("prod") & names("prod-canary") == set()


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_the_operator_has_the_values_of_its_environment(name, installed):
    (deployment,) = [manifest for manifest in installed[name] if manifest["kind"] == "Deployment"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    environment = {variable["name"]: variable.get("value") for variable in container["env"]}
    values = ENVIRONMENTS[name]["values"]
    assert environment["TRAININGJOB_NAMESPACES"] == ",".join(values["namespaces"])
    assert environment["TRAININGJOB_OPERATOR_CLASS"] == values.get("operatorClass", "stable")
    expected = values["image"].get("digest") or values["image"]["tag"]
    assert container["image"].endswith(expected)
    assert environment["TRAININGJOB_TRAINER_IMAGE"].startswith("registry.example/trainingjob-trainer")


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_the_definition_comes_before_the_operator_and_outlives_it(name, applications):
    found = applications[name]
    assert ("crds" in found) is ENVIRONMENTS[name]["crds"]["enabled"]
    operator = found["operator"]
    assert operator["spec"]["source"]["targetRevision"] == ENVIRONMENTS[name]["revision"]
    assert "resources-finalizer.argocd.argoproj.io" in operator["metadata"]["finalizers"]
    if "crds" in found:
        crds = found["crds"]
        waves = [
            int(application["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"])
            for application in (crds, operator)
        ]
        assert waves == sorted(set(waves))
        assert "finalizers" not in crds["metadata"]
        assert crds["spec"]["syncPolicy"]["automated"]["prune"] is False
        assert "Prune=false" in crds["spec"]["syncPolicy"]["syncOptions"]


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_the_paths_and_values_files_of_an_application_exist(name, applications):
    for application in applications[name].values():
        source = application["spec"]["source"]
        assert (ROOT / source["path"] / "Chart.yaml").is_file()
        for file in source["helm"].get("valueFiles", ()):
            path = (ROOT / source["path"] / file).resolve()
            assert path.is_file()
            assert path.is_relative_to(ROOT), "Argo CD reads nothing outside the repository"


def test_an_environment_without_a_revision_is_refused(rendered):
    values = {key: value for key, value in ENVIRONMENTS["prod"].items() if key != "revision"}
    with pytest.raises(Exception, match="revision"):
        rendered("gitops/argocd/apps", {**values, "repoURL": REPO}, namespace="argocd")


def test_a_misspelt_value_of_an_environment_is_refused(rendered):
    with pytest.raises(Exception, match="revison"):
        rendered(
            "gitops/argocd/apps",
            {**ENVIRONMENTS["prod"], "repoURL": REPO, "revison": "v9"},
            namespace="argocd",
        )


def allowed(project, application):
    spec, goal = project["spec"], application["spec"]["destination"]
    return application["spec"]["source"]["repoURL"] in spec["sourceRepos"] and any(
        destination["server"] in {"*", goal["server"]}
        and Path(goal["namespace"]).match(destination["namespace"])
        for destination in spec["destinations"]
    )


def test_the_project_admits_the_applications_and_what_they_install(manifests, applications, installed):
    platform = named(manifests, "AppProject", "trainingjob-platform")
    root = named(manifests, "ApplicationSet", "trainingjob-releases")["spec"]["template"]
    made = [root, *(application for found in applications.values() for application in found.values())]
    assert all(
        manifest["spec"]["project"] == "trainingjob-platform" and allowed(platform, manifest)
        for manifest in made
    )
    kinds = {(kind["group"], kind["kind"]) for kind in platform["spec"]["clusterResourceWhitelist"]}
    namespaces = [destination["namespace"] for destination in platform["spec"]["destinations"]]
    for name, objects in installed.items():
        for manifest in objects:
            where = manifest["metadata"].get("namespace")
            group = manifest["apiVersion"].rpartition("/")[0]
            if where is None:
                namespaced = (
                    manifest["kind"] not in {"ClusterRole", "ClusterRoleBinding"}
                    and "Policy" not in manifest["kind"]
                )
                assert namespaced or (group, manifest["kind"]) in kinds, (name, manifest["kind"])
            else:
                assert any(Path(where).match(pattern) for pattern in namespaces), (name, where)


def test_the_applications_of_jobs_have_no_rights_on_the_cluster(manifests):
    project = named(manifests, "AppProject", "trainingjob-jobs")["spec"]
    assert project["clusterResourceWhitelist"] == []
    assert {kind["kind"] for kind in project["namespaceResourceWhitelist"]} == {"TrainingJob", "ConfigMap"}
    jobs = named(manifests, "ApplicationSet", "trainingjob-jobs")["spec"]
    assert jobs["syncPolicy"]["preserveResourcesOnDeletion"] is True
    assert jobs["template"]["spec"]["project"] == "trainingjob-jobs"
    automated = jobs["template"]["spec"]["syncPolicy"]["automated"]
    assert automated == {"prune": True, "selfHeal": False}, "a job deleted by hand would be trained again"
    releases = named(manifests, "ApplicationSet", "trainingjob-releases")["spec"]["template"]["spec"]
    assert not releases["source"]["path"].startswith("gitops/jobs")


def test_two_git_generators_of_a_matrix_keep_their_paths_apart(manifests):
    (generator,) = named(manifests, "ApplicationSet", "trainingjob-jobs")["spec"]["generators"]
    files, directories = (source["git"] for source in generator["matrix"]["generators"])
    assert files["pathParamPrefix"]
    assert "pathParamPrefix" not in directories


def test_every_parameter_of_a_template_is_known(manifests):
    parameters = {"path.path", "path.basename", "path.filename"} | set(ENVIRONMENTS["prod"])
    for name in ("trainingjob-releases", "trainingjob-jobs"):
        text = yaml.safe_dump(named(manifests, "ApplicationSet", name))
        used = set(re.findall(r"\{\{\s*\.([\w.]+)\s*\}\}", text))
        assert used
        assert used <= parameters
        assert text.count("{{") == len(re.findall(r"\{\{\.[\w.]+\}\}", text))
    for environment in ENVIRONMENTS.values():
        assert {"environment", "server"} <= set(environment), "missingkey=error would stop all environments"


def test_each_folder_of_jobs_belongs_to_an_environment():
    folders = {path.relative_to(ROOT / "gitops/jobs").parts[0] for path in ROOT.glob("gitops/jobs/*/*/")}
    assert folders
    assert folders <= set(ENVIRONMENTS)
