from pathlib import Path

import pytest

from support.fake_run import JOB, Front
from trainingjob_api import ResolvedRun, load_job, resolve


@pytest.fixture
def front(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Front:
    """A command line in a folder of its own, with a job in it."""
    (tmp_path / "job.yaml").write_text(JOB)
    monkeypatch.chdir(tmp_path)
    return Front(tmp_path)


@pytest.fixture
def job(tmp_path: Path) -> ResolvedRun:
    (tmp_path / "job.yaml").write_text(JOB)
    return resolve(load_job(tmp_path / "job.yaml"), {})
