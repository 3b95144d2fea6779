"""The jobs in Git, and the tool that names them after their specs."""

from pathlib import Path

import pytest
import yaml

from job_names import MUTABLE, hashed, main, renamed
from trainingjob_api import parse_job

ROOT = Path(__file__).resolve().parents[2]
JOBS = ROOT / "gitops/jobs"
FOLDERS = sorted(path.parent for path in JOBS.glob("*/*/kustomization.yaml"))

JOB = """# a job
apiVersion: automl.trainingjob.dev/v1alpha1
kind: TrainingJob
metadata: {name: churn, labels: {a: b}}   # its name
spec:
  dataset: {uri: "sample://messy_churn"}
  targetColumn: churned
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: space
"""


def name_of(text):
    return next(yaml.safe_load_all(text))["metadata"]["name"]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: str(path.relative_to(JOBS)))
def test_a_folder_of_jobs_has_the_files_that_its_kustomization_lists(folder):
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
    assert set(kustomization["resources"]) == {path.name for path in folder.glob("*.yaml")} - {
        "kustomization.yaml"
    }
    assert kustomization["namespace"] == folder.name
    for file in kustomization["resources"]:
        for manifest in yaml.safe_load_all((folder / file).read_text()):
            job = parse_job(manifest)
            assert job.spec.target_column


def test_the_jobs_in_git_are_named_after_their_specs(capsys):
    assert FOLDERS
    assert main(["--check", str(JOBS)]) == 0, capsys.readouterr().out


def test_only_the_name_of_a_job_is_replaced():
    text = renamed(JOB)
    name = name_of(text)
    assert name.startswith("churn-")
    assert text == JOB.replace("name: churn,", f"name: {name},")
    assert renamed(text) == text


def test_an_edited_job_gets_a_new_name():
    before = renamed(JOB)
    after = renamed(before.replace("churned", "left"))
    assert name_of(before) != name_of(after)
    assert len(name_of(after)) == len("churn-12345678")


def test_a_change_of_a_mutable_field_keeps_the_name():
    spec = {"dataset": {"uri": "sample://x"}, "targetColumn": "y"}
    changed = {"suspend": True, "ttlSecondsAfterFinished": 60, "acceptance": {"minScore": 0.9}}
    assert set(changed) == set(MUTABLE)
    assert hashed("a", spec) == hashed("a", {**changed, **dict(reversed(spec.items()))})


def test_the_mutable_fields_are_those_that_the_definition_lets_change():
    (path,) = (ROOT / "crds").glob("*.yaml")
    spec = yaml.safe_load(path.read_text())["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"][
        "spec"
    ]
    rules = " ".join(rule["rule"] for rule in spec["x-kubernetes-validations"] if "oldSelf" in rule["rule"])
    free = {name for name in spec["properties"] if f"self.{name}" not in rules}
    assert free == set(MUTABLE)


def test_a_long_name_is_shortened_to_the_limit_of_kubernetes():
    assert len(hashed("x" * 253, {})) == 253


def test_check_reports_wrong_names_and_changes_nothing(tmp_path, capsys):
    path = tmp_path / "a.yaml"
    path.write_text(JOB)
    assert main(["--check", str(tmp_path)]) == 1
    assert path.read_text() == JOB
    assert f"{path}: churn -> churn-" in capsys.readouterr().out
    assert main([str(tmp_path)]) == 0
    assert main(["--check", str(tmp_path)]) == 0


@pytest.mark.parametrize(
    "text",
    ["a: [", "kind: TrainingJob\napiVersion: automl.trainingjob.dev/v1alpha1\nmetadata: {}\n"],
)
def test_the_message_names_a_file_that_cannot_be_renamed(text, tmp_path, capsys):
    path = tmp_path / "a.yaml"
    path.write_text(text)
    assert main([str(path)]) == 2
    assert str(path) in capsys.readouterr().err
