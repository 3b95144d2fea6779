"""The lock check finds locks that no longer fit the requirements."""

import subprocess
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from housekeeping.locks import CONTENTS, check_locks, read_lock, unsatisfied
from housekeeping.tree import Tree

HASH = " \\\n    --hash=sha256:00 \\\n    --hash=sha256:11\n    # via\n    #   something\n"
PROJECT = """
[project]
dependencies = ["pydantic>=2.11,<3"]
[project.optional-dependencies]
trainer = ["numpy>=2"]
operator = ["kopf>=1.45.2"]
cluster = []
cloud = []
[dependency-groups]
bootstrap = ["uv==0.13.9"]
build = ["hatchling>=1.27"]
dev = [{include-group = "bootstrap"}, {include-group = "build"}, "pytest>=9"]
[tool.uv]
exclude-dependencies = ["nvidia-nccl-cu12"]
"""
PINS = {
    "locks/dev.txt": "pydantic==2.14.4 numpy==2.4.6 kopf==1.45.2 uv==0.13.9 hatchling==1.33.0 pytest==9.2.0",
    "locks/trainer.txt": "pydantic==2.14.4 numpy==2.4.6",
    "locks/operator.txt": "pydantic==2.14.4 kopf==1.45.2",
    "locks/build.txt": "hatchling==1.33.0",
    "locks/bootstrap.txt": "uv==0.13.9",
}


@pytest.fixture
def found(tmp_path):
    """Return the messages for PROJECT with PINS, changed as the test says."""

    def check(project=PROJECT, **changed):
        subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
        (tmp_path / "locks").mkdir()
        (tmp_path / "pyproject.toml").write_text(project)
        for lock in CONTENTS:
            text = changed.get(Path(lock).stem, "".join(pin + HASH for pin in PINS[lock].split()))
            (tmp_path / lock).write_text(text)
        subprocess.run(["git", "add", "--all"], cwd=tmp_path, check=True)
        return [f"{problem.path}: {problem.message}" for problem in check_locks(Tree(tmp_path))]

    return check


def test_a_lock_that_fits_passes(found):
    assert found() == []


def test_a_raised_requirement_is_found_in_every_lock_that_holds_it(found):
    messages = found(PROJECT.replace("kopf>=1.45.2", "kopf>=1.46"))
    assert {message.split(":")[0] for message in messages} == {"locks/dev.txt", "locks/operator.txt"}
    assert "kopf>=1.46: 1.45.2 locked for Python 3.11 on Linux; run make lock" in messages[0]


def test_a_new_requirement_is_found(found):
    assert "respx: nothing locked" in found(PROJECT.replace('"pytest>=9"', '"pytest>=9", "respx"'))[0]


def test_a_pin_without_a_hash_is_found(found):
    assert found(bootstrap="uv==0.13.9\n") == [
        "locks/bootstrap.txt: uv==0.13.9: not one version with hashes; run make lock"
    ]


def test_an_image_may_not_hold_another_release_than_the_tests(found):
    assert found(build="hatchling==1.34.0" + HASH) == [
        "locks/build.txt: hatchling==1.34.0: not the release of locks/dev.txt; run make lock"
    ]


def test_an_excluded_package_is_found(found):
    dev = "".join(pin + HASH for pin in f"{PINS['locks/dev.txt']} nvidia-nccl-cu12==2.0".split())
    assert found(dev=dev) == ["locks/dev.txt: nvidia-nccl-cu12: excluded in pyproject.toml; run make lock"]


def test_pins_by_interpreter_are_read_by_interpreter():
    pins = read_lock(
        f"numpy==2.4.6 ; python_full_version < '3.12'{HASH}numpy==2.5.5 ; python_full_version >= '3.12'{HASH}"
    )
    assert list(unsatisfied(Requirement("numpy>=2.4"), pins)) == []
    assert {message.split(" on ")[0] for message in unsatisfied(Requirement("numpy>=2.5"), pins)} == {
        "numpy>=2.5: 2.4.6 locked for Python 3.11"
    }


def test_a_requirement_for_another_platform_needs_no_pin():
    assert list(unsatisfied(Requirement("colorama; sys_platform == 'win32'"), [])) == []
