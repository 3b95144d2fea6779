import pytest

from trainingjob_trainer.search.budget import RunClock, overrun_allowance


class Time:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_stands_until_it_is_started() -> None:
    time = Time()
    clock = RunClock(60, now=time)
    time.now += 30
    assert clock.elapsed == 0
    assert not clock.running
    clock.start()
    time.now += 10
    assert (clock.elapsed, clock.remaining) == (10, 50)


def test_starting_twice_changes_nothing() -> None:
    time = Time()
    clock = RunClock(60, now=time)
    clock.start()
    time.now += 5
    clock.start()
    assert clock.elapsed == 5


def test_carries_over_what_earlier_attempts_used() -> None:
    time = Time()
    clock = RunClock(60, used_before=55, now=time)
    assert clock.remaining == 5
    clock.start()
    time.now += 10
    assert (clock.elapsed, clock.remaining) == (65, 0)


def test_a_run_may_take_five_percent_more_and_at_least_five_seconds() -> None:
    assert overrun_allowance(30) == 5
    assert overrun_allowance(1000) == 50


def test_stands_still_again_when_it_is_stopped() -> None:
    time = Time()
    clock = RunClock(60, now=time)
    clock.start()
    time.now += 10
    clock.stop()
    time.now += 30
    assert (clock.elapsed, clock.running) == (10, False)


def test_stands_while_the_run_waits_for_others() -> None:
    time = Time()
    clock = RunClock(60, now=time)
    clock.start()
    time.now += 5
    with clock.paused():
        time.now += 100
        assert (clock.elapsed, clock.running) == (5, True)
    time.now += 2
    assert clock.elapsed == 7


def test_goes_on_when_the_waiting_ends_in_an_error() -> None:
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
