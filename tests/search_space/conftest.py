"""Tables and contexts for the tests of the search space."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from trainingjob_api.resolved import ResolvedSearchSpace
from trainingjob_trainer.search_space.context import SpaceContext
from trainingjob_trainer.search_space.space import Space, compile_space

TASKS = ("classification", "regression")


def mixed_table(task: str, rows: int = 160) -> tuple[np.ndarray, np.ndarray]:
    """Return an encoded table as features/ makes it: any scale, one-hot, rare and constant columns."""
    rng = np.random.default_rng(1)
    numbers = rng.normal(size=(rows, 5)) * 10.0 ** np.array([-3, 0, 2, 4, 6]) + 3
    codes = [rng.integers(0, k, size=rows) for k in (2, 5)]
    one_hot = np.hstack([np.eye(code.max() + 1)[code] for code in codes])
    constant, rare = np.full((rows, 1), 7.0), np.zeros((rows, 1))
    rare[3] = -1.0
    table = np.hstack([numbers, one_hot, constant, rare, numbers[:, :1]])
    signal = numbers[:, 0] / numbers[:, 0].std() + codes[1] - codes[0] + rng.normal(size=rows) / 3
    if task == "regression":
        return table, signal * 1e4 - 5e3
    return table, np.array(["low", "mid", "high"], dtype=object)[
        np.digitize(signal, np.quantile(signal, [0.4, 0.8]))
    ]


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Fit as a worker does: the tables are small, and threads that wait for each other take longest."""
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="session")
def tables() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    return {task: mixed_table(task) for task in TASKS}


@pytest.fixture(scope="session")
def contexts(tables) -> dict[str, SpaceContext]:
    return {
        task: SpaceContext(
            task=task,
            n_rows=len(table),
            n_features=table.shape[1],
            n_classes=3 if task == "classification" else 0,
            random_state=0,
            columns=("age", "income", "city", "plan", "visits"),
        )
        for task, (table, _) in tables.items()
    }


@pytest.fixture(scope="session")
def compiled(contexts) -> Callable[..., Space]:
    def make(what: str | dict, task: str) -> Space:
        wanted = {"preset": what} if isinstance(what, str) else {"tree": what}
        return compile_space(ResolvedSearchSpace(**wanted, source="spec.searchSpace"), contexts[task])

    return make


@pytest.fixture(scope="session")
def python() -> Callable[..., str]:
    """Return a function that runs Python code in a process of its own and returns what it prints."""

    def run(code: str, *arguments: str, **environment: str) -> str:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code, *arguments],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    return run
