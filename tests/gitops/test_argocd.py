"""The Argo CD manifests: their fields, what they refer to, the Applications of each environment."""

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
    return [each for file in FILES for each in read(ARGO / file)]


@pytest.fixture(scope="module")
def applications(rendered):
    """Return, for each environment, its Applications by the last word of their names."""
    found = {}
    for name, values in ENVIRONMENTS.items():
        made = rendered("gitops/argocd/apps", {**values, "repoURL": REPO}, namespace="argocd")
        found[name] = {each["metadata"]["name"].rpartition("-")[2]: each for each in made}
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


def one(manifests, kind, name):
    (found,) = [each for each in manifests if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return found


def test_everything_is_in_the_kustomization(read):
    (kustomization,) = read(ARGO / "kustomization.yaml")
    assert kustomization["resources"] == list(FILES)
    assert kustomization["namespace"] == "argocd"


def test_the_fields_are_those_of_argo_cd(manifests, applications, problems):
    made = [*manifests, *(each for found in applications.values() for each in found.values())]
    assert len(made) >= 11
    assert {each["metadata"]["name"]: problems(each) for each in made} == {
        each["metadata"]["name"]: [] for each in made
    }


def test_a_misspelt_field_is_found(manifests, problems):
    release = one(manifests, "ApplicationSet", "trainingjob-releases")
    wrong = {**release, "spec": {**release["spec"], "generator": [], "goTemplate": "yes"}}
    assert problems(wrong) == ["spec.goTemplate: 'yes' is no bool", "spec.generator: there is no such field"]


def test_there_is_one_repository():
    texts = [path.read_text() for path in ROOT.glob("gitops/**/*.yaml")]
    found = Counter(re.findall(r"(?:repoURL|url): (https\S+)|- (https\S+\.git)", "\n".join(texts)))
    assert {first or second for first, second in found} == {REPO}


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_an_environment_is_named_after_its_file(name):
    assert ENVIRONMENTS[name]["environment"] == name


def test_the_four_environments_use_every_file_of_values():
    assert set(ENVIRONMENTS) == {"dev", "staging", "prod-canary", "prod"}
    used = {file for each in ENVIRONMENTS.values() for file in each["valueFiles"]}
    assert used == {path.name for path in (ROOT / "helm/environments").glob("*.yaml")}


@pytest.mark.parametrize("name", sorted(set(ENVIRONMENTS) - {"dev"}))
def test_what_is_released_is_pinned(name):
    each = ENVIRONMENTS[name]
    assert re.fullmatch(TAG, each["revision"])
    for image in (each["values"]["image"], each["values"]["trainer"]["image"]):
        assert re.fullmatch(r"sha256:[0-9a-f]{64}", image["digest"])
        assert "tag" not in image


def version(environment):
    return tuple(map(int, re.findall(r"\d+", environment["revision"])))


def test_each_cluster_has_one_definition_and_it_is_the_newest():
    clusters = {each["server"] for each in ENVIRONMENTS.values()}
    for server in clusters:
        here = [each for each in ENVIRONMENTS.values() if each["server"] == server]
        (owner,) = [each for each in here if each["crds"]["enabled"]]
        for each in here:
            if each["revision"] != owner["crds"]["revision"]:
                assert version({"revision": owner["crds"]["revision"]}) >= version(each)


def test_two_releases_in_a_cluster_share_neither_class_nor_namespace():
    for one_, other in combinations(ENVIRONMENTS.values(), 2):
        if one_["server"] == other["server"]:
            assert one_["namespace"] != other["namespace"]
            assert one_["values"]["operatorClass"] != other["values"]["operatorClass"]


def test_two_releases_in_a_cluster_make_no_object_twice(installed):
    def names(name):
        made, default = installed[name], ENVIRONMENTS[name]["namespace"]
        return {
            (each["kind"], each["metadata"].get("namespace", default), each["metadata"]["name"])
            for each in made
        }

    assert ENVIRONMENTS["prod"]["server"] == ENVIRONMENTS["prod-canary"]["server"]
    assert names("prod") & names("prod-canary") == set()


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_the_operator_has_the_place_s_own_values(name, installed):
    (deployment,) = [each for each in installed[name] if each["kind"] == "Deployment"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    environment = {each["name"]: each.get("value") for each in container["env"]}
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
            int(each["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"]) for each in (crds, operator)
        ]
        assert waves == sorted(set(waves))
        assert "finalizers" not in crds["metadata"]
        assert crds["spec"]["syncPolicy"]["automated"]["prune"] is False
        assert "Prune=false" in crds["spec"]["syncPolicy"]["syncOptions"]


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_paths_and_files_of_values_are_there(name, applications):
    for each in applications[name].values():
        source = each["spec"]["source"]
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
        each["server"] in {"*", goal["server"]} and Path(goal["namespace"]).match(each["namespace"])
        for each in spec["destinations"]
    )


def test_the_project_admits_the_applications_and_what_they_install(manifests, applications, installed):
    platform = one(manifests, "AppProject", "trainingjob-platform")
    root = one(manifests, "ApplicationSet", "trainingjob-releases")["spec"]["template"]
    made = [root, *(each for found in applications.values() for each in found.values())]
    assert all(each["spec"]["project"] == "trainingjob-platform" and allowed(platform, each) for each in made)
    kinds = {(each["group"], each["kind"]) for each in platform["spec"]["clusterResourceWhitelist"]}
    namespaces = [each["namespace"] for each in platform["spec"]["destinations"]]
    for name, objects in installed.items():
        for each in objects:
            where = each["metadata"].get("namespace")
            group = each["apiVersion"].rpartition("/")[0]
            if where is None:
                namespaced = (
                    each["kind"] not in {"ClusterRole", "ClusterRoleBinding"} and "Policy" not in each["kind"]
                )
                assert namespaced or (group, each["kind"]) in kinds, (name, each["kind"])
            else:
                assert any(Path(where).match(pattern) for pattern in namespaces), (name, where)


def test_jobs_are_applications_of_their_own_without_rights_on_the_cluster(manifests):
    project = one(manifests, "AppProject", "trainingjob-jobs")["spec"]
    assert project["clusterResourceWhitelist"] == []
    assert {each["kind"] for each in project["namespaceResourceWhitelist"]} == {"TrainingJob", "ConfigMap"}
    jobs = one(manifests, "ApplicationSet", "trainingjob-jobs")["spec"]
    assert jobs["syncPolicy"]["preserveResourcesOnDeletion"] is True
    assert jobs["template"]["spec"]["project"] == "trainingjob-jobs"
    automated = jobs["template"]["spec"]["syncPolicy"]["automated"]
    assert automated == {"prune": True, "selfHeal": False}, "a job deleted by hand would be trained again"
    releases = one(manifests, "ApplicationSet", "trainingjob-releases")["spec"]["template"]["spec"]
    assert not releases["source"]["path"].startswith("gitops/jobs")


def test_two_git_generators_of_a_matrix_keep_their_paths_apart(manifests):
    (generator,) = one(manifests, "ApplicationSet", "trainingjob-jobs")["spec"]["generators"]
    files, directories = (each["git"] for each in generator["matrix"]["generators"])
    assert files["pathParamPrefix"]
    assert "pathParamPrefix" not in directories


def test_every_parameter_of_a_template_is_known(manifests):
    parameters = {"path.path", "path.basename", "path.filename"} | set(ENVIRONMENTS["prod"])
    for name in ("trainingjob-releases", "trainingjob-jobs"):
        text = yaml.safe_dump(one(manifests, "ApplicationSet", name))
        used = set(re.findall(r"\{\{\s*\.([\w.]+)\s*\}\}", text))
        assert used
        assert used <= parameters
        assert text.count("{{") == len(re.findall(r"\{\{\.[\w.]+\}\}", text))
    for each in ENVIRONMENTS.values():
        assert {"environment", "server"} <= set(each), "missingkey=error would stop all environments"


def test_every_folder_of_jobs_is_of_an_environment():
    folders = {path.relative_to(ROOT / "gitops/jobs").parts[0] for path in ROOT.glob("gitops/jobs/*/*/")}
    assert folders
    assert folders <= set(ENVIRONMENTS)
