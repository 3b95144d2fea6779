"""A folder with processes, for the tests of one module, and the loggers as they were for each test."""

import logging
from collections.abc import Iterator

import pytest

from support.dask_processes import Stage

LOGGERS = ("", "trainingjob_trainer", "distributed")


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    stage = Stage(tmp_path_factory.mktemp("dask"))
    yield stage
    stage.close()


@pytest.fixture(autouse=True)
def loggers_as_before() -> Iterator[None]:
    """Undo what a command sets up that runs in the process of the tests."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    before = [(logger.handlers[:], logger.level, logger.propagate) for logger in loggers]
    logging.captureWarnings(capture=False)
    yield
    logging.captureWarnings(capture=False)
    for logger, (handlers, level, propagate) in zip(loggers, before, strict=True):
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)
