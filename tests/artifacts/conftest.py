from __future__ import annotations

import pytest

from support.finished_runs import make_outcome
from trainingjob_trainer.finished_run import FinishedRun


@pytest.fixture(scope="session", params=["binary", "classes", "regression"])
def outcome(request: pytest.FixtureRequest) -> FinishedRun:
    return make_outcome(request.param)


@pytest.fixture(scope="session")
def binary() -> FinishedRun:
    return make_outcome("binary")
