import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from trainingjob_trainer.search.limits import (
    KILL_GRACE_SECONDS,
    LimitExceeded,
    RunClock,
    overrun_allowance,
    time_limit,
)

HARD = """
import ctypes, time
from trainingjob_trainer.search.limits import time_limit
with time_limit(0.5):
    {body}
"""


def spin() -> None:
    while True:
        pass


def test_code_that_ends_in_time_is_not_interrupted() -> None:
    with time_limit(5):
        value = sum(range(1000))
    assert value == 499500


def test_python_code_is_stopped_by_an_exception() -> None:
    # Were it not stopped softly, this process would end.
    with pytest.raises(LimitExceeded), time_limit(0.2):
        spin()


def test_an_except_clause_of_an_estimator_cannot_catch_the_limit() -> None:
    def stubborn() -> None:
        while True:
            with contextlib.suppress(Exception):
                time.sleep(0.01)

    with pytest.raises(LimitExceeded), time_limit(0.2):
        stubborn()


class Timer:
    """A timer that the test sets off."""

    def __init__(self, _seconds: float, fire: Callable[[], None]) -> None:
        self.fire = fire
        self.cancelled = False
        TIMERS.append(self)

    def start(self) -> None:
        pass

    def cancel(self) -> None:
        self.cancelled = True

    def ring(self) -> None:
        """Call the function in another thread, as a timer does."""
        thread = threading.Thread(target=self.fire)
        thread.start()
        thread.join()


TIMERS: list[Timer] = []


@pytest.fixture
def timers(monkeypatch: pytest.MonkeyPatch) -> list[Timer]:
    monkeypatch.setattr("trainingjob_trainer.search.limits.threading.Timer", Timer)
    TIMERS.clear()
    return TIMERS


def instructions() -> None:
    """Give an exception that is on its way every chance to arrive."""
    for _ in range(1000):
        time.sleep(0)


def test_a_limit_ends_the_code_inside_it(timers: list[Timer]) -> None:
    reached = []

    def run() -> None:
        timers[0].ring()
        instructions()
        reached.append("the end")

    with pytest.raises(LimitExceeded), time_limit(60):
        run()
    assert reached == []
    instructions()


def test_a_limit_that_passes_at_the_very_end_does_not_reach_the_code_behind_it(timers: list[Timer]) -> None:
    class Late(Exception):  # noqa: N818
        pass

    def ring_while_leaving() -> None:
        try:
            raise Late
        finally:
            timers[-1].ring()

    for _ in range(20):
        with pytest.raises((LimitExceeded, Late)), time_limit(60):
            ring_while_leaving()
        instructions()


def test_a_timer_that_is_cancelled_too_late_interrupts_nothing(timers: list[Timer]) -> None:
    with time_limit(60):
        pass
    assert timers[0].cancelled
    timers[0].ring()
    instructions()


def test_the_code_behind_a_limit_has_all_the_time_that_it_wants(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setattr(
        "trainingjob_trainer.search.limits.faulthandler",
        SimpleNamespace(
            dump_traceback_later=lambda seconds, **how: calls.append(f"{seconds:g} {how['exit']}"),
            cancel_dump_traceback_later=lambda: calls.append("cancelled"),
        ),
    )
    with time_limit(60):
        assert calls == [f"{60 + KILL_GRACE_SECONDS:g} True"]
    with pytest.raises(OSError, match="gone"), time_limit(60):
        raise OSError("gone")
    assert calls[1:] == ["cancelled", calls[0], "cancelled"]


@pytest.mark.parametrize(
    "body",
    ["time.sleep(3600)", "ctypes.PyDLL(None).sleep(3600)"],
    ids=["sleeps in C", "holds the interpreter's lock"],
)
def test_native_code_is_ended_with_its_process(body: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", HARD.format(body=body)],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode != 0
    assert "time_limit" in done.stderr or "Timeout" in done.stderr


class Time:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_clock_is_at_zero_until_its_start() -> None:
    time = Time()
    clock = RunClock(60, now=time)
    time.now += 30
    assert clock.elapsed == 0
    assert not clock.running
    clock.start()
    time.now += 10
    assert (clock.elapsed, clock.remaining) == (10, 50)


def test_starting_the_clock_twice_changes_nothing() -> None:
    time = Time()
    clock = RunClock(60, now=time)
    clock.start()
    time.now += 5
    clock.start()
    assert clock.elapsed == 5


def test_the_clock_includes_the_time_of_earlier_attempts() -> None:
    time = Time()
    clock = RunClock(60, used_before=55, now=time)
    assert clock.remaining == 5
    clock.start()
    time.now += 10
    assert (clock.elapsed, clock.remaining) == (65, 0)


def test_a_run_may_take_five_percent_more_and_at_least_five_seconds() -> None:
    assert overrun_allowance(30) == 5
    assert overrun_allowance(1000) == 50


def test_the_clock_does_not_run_after_its_stop() -> None:
    time = Time()
    clock = RunClock(60, now=time)
    clock.start()
    time.now += 10
    clock.stop()
    time.now += 30
    assert (clock.elapsed, clock.running) == (10, False)


def test_the_clock_does_not_run_while_the_run_waits() -> None:
    time = Time()
    clock = RunClock(60, now=time)
    clock.start()
    time.now += 5
    with clock.paused():
        time.now += 100
        assert (clock.elapsed, clock.running) == (5, True)
    time.now += 2
    assert clock.elapsed == 7


def test_the_clock_continues_if_the_wait_ends_in_an_error() -> None:
    time = Time()
    clock = RunClock(60, now=time)
    clock.start()

    def wait() -> None:
        with clock.paused():
            time.now += 100
            raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        wait()
    time.now += 3
    assert clock.elapsed == 3
