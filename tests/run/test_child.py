"""The child's own end: what it tells its parent before it leaves."""

import errno
import json
import os
import signal
from pathlib import Path

import pytest

from support.data_runs import run_for
from trainingjob_trainer.events import EVENT_FD_VARIABLE, Failed, decode_event
from trainingjob_trainer.run import child, session
from trainingjob_trainer.run.fallback import Mode
from trainingjob_trainer.run.workspace import open_workspace


@pytest.fixture
def signals() -> object:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("signals")
def test_a_full_disk_is_named_with_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(_session: session.Session) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(session.Session, "execute", fill)
    workspace = open_workspace(tmp_path, run_for("data.csv"), fresh=False)
    history = {"startedAt": "2026-01-01T00:00:00+00:00", "fallbacks": [], "warnings": []}
    workspace.history_file.write_text(json.dumps(history))
    reader, writer = os.pipe()
    monkeypatch.setenv(EVENT_FD_VARIABLE, str(writer))
    assert child.main([str(workspace.home), workspace.uid, Mode.FULL.value]) == 1
    os.close(writer)
    with os.fdopen(reader, "rb") as told:
        failed = [event for event in map(decode_event, told) if isinstance(event, Failed)]
    assert [event.reason for event in failed] == ["WorkFolderUnusable"]
    assert str(workspace.home) in failed[0].message
