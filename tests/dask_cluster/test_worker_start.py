"""A worker whose process does not start in time."""

import asyncio
import logging
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from distributed import Scheduler
from distributed.core import Status
from distributed.nanny import WorkerProcess

from trainingjob_trainer.dask_cluster import worker
from trainingjob_trainer.dask_cluster.worker import Departure, WorkerOptions
from trainingjob_trainer.errors import RunFailed


def test_a_process_that_starts_too_slowly_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would register later, and keep its name from the worker that follows."""
    started: list[Any] = []

    async def never_heard_of(process: WorkerProcess, *_: Any) -> None:
        started.append(process.process)
        await asyncio.Event().wait()

    monkeypatch.setattr(WorkerProcess, "_wait_until_connected", never_heard_of)

    async def start() -> None:
        async with Scheduler(host="127.0.0.1", port=0, dashboard=False) as scheduler:
            options = WorkerOptions(
                locate=lambda: scheduler.address, name="late", local_directory=tmp_path, death_seconds=1.0
            )
            with pytest.raises(RunFailed, match="did not take the worker"):
                await worker._start(options, scheduler.address)
            (process,) = started
            assert process.pid is not None
            await process.join(timeout=30)
            assert not process.is_alive()

    # A nanny changes the environment of its own process, which here is that of all tests.
    with mock.patch.dict(os.environ):
        asyncio.run(start())


@pytest.mark.parametrize(
    ("status", "message", "logged"),
    [
        (Status.running, "Worker process died unexpectedly", True),
        (Status.closing, "Worker process died unexpectedly", False),
        (Status.closing, "Worker process 7 was killed by signal 9", True),
    ],
)
def test_the_end_of_a_closing_worker_is_not_unexpected(status: Status, message: str, logged: bool) -> None:
    departure = Departure(None)
    departure._worker = SimpleNamespace(status=status)
    record = logging.LogRecord("distributed.nanny", logging.ERROR, "", 0, message, (), None)
    assert departure.is_news(record) is logged
