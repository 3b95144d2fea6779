"""The end of a child: its last messages to the parent."""

import errno
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from support.data_runs import run_for
from trainingjob_trainer.events import EVENT_FD_VARIABLE, Event, Failed, Warned, decode_event
from trainingjob_trainer.run import child, session
from trainingjob_trainer.run.fallback import Mode
from trainingjob_trainer.run.workspace import open_workspace


@pytest.fixture
def signals() -> object:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def run_child(
    folder: Path, monkeypatch: pytest.MonkeyPatch, execute: Callable[[session.Session], None]
) -> tuple[int | type[BaseException], list[Event], Path]:
    """Return how a child ended whose work is *execute*, its events and its folder."""
    monkeypatch.setattr(session.Session, "opened", execute)
    workspace = open_workspace(folder, run_for("data.csv"), fresh=False)
    history = {"startedAt": "2026-01-01T00:00:00+00:00", "fallbacks": [], "warnings": []}
    workspace.history_file.write_text(json.dumps(history))
    reader, writer = os.pipe()
    monkeypatch.setenv(EVENT_FD_VARIABLE, str(writer))
    end: int | type[BaseException]
    try:
        end = child.main([str(workspace.home), workspace.uid, Mode.FULL.value])
    except Exception as error:  # noqa: BLE001 - whatever the work raises
        end = type(error)
    os.close(writer)
    with os.fdopen(reader, "rb") as told:
        return end, [event for event in map(decode_event, told) if event is not None], workspace.home


@pytest.mark.usefixtures("signals")
def test_a_full_disk_is_named_with_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(_session: session.Session) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    end, events, home = run_child(tmp_path, monkeypatch, fill)
    failed = [event for event in events if isinstance(event, Failed)]
    assert (end, [event.reason for event in failed]) == (1, ["WorkFolderUnusable"])
    assert str(home) in failed[0].message


@pytest.mark.usefixtures("signals")
def test_a_defect_is_named_by_kind_and_place_and_without_its_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(_session: session.Session) -> None:
        raise TypeError("a value of the table")

    end, events, _ = run_child(tmp_path, monkeypatch, break_down)
    warned = [event.message for event in events if isinstance(event, Warned)]
    assert end is TypeError
    assert len(warned) == 1
    assert "TypeError (test_child.py, line " in warned[0]
    assert "a value" not in warned[0]
    assert not any(isinstance(event, Failed) for event in events), "the parent tries a simpler way"
