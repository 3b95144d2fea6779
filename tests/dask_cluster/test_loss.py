"""When a cluster is lost, as a table of what a probe knows."""

import time

import pytest

from trainingjob_trainer.dask_cluster.probe import ProbeSnapshot
from trainingjob_trainer.dask_cluster.remote import LOST_MISSES, NO_WORKERS_SECONDS, loss

NOW = time.monotonic()
LONG_AGO = NOW - NO_WORKERS_SECONDS - 1
HERE = {"reachable": True, "scheduler_id": "one", "workers": ("a",)}


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        (HERE, None),
        ({**HERE, "reachable": False, "misses": LOST_MISSES - 1}, None),
        ({**HERE, "reachable": False, "misses": LOST_MISSES}, "SchedulerLost"),
        ({**HERE, "scheduler_id": "two"}, "SchedulerLost"),
        ({**HERE, "workers": (), "no_workers_since": NOW}, None),
        ({**HERE, "workers": (), "no_workers_since": LONG_AGO}, "WorkersLost"),
        # Whether workers are there is not known while the scheduler does not answer.
        ({**HERE, "reachable": False, "misses": 1, "workers": (), "no_workers_since": LONG_AGO}, None),
    ],
)
def test_a_cluster_is_lost_by_what_is_known_of_it(seen: dict[str, object], reason: str | None) -> None:
    lost = loss(ProbeSnapshot(**seen), "one")  # type: ignore[arg-type]
    assert (None if lost is None else lost.reason) == reason


def test_any_scheduler_will_do_for_one_who_has_not_begun() -> None:
    assert loss(ProbeSnapshot(**{**HERE, "scheduler_id": "two"}), None) is None  # type: ignore[arg-type]
