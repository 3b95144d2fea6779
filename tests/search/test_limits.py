import contextlib
import subprocess
import sys
import time

import pytest

from trainingjob_trainer.search.limits import KILL_GRACE_SECONDS, LimitExceeded, time_limit

HARD = """
import ctypes, time
from trainingjob_trainer.search.limits import time_limit
with time_limit(0.5):
    {body}
"""


def spin() -> None:
    while True:
        pass


def test_what_ends_in_time_is_left_alone() -> None:
    with time_limit(5):
        value = sum(range(1000))
    assert value == 499500


def test_python_code_is_stopped_softly() -> None:
    started = time.monotonic()
    with pytest.raises(LimitExceeded), time_limit(0.2):
        spin()
    assert time.monotonic() - started < KILL_GRACE_SECONDS


def test_an_except_clause_of_an_estimator_cannot_swallow_it() -> None:
    def stubborn() -> None:
        while True:
            with contextlib.suppress(Exception):
                time.sleep(0.01)

    with pytest.raises(LimitExceeded), time_limit(0.2):
        stubborn()


def test_a_limit_that_passes_at_the_very_end_does_not_reach_the_code_behind_it() -> None:
    for _ in range(30):
        try:
            with time_limit(0.01):
                time.sleep(0.0098)
        except LimitExceeded:
            pass
        for _ in range(200):
            time.sleep(0)


@pytest.mark.parametrize(
    "body",
    ["time.sleep(60)", "ctypes.PyDLL(None).sleep(60)"],
    ids=["sleeps in C", "holds the interpreter's lock"],
)
def test_native_code_takes_its_process_with_it(body: str) -> None:
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", HARD.format(body=body)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode != 0
    assert "time_limit" in done.stderr or "Timeout" in done.stderr
    assert time.monotonic() - started < 15
