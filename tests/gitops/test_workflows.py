"""The workflows, checked without GitHub: form, pins, rights, references, scripts."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".github/workflows"
FILES = sorted(FOLDER.glob("*.y*ml"))
NAMES = [path.stem for path in FILES]

WORKFLOW = {"name", "on", "permissions", "concurrency", "env", "jobs"}
JOB = {
    "name",
    "needs",
    "runs-on",
    "timeout-minutes",
    "permissions",
    "environment",
    "strategy",
    "env",
    "steps",
    "if",
}
STEP = {"name", "id", "if", "uses", "with", "env", "run"}
# The jobs that have write access, and to what.
WRITES = {
    ("release", "image"): {"packages", "id-token", "attestations"},
    ("release", "chart"): {"packages", "id-token"},
    ("release", "draft"): {"contents"},
}
SECRETS = {"GITHUB_TOKEN", "PROMETHEUS_TOKEN"}
CONTEXTS = {"github", "matrix", "env", "steps", "secrets", "vars", "inputs", "runner", "hashFiles"}
EXPRESSION = re.compile(r"\$\{\{\s*(.+?)\s*\}\}")


class Loader(yaml.SafeLoader):
    """YAML as GitHub reads it: `on` is a word."""


Loader.yaml_implicit_resolvers = {
    key: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
    for key, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(true|false)$"), list("tf"))


def workflow(path):
    return yaml.load(path.read_text(), Loader)  # noqa: S506  a SafeLoader


JOBS = [
    pytest.param(path.stem, name, job, id=f"{path.stem}-{name}")
    for path in FILES
    for name, job in workflow(path)["jobs"].items()
]
STEPS = [
    pytest.param(path.stem, name, step, id=f"{path.stem}-{name}-{number}")
    for path in FILES
    for name, job in workflow(path)["jobs"].items()
    for number, step in enumerate(job["steps"])
]
SCRIPTS = [step for step in STEPS if "run" in step.values[2]]
ACTIONS = [step for step in STEPS if "uses" in step.values[2]]


def expressions(value):
    return EXPRESSION.findall(yaml.safe_dump(value, width=10_000))


def test_there_are_workflows():
    assert {"check", "test", "kind-e2e", "release", "audit", "promotion-gate"} <= set(NAMES)


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_a_workflow_has_known_parts_and_starts_without_rights(path):
    found = workflow(path)
    assert set(found) <= WORKFLOW
    assert found["permissions"] in ({}, {"contents": "read"})
    assert "concurrency" in found
    # These events run code of a fork with the rights of the repository.
    assert not {"pull_request_target", "workflow_run"} & set(found["on"])


@pytest.mark.parametrize(("file", "name", "job"), JOBS)
def test_a_job_has_known_parts_a_time_limit_and_the_least_rights(file, name, job):
    assert set(job) <= JOB
    assert 0 < job["timeout-minutes"] <= 60
    assert re.fullmatch(r"ubuntu-\d\d\.04", job["runs-on"])
    rights = job.get("permissions", {})
    assert {scope for scope, level in rights.items() if level != "read"} == WRITES.get((file, name), set())
    assert set(rights.values()) <= {"read", "write"}


@pytest.mark.parametrize(("file", "name", "job"), JOBS)
def test_each_name_that_a_job_refers_to_exists(file, name, job):
    jobs = workflow(FOLDER / f"{file}.yml")["jobs"]
    assert set(job.get("needs", ())) <= set(jobs)
    axes = set(job.get("strategy", {}).get("matrix", {}))
    declared = set()
    for step in job["steps"]:
        for expression in expressions(step):
            assert re.split(r"[.( ]", expression)[0] in CONTEXTS, expression
            assert set(re.findall(r"matrix\.(\w+)", expression)) <= axes
            assert set(re.findall(r"steps\.(\w+)", expression)) <= declared, (
                "a step that comes later, or never"
            )
            assert set(re.findall(r"secrets\.(\w+)", expression)) <= SECRETS
        declared |= {step["id"]} if "id" in step else set()
    inputs = (workflow(FOLDER / f"{file}.yml")["on"].get("workflow_dispatch") or {}).get("inputs", {})
    assert set(re.findall(r"inputs\.([\w-]+)", " ".join(expressions(job)))) <= set(inputs)


@pytest.mark.parametrize(("file", "name", "step"), STEPS)
def test_a_step_has_known_parts(file, name, step):
    assert set(step) <= STEP
    assert ("run" in step) != ("uses" in step)
    assert "with" not in step or "uses" in step


@pytest.mark.parametrize(("file", "name", "step"), ACTIONS)
def test_an_action_is_pinned_with_its_version_in_a_comment(file, name, step):
    assert re.fullmatch(r"[\w-]+/[\w/-]+@[0-9a-f]{40}", step["uses"])
    (line,) = {
        line.strip() for line in (FOLDER / f"{file}.yml").read_text().splitlines() if step["uses"] in line
    }
    assert re.search(r"@[0-9a-f]{40}  # v\d+\.\d+\.\d+$", line)
    if step["uses"].startswith("actions/checkout@"):
        assert step["with"]["persist-credentials"] is False


def test_an_action_has_one_pin_in_all_workflows():
    lines = {
        line.partition("uses: ")[2]
        for path in FILES
        for line in path.read_text().splitlines()
        if "uses: " in line
    }
    names = [line.partition("@")[0] for line in lines]
    assert len(names) == len(set(names)), sorted(lines)


@pytest.mark.parametrize(("file", "name", "step"), SCRIPTS)
def test_a_script_is_bash_and_takes_values_from_its_environment_only(file, name, step):
    # An expression in a script's text could run code: a branch may have any name.
    assert not EXPRESSION.search(step["run"])
    checked = subprocess.run(["bash", "-n"], input=step["run"], text=True, capture_output=True, check=False)
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize(("file", "name", "step"), SCRIPTS)
def test_the_files_and_targets_that_a_script_calls_exist(file, name, step):
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"\bmake ([a-z0-9]+)", step["run"]):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
    for script in re.findall(r"\b(tools/\w+\.py)\b", step["run"]):
        assert (ROOT / script).is_file()
    for module in re.findall(r"python -m (?!pip\b)(\w+)", step["run"]):
        assert (ROOT / "tools" / module / "__main__.py").is_file()


def test_a_pipe_does_not_hide_the_gates_verdict():
    (step,) = [subject.values[2] for subject in SCRIPTS if "promotion_gate" in subject.values[2]["run"]]
    # Without `shell: bash` GitHub runs `bash -e`, which takes the status of tee for that of the gate.
    assert "set -o pipefail" in step["run"]


def test_every_lock_is_audited():
    (job,) = [job.values[2] for job in JOBS if job.values[0] == "audit"]
    assert set(job["strategy"]["matrix"]["lock"]) == {path.stem for path in (ROOT / "locks").glob("*.txt")}


def test_the_pushed_images_are_signed():
    steps = workflow(FOLDER / "release.yml")["jobs"]["image"]["steps"]
    text = yaml.safe_dump(steps, width=10_000)
    # By the digest of the build, never by a tag, which can be moved.
    assert text.count("${{ steps.build.outputs.digest }}") == 5
    assert 'cosign sign --yes "$IMAGE@$DIGEST"' in text


# These commands run on a bare runner, before or without `make`.
@pytest.mark.parametrize("script", ["tools/release.py", "tools/promotion_gate/__main__.py"])
def test_commands_on_a_bare_runner_need_no_installed_packages(script):
    command = [
        sys.executable,
        "-I",
        "-S",
        "-c",
        f"import sys; sys.path.insert(0, 'tools'); import runpy; {RUN}",
        script,
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert "usage: " in done.stdout, done.stderr


RUN = "sys.argv = [sys.argv[1], '--help']; runpy.run_path(sys.argv[0], run_name='__main__')"
