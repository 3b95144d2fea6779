"""A child that hangs after the loss of its Dask cluster is ended, and the next child continues locally."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from support.jobs import job
from trainingjob_api import Best, ModelSource, parse_report, resolve
from trainingjob_trainer.dask_cluster.probe import Probe
from trainingjob_trainer.errors import RunFailed
from trainingjob_trainer.events import Event, FellBack, ModelReady, Saved
from trainingjob_trainer.run.fallback import Mode
from trainingjob_trainer.run.state import RunOptions, RunResult
from trainingjob_trainer.run.supervisor import supervise
from trainingjob_trainer.run.watch import ChildEnd, ClusterGuard, Ended, watch_child
from trainingjob_trainer.run.workspace import Workspace
from trainingjob_trainer.settings import TrainerSettings

BEST = Best(
    pipeline="Ridge", score="0.9", holdout_score="0.8", baseline_score="0.7", baseline_holdout_score="0.6"
)


@pytest.fixture
def frozen_scheduler(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Return the address of one that takes connections and never answers; the parent soon gives it up."""
    quick = partial(Probe, interval=0.05, timeout=0.2)
    monkeypatch.setattr("trainingjob_trainer.dask_cluster.probe.Probe", quick)
    monkeypatch.setattr(
        "trainingjob_trainer.run.supervisor.ClusterGuard", partial(ClusterGuard, grace_seconds=0.1)
    )
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"tcp://127.0.0.1:{server.getsockname()[1]}"


class Children:
    """A first child that is a stuck process, and a second one that saves a model."""

    def __init__(self, folder: Path, scheduler: str, **spec: Any) -> None:
        self._output = folder / "runs"
        self._scheduler = scheduler
        uri = {"uri": f"file://{self._output}"}
        self._run = resolve(job("churn", output=uri, parallelMode="distributed", **spec), {})
        self.modes: list[Mode] = []
        self.journals: list[str] = []
        self.pids: list[int] = []
        self.events: list[Event] = []

    def supervise(self) -> RunResult:
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
        options = RunOptions(environment=environment)
        return supervise(
            self._run,
            options,
            TrainerSettings(),
            lambda event, _state: self.events.append(event),
            start=self._start,
        )

    def report(self) -> Any:
        (path,) = self._output.glob("churn-*/.work/report.json")
        return parse_report(path.read_text())

    def _start(self, arguments: list[str], *, on_event: Callable[[Event], None], **how: Any) -> ChildEnd:
        home, uid, mode = arguments
        workspace = Workspace(home=Path(home), uid=uid, resumed=True)
        self.modes.append(Mode(mode))
        if len(self.modes) == 1:
            workspace.journal.write_text("what was finished\n")
            how["on_start"] = self.pids.append
            return watch_child(
                ["stuck", self._scheduler], on_event=on_event, **{**how, "module": "support.children"}
            )
        assert json.loads(workspace.history_file.read_text())["fallbacks"][0]["reason"] == "SchedulerLost"
        self.journals.append(workspace.journal.read_text())
        on_event(ModelReady(model_source=ModelSource.TPOT, best=BEST, stopped_by="time"))
        workspace.artifacts.mkdir(parents=True)
        (workspace.artifacts / "model.joblib").write_bytes(b"model")
        workspace.set_state("saved", self._run)
        on_event(Saved(journal_digest="ab"))
        return ChildEnd(ended=Ended.SAVED, message="")


def test_a_hanging_child_is_ended_and_the_next_continues_locally(
    tmp_path: Path, frozen_scheduler: str
) -> None:
    children = Children(tmp_path, frozen_scheduler)
    result = children.supervise()
    assert children.modes == [Mode.FULL, Mode.LOCAL]
    assert [psutil.pid_exists(pid) for pid in children.pids] == [False]
    assert children.journals == ["what was finished\n"]
    (fallback,) = result.fallbacks
    assert (fallback.from_, fallback.to, fallback.reason) == ("dask", "local", "SchedulerLost")
    assert frozen_scheduler in fallback.message
    assert "no answer within 0.2 s" in fallback.message
    told = [event.fallback for event in children.events if isinstance(event, FellBack)]
    assert [fallback] == [fallback.model_copy(update={"attempt": 1}) for fallback in told]
    assert children.report().dask_ready is False
    assert result.model_source is ModelSource.TPOT


def test_without_a_fallback_the_run_fails_with_the_reason(tmp_path: Path, frozen_scheduler: str) -> None:
    children = Children(tmp_path, frozen_scheduler, automl={"fallback": False})
    with pytest.raises(RunFailed, match=r"automl\.fallback is false, so there is no local search") as caught:
        children.supervise()
    assert caught.value.reason == "SchedulerLost"
    assert children.modes == [Mode.FULL]
    assert [psutil.pid_exists(pid) for pid in children.pids] == [False]


def test_the_parent_watches_a_cluster_without_modules_of_the_search() -> None:
    """While it imported pandas and scikit-learn, the parent could not read the child's events."""
    program = """if True:
        import sys
        from trainingjob_api import Backend
        from trainingjob_trainer.events import BackendReady
        from trainingjob_trainer.run.supervisor import ClusterGuard

        guard = ClusterGuard({})
        guard.hear(BackendReady(backend=Backend.DASK, workers=2, scheduler="tcp://127.0.0.1:1"))
        assert guard.complaint() is None
        guard.close()
        heavy = {"catboost", "lightgbm", "pandas", "scipy", "sklearn", "tpot", "xgboost"}
        print(sorted(heavy & set(sys.modules)))
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
