"""A folder with processes, for the tests of one module."""

from collections.abc import Iterator

import pytest

from support.dask_processes import Stage


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    stage = Stage(tmp_path_factory.mktemp("dask"))
    yield stage
    stage.close()
