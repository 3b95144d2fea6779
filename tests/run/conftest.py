"""A child that has trained, for all tests that look at what it left."""

import pytest

from support.trained_child import Child
from trainingjob_trainer.run.final_stage import Trained


@pytest.fixture(scope="session")
def child(tmp_path_factory: pytest.TempPathFactory) -> Child:
    return Child(tmp_path_factory.mktemp("child"))


@pytest.fixture(scope="session")
def trained(child: Child) -> Trained:
    return child.train()
