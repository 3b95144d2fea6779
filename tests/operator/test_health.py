"""Readiness notices a watch that hangs."""

import pytest

from trainingjob_operator.reconciler import JobKey
from trainingjob_operator.telemetry import WATCH_LAG_SECONDS, Health

A, B = JobKey("n", "a"), JobKey("n", "b")


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def health(clock):
    return Health(clock)


def test_not_ready_before_the_first_list(health):
    assert not health.ready
    health.listed({})
    assert health.ready


def test_a_watch_that_brings_what_the_list_shows_is_alive(health, clock):
    health.delivered(A, "5")
    health.listed({A: "5"})
    clock.now = 1000
    assert health.ready


def test_a_watch_that_brings_nothing_is_stalled_until_it_does(health, clock):
    health.delivered(A, "5")
    clock.now = 10
    health.listed({A: "6", B: "7"})
    clock.now += WATCH_LAG_SECONDS
    assert health.ready
    clock.now += 1
    assert health.stalled()
    assert not health.ready
    health.delivered(A, "6")
    health.delivered(B, "7")
    assert health.ready


def test_one_lost_event_is_no_stall(health, clock):
    health.listed({A: "6"})
    clock.now = 50
    health.delivered(B, "9")
    clock.now = 1000
    assert health.ready


def test_a_watch_may_be_ahead_of_the_list(health, clock):
    health.delivered(A, "12")
    clock.now = 10
    health.listed({A: "9"})
    clock.now = 1000
    assert health.ready


def test_a_job_that_is_gone_is_not_waited_for(health, clock):
    health.listed({A: "6"})
    clock.now = 10
    health.listed({})
    clock.now = 1000
    assert health.ready


def test_a_list_again_does_not_start_the_wait_anew(health, clock):
    health.listed({A: "6"})
    clock.now = WATCH_LAG_SECONDS
    health.listed({A: "6"})
    clock.now += 1
    assert health.stalled()
