from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.finished_runs import make_outcome, summarize
from trainingjob_trainer.artifacts import board, documents
from trainingjob_trainer.finished_run import FinishedRun
from trainingjob_trainer.search_space import pipeline

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any


@pytest.fixture(scope="session", params=["binary", "classes", "regression"])
def outcome(request: pytest.FixtureRequest) -> FinishedRun:
    return make_outcome(request.param)


@pytest.fixture(scope="session")
def binary() -> FinishedRun:
    return make_outcome("binary")


@pytest.fixture(scope="session", autouse=True)  # before the finished runs, which are summarized
def _summaries_of_made_up_pipelines() -> Iterator[None]:
    def of_any(spec: dict[str, Any]) -> str:
        return pipeline.summarize(spec) if "class" in spec and "name" not in spec else summarize(spec)

    with pytest.MonkeyPatch.context() as patch:
        for module in (board, documents):
            patch.setattr(module, "summarize", of_any)
        yield
