"""The queue holds each key once, processes it in one worker at a time and backs off after faults."""

import asyncio
from contextlib import suppress

import pytest
from prometheus_client import CollectorRegistry

from trainingjob_operator import workqueue
from trainingjob_operator.telemetry import Metrics
from trainingjob_operator.transport import ApiFault
from trainingjob_operator.workqueue import WorkQueue

PATIENCE = 20


def run(work, scenario, workers=2):
    """Run *scenario* beside a queue that does *work*; return the metrics."""

    async def both():
        metrics = Metrics(CollectorRegistry())
        queue = WorkQueue(work, workers=workers, metrics=metrics)
        task = asyncio.create_task(queue.run())
        try:
            await asyncio.wait_for(scenario(queue), PATIENCE)
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        return metrics.registry

    return asyncio.run(both())


def idle(queue):
    """Whether nothing is queued or in work; delayed keys do not count."""
    return not (queue._queued or queue._running or queue._again)


async def until(condition):
    while not condition():  # noqa: ASYNC110  # a condition of the code under test
        await asyncio.sleep(0.005)


def test_a_burst_of_events_causes_a_single_pass():
    seen = []

    async def work(key):
        seen.append(key)

    async def scenario(queue):
        for _ in range(20):
            queue.add("a")
        await until(lambda: seen and idle(queue))

    run(work, scenario)
    assert seen == ["a"]


def test_an_event_during_a_pass_causes_another_pass_afterwards():
    running, most, passes = 0, 0, 0
    gate = asyncio.Event()

    async def work(_):
        nonlocal running, most, passes
        running, passes = running + 1, passes + 1
        most = max(most, running)
        await gate.wait()
        running -= 1

    async def scenario(queue):
        queue.add("a")
        await until(lambda: passes == 1)
        queue.add("a")
        queue.add("a")
        gate.set()
        await until(lambda: passes == 2 and idle(queue))

    run(work, scenario)
    assert (passes, most) == (2, 1)


def test_a_fault_is_retried_and_counted(monkeypatch):
    monkeypatch.setattr(workqueue, "FIRST_DELAY", 0.001)
    passes = []

    async def work(key):
        passes.append(key)
        if len(passes) < 4:
            raise ApiFault(503, "later")

    async def scenario(queue):
        queue.add("a")
        await until(lambda: len(passes) == 4)

    registry = run(work, scenario)
    assert registry.get_sample_value("trainingjob_reconcile_errors_total", {"status": "503"}) == 3


def test_delays_grow_unless_the_server_names_one():
    queue = WorkQueue(None, workers=1, metrics=None)
    delays = [queue._back_off("a", 0.0) for _ in range(20)]
    assert delays[0] <= workqueue.FIRST_DELAY
    assert workqueue.LAST_DELAY / 2 <= delays[-1] <= workqueue.LAST_DELAY
    assert queue._back_off("b", 7.0) >= 7.0


def test_a_defect_in_one_pass_stops_no_other(caplog, monkeypatch):
    seen = []

    async def work(key):
        seen.append(key)
        if key == "bad":
            raise ZeroDivisionError("a defect")

    async def scenario(queue):
        queue.add("bad")
        await until(lambda: "bad" in seen)
        queue.add("good")
        await until(lambda: "good" in seen)

    registry = run(work, scenario, workers=1)
    assert "a defect" in caplog.text
    assert registry.get_sample_value("trainingjob_reconcile_errors_total", {"status": "defect"}) >= 1


def test_a_pass_can_request_another_pass():
    seen = []

    async def work(key):
        seen.append(key)
        return 0.01 if len(seen) < 3 else None

    async def scenario(queue):
        queue.add("a")
        await until(lambda: len(seen) == 3 and idle(queue))

    run(work, scenario)


def test_the_earlier_of_two_times_counts():
    seen = []

    async def work(key):
        seen.append(key)

    async def scenario(queue):
        queue.add("a", 3600)
        queue.add("a", 0.01)
        queue.add("a", 3600)
        await until(lambda: seen)

    run(work, scenario)
    assert seen == ["a"]


@pytest.mark.parametrize("workers", [1, 3])
def test_all_of_many_keys_are_processed(workers):
    seen = set()

    async def work(key):
        seen.add(key)

    async def scenario(queue):
        for key in range(200):
            queue.add(key)
        await until(lambda: len(seen) == 200 and idle(queue))
        assert queue.longest_seconds() == 0

    run(work, scenario, workers)


def delays(*faults):
    """Return when a key is due again after each of *faults*, one after the other."""

    async def work(_):
        fault = left.pop(0)
        if fault is not None:
            raise fault

    async def passes():
        queue = WorkQueue(work, workers=1, metrics=Metrics(CollectorRegistry()))
        return [await queue._pass("a") for _ in faults]

    left = list(faults)
    return asyncio.run(passes())


def test_the_retry_delay_of_the_server_is_kept():
    asked, longer, without = delays(
        ApiFault(429, "busy", 30.0), ApiFault(503, "busy", 600.0), ApiFault(503, "busy")
    )
    assert asked == 30.0
    assert longer == 600.0
    assert without <= 0.8


def test_the_back_off_doubles_up_to_a_minute_and_is_reset_after_a_success():
    found = delays(*[ApiFault(500, "no")] * 20, None, ApiFault(500, "no"))
    for number, delay in enumerate(found[:20]):
        whole = min(60.0, 0.2 * 2**number)
        assert whole / 2 <= delay <= whole
    assert found[20] is None
    assert found[21] <= 0.2
