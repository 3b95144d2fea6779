"""A trained child that all tests of this folder share."""

import pytest

from support.trained_child import Child
from trainingjob_trainer.run.final_stage import Trained


@pytest.fixture(scope="session")
def child(tmp_path_factory: pytest.TempPathFactory) -> Child:
    return Child(tmp_path_factory.mktemp("child"))


@pytest.fixture(scope="session")
def trained(child: Child) -> Trained:
    return child.train()
