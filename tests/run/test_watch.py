import errno
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from support.dask_processes import wait_until
from trainingjob_trainer import with_safe_path
from trainingjob_trainer.events import Channel, Event, Heartbeat, StageChanged
from trainingjob_trainer.run.watch import CONTAINER, ChildEnd, Ended, MemoryGroup, Patience, watch_child

PATIENCE = Patience(silence=3.0, still=3.0, before=20.0, after=20.0)


def watch(
    behaviour: str,
    log: Path,
    *,
    inline: bool = False,
    events: list[Event] | None = None,
    on_start: Callable[[int], None] = lambda _pid: None,
    memory: MemoryGroup = CONTAINER,
) -> ChildEnd:
    taken: list[Event] = [] if events is None else events
    return watch_child(
        [behaviour],
        environment={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        log=log,
        limit_seconds=100.0,
        inline=inline,
        patience=PATIENCE,
        on_event=taken.append,
        on_start=on_start,
        module="support.children",
        memory=memory,
    )


@pytest.mark.parametrize(
    ("behaviour", "ended", "words"),
    [
        ("save", Ended.SAVED, ""),
        ("fail", Ended.FAILED, "there is no column 'y'"),
        ("crash", Ended.CRASHED, "signal 11"),
        ("killed", Ended.CRASHED, "signal 9"),
        ("leave", Ended.CRASHED, "status 3"),
        ("silent", Ended.HUNG, "has not responded"),
        ("still", Ended.HUNG, "no progress"),
        ("overrun", Ended.OVERRAN, "not done after 100 s"),
        ("garbage", Ended.CRASHED, "data that is not an event"),
    ],
)
def test_each_end_of_a_child_is_distinguished(
    tmp_path: Path, behaviour: str, ended: Ended, words: str
) -> None:
    end = watch(behaviour, tmp_path / "log")
    assert end.ended is ended
    assert words in end.message


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    ("behaviour", "kills", "ended"),
    [
        ("killed", 1, Ended.OUT_OF_MEMORY),
        ("killed", 0, Ended.CRASHED),
        ("crash", 1, Ended.CRASHED),
        ("save", 1, Ended.SAVED),
    ],
)
def test_a_kill_for_memory_is_distinguished_from_others(
    tmp_path: Path, behaviour: str, kills: int, ended: Ended, version: int
) -> None:
    (tmp_path / "memory").mkdir()
    events, limit, no_limit = {
        1: ("memory/memory.oom_control", "memory/memory.limit_in_bytes", str(2**63 - 4096)),
        2: ("memory.events", "memory.max", "max"),
    }[version]
    (tmp_path / limit).write_text(f"{3 * 1024**3}\n")

    def count(number: int) -> None:
        (tmp_path / events).write_text(f"low 0\noom 9\noom_kill {number}\noom_group_kill 7\n")

    count(3)
    group = MemoryGroup(tmp_path)
    end = watch(behaviour, tmp_path / "log", on_start=lambda _pid: count(3 + kills), memory=group)
    assert end.ended is ended
    if ended is Ended.OUT_OF_MEMORY:
        assert "limit 3072 MiB" in end.message
        assert "spec.memoryLimitMb" in end.message
        assert "spec.trainer.resources.limits.memory" in end.message
    (tmp_path / limit).write_text(f"{no_limit}\n")
    assert group.limit_text() == ""


def test_a_busy_main_thread_is_not_a_hang_without_workers(tmp_path: Path) -> None:
    started = time.monotonic()
    events: list[Event] = []

    class EnoughError(Exception):
        pass

    class Taken(list[Event]):
        def append(self, event: Event) -> None:
            if time.monotonic() - started > PATIENCE.still + 3:
                raise EnoughError
            events.append(event)

    with pytest.raises(EnoughError):
        watch("still", tmp_path / "log", inline=True, events=Taken())
    assert any(isinstance(event, Heartbeat) for event in events)


def test_events_and_clock_reach_the_parent(tmp_path: Path) -> None:
    events: list[Event] = []
    watch("save", tmp_path / "log", events=events)
    assert isinstance(events[0], StageChanged)
    assert {event.elapsed_seconds for event in events if isinstance(event, Heartbeat)} == {3.5}


def test_a_slow_listener_does_not_count_as_a_hang_of_the_child(tmp_path: Path) -> None:
    class Slow(list[Event]):
        def append(self, event: Event) -> None:
            if not self:
                time.sleep(PATIENCE.silence + 0.5)
            super().append(event)

    assert watch("save", tmp_path / "log", events=Slow()).ended is Ended.SAVED


def test_no_process_of_a_child_outlives_it(tmp_path: Path) -> None:
    pids: list[int] = []
    end = watch_child(
        ["linger"],
        environment={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        log=tmp_path / "log",
        limit_seconds=100.0,
        inline=False,
        patience=PATIENCE,
        on_event=lambda _event: None,
        on_start=pids.append,
        module="support.children",
    )
    assert end.ended is Ended.SAVED
    # Of the killed processes, only the child itself has this process as its parent, which reaps it.
    wait_until(
        lambda: not [process for process in psutil.process_iter(["status"]) if lives_in(process, pids[0])],
        "the child's group is gone",
        10,
    )


def lives_in(process: psutil.Process, group: int) -> bool:
    try:
        return os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.NoSuchProcess, ProcessLookupError):
        return False


def test_a_full_disk_does_not_end_the_heartbeat() -> None:
    asked = threading.Semaphore(0)

    def full(_elapsed: float) -> None:
        asked.release()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    reader, writer = os.pipe()
    channel = Channel(writer, clock=lambda: (1.0, True), on_beat=full)
    try:
        assert all(asked.acquire(timeout=60) for _ in range(2))
    finally:
        channel.close()
        os.close(reader)
        os.close(writer)


def test_a_child_imports_nothing_beside_the_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "json.py").write_text("import pathlib\npathlib.Path('sprung').touch()\n")
    assert watch("save", tmp_path / "log").ended is Ended.SAVED
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("given", "kept"),
    [({}, None), ({"PYTHONPATH": "."}, None), ({"PYTHONPATH": "/a::b:/c"}, "/a:/c")],
)
def test_relative_entries_of_the_path_are_left_out(given: dict[str, str], kept: str | None) -> None:
    safe = with_safe_path({"HOME": "/h", **given})
    assert (safe["PYTHONSAFEPATH"], safe["HOME"], safe.get("PYTHONPATH")) == ("1", "/h", kept)
