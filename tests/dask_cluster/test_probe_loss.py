"""The loss of a cluster as a table of the states of a probe."""

import time
from typing import Any

import pytest

from trainingjob_trainer.dask_cluster.probe import LOST_MISSES, NO_WORKERS_SECONDS, ProbeSnapshot, loss

HERE: dict[str, Any] = {"scheduler_id": "one", "workers": ("a",)}
EMPTY: dict[str, Any] = {"workers": ()}


@pytest.mark.parametrize(
    ("seen", "empty_for", "reason"),
    [
        ({}, None, None),
        ({"misses": LOST_MISSES - 1}, None, None),
        ({"misses": LOST_MISSES}, None, "SchedulerLost"),
        ({"scheduler_id": "two"}, None, "SchedulerLost"),
        (EMPTY, NO_WORKERS_SECONDS - 5, None),
        (EMPTY, NO_WORKERS_SECONDS + 1, "WorkersLost"),
        # Whether workers are there is not known while the scheduler does not answer.
        ({**EMPTY, "misses": 1}, NO_WORKERS_SECONDS + 1, None),
    ],
)
def test_the_state_of_a_cluster_decides_whether_it_is_lost(
    seen: dict[str, Any], empty_for: float | None, reason: str | None
) -> None:
    since = None if empty_for is None else time.monotonic() - empty_for
    lost = loss(ProbeSnapshot(**{**HERE, **seen, "no_workers_since": since}), "one")
    assert (None if lost is None else lost.reason) == reason


def test_before_the_search_any_scheduler_is_accepted() -> None:
    assert loss(ProbeSnapshot(**{**HERE, "scheduler_id": "two"}), None) is None
