from __future__ import annotations

import pytest

from support.outcomes import make_outcome
from trainingjob_trainer.outcome import RunOutcome


@pytest.fixture(scope="session", params=["binary", "classes", "regression"])
def outcome(request: pytest.FixtureRequest) -> RunOutcome:
    return make_outcome(request.param)


@pytest.fixture(scope="session")
def binary() -> RunOutcome:
    return make_outcome("binary")
