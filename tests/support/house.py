"""A parent whose children are functions in place of processes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.jobs import job
from trainingjob_api import Best, ModelSource, Report, ResolvedRun, Stage, parse_report, resolve
from trainingjob_trainer.events import Event, Failed, ModelReady, Saved, StageChanged
from trainingjob_trainer.run.fallback import Mode
from trainingjob_trainer.run.state import RunOptions, RunResult
from trainingjob_trainer.run.supervisor import supervise
from trainingjob_trainer.run.watch import ChildEnd, Ended
from trainingjob_trainer.run.workspace import Workspace
from trainingjob_trainer.settings import TrainerSettings

BEST = Best(
    pipeline="PCA → Ridge",
    score="0.9",
    holdout_score="0.8",
    baseline_score="0.7",
    baseline_holdout_score="0.6",
)
Child = Callable[[Workspace, ResolvedRun, Callable[[Event], None]], ChildEnd]


def save(workspace: Workspace, run: ResolvedRun, tell: Callable[[Event], None]) -> ChildEnd:
    tell(StageChanged(stage=Stage.SEARCHING))
    tell(ModelReady(model_source=ModelSource.TPOT, best=BEST, stopped_by="time"))
    workspace.artifacts.mkdir(parents=True)
    (workspace.artifacts / "model.joblib").write_bytes(b"model")
    workspace.set_state("saved", run)
    tell(Saved(journal_digest="ab"))
    return ChildEnd(ended=Ended.SAVED, message="")


def evaluate_and_crash(workspace: Workspace, _run: ResolvedRun, _tell: Callable[[Event], None]) -> ChildEnd:
    workspace.journal.write_text("{}\n")
    return ChildEnd(ended=Ended.CRASHED, message="the search process was ended by signal 9")


def refuse(_workspace: Workspace, _run: ResolvedRun, _tell: Callable[[Event], None]) -> ChildEnd:
    failure = Failed(reason="TargetColumnMissing", message="there is no column 'y'", exit_code=2)
    return ChildEnd(ended=Ended.FAILED, message=failure.message, failure=failure)


class House:
    """Runs a job whose children are functions, called one after the other."""

    def __init__(self, folder: Path, *, uid: str | None = None, **spec: Any) -> None:
        self.output = folder / "runs"
        run = resolve(job("churn", output={"uri": f"file://{self.output}"}, **spec), {})
        self.run = run.model_copy(update={"uid": uid})
        self.modes: list[Mode] = []
        self.events: list[Event] = []
        self.histories: list[dict[str, Any]] = []
        self.limits: list[float] = []
        self.on_start: Callable[[int], None] = lambda _pid: None

    def __call__(
        self, *children: Child, sink: Callable[[Report], None] | None = None, **options: Any
    ) -> RunResult:
        left = list(children)

        def start(arguments: list[str], *, on_event: Callable[[Event], None], **others: Any) -> ChildEnd:
            home, uid, mode = arguments
            self.limits.append(others["limit_seconds"])
            self.on_start = others["on_start"]
            self.modes.append(Mode(mode))
            workspace = Workspace(home=Path(home), uid=uid, resumed=True)
            self.histories.append(json.loads(workspace.history_file.read_text()))
            return left.pop(0)(workspace, self.run, on_event)

        try:
            return supervise(
                self.run,
                RunOptions(**options),
                TrainerSettings(),
                lambda event, _state: self.events.append(event),
                sink=sink,
                start=start,
            )
        finally:
            assert not left, "a child was not called"

    @property
    def homes(self) -> list[Path]:
        return sorted(path for path in self.output.glob("churn-*") if path.is_dir())

    def report(self) -> Report:
        (home,) = self.homes
        return parse_report((home / ".work" / "report.json").read_text())
