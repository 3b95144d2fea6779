"""The parts of the tree that the release workflow uses."""

import pytest
import yaml

from release import CHARTS, differences, main, values

DIGEST = f"sha256:{'a' * 64}"


@pytest.fixture
def tree(tmp_path):
    """Return a function that writes a tree of some version."""

    def write(project, chart):
        (tmp_path / "pyproject.toml").write_text(f'[project]\nversion = "{project}"\n')
        for name in CHARTS:
            folder = tmp_path / "helm" / name
            folder.mkdir(parents=True)
            (folder / "Chart.yaml").write_text(f'version: {chart}\nappVersion: "{chart}"\n')
        return tmp_path

    return write


def test_package_and_charts_have_one_version(root):
    version = yaml.safe_load((root / "helm/trainingjob-operator/Chart.yaml").read_text())["version"]
    assert list(differences(version)) == []
    assert main(["--version", version]) == 0


def test_a_release_candidate_has_the_form_of_each_place(tree):
    assert list(differences("0.2.0-rc.1", tree("0.2.0rc1", "0.2.0-rc.1"))) == []


def test_each_place_with_another_version_is_named(tree, capsys):
    assert len(list(differences("0.3.0", tree("0.2.0", "0.2.0")))) == 5
    assert main(["--version", "99.0.0"]) == 1
    assert "pyproject.toml" in capsys.readouterr().err


@pytest.fixture
def images(tmp_path):
    def write(**contents):
        paths = []
        for name, text in contents.items():
            paths.append(tmp_path / name)
            paths[-1].write_text(text)
        return paths

    return write


def test_the_values_pin_both_images_of_the_chart(images, rendered):
    text = values(images(operator=f"ghcr.io/a/operator {DIGEST}\n", trainer=f"ghcr.io/a/trainer {DIGEST}\n"))
    made = rendered("helm/trainingjob-operator", yaml.safe_load(text), namespace="trainingjob-system")
    (deployment,) = [manifest for manifest in made if manifest["kind"] == "Deployment"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"ghcr.io/a/operator@{DIGEST}"
    assert {"name": "TRAININGJOB_TRAINER_IMAGE", "value": f"ghcr.io/a/trainer@{DIGEST}"} in container["env"]


@pytest.mark.parametrize(
    "contents",
    [
        {"operator": f"a {DIGEST}"},
        {"operator": f"a {DIGEST}", "other": f"a {DIGEST}"},
        {"operator": f"a {DIGEST}", "trainer": "a sha256:1"},
        {"operator": f"a {DIGEST}", "trainer": DIGEST},
    ],
)
def test_an_image_without_a_digest_is_rejected(contents, images, capsys):
    assert main(["--images", *map(str, images(**contents))]) == 1
    assert capsys.readouterr().err
