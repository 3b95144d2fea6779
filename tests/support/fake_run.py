"""A simulated run: its events, its result, and a command line that uses it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typer.testing import CliRunner

from trainingjob_api import (
    Artifact,
    Backend,
    Best,
    FindingNote,
    LeaderboardEntry,
    ModelSource,
    ParetoPoint,
    Progress,
    Resolved,
    ResolvedRun,
    Severity,
    Stage,
    Task,
)
from trainingjob_trainer.cli import app
from trainingjob_trainer.cli.command import Dependencies
from trainingjob_trainer.events import (
    BackendReady,
    BaselineReady,
    BoardChanged,
    DataReady,
    Evaluated,
    Event,
    ModelReady,
    Opened,
    Progressed,
    Saved,
    StageChanged,
)
from trainingjob_trainer.run.state import RunOptions, RunResult, RunState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainingjob_trainer.run.state import Listener
    from trainingjob_trainer.settings import TrainerSettings

WHEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
BEST = "StandardScaler → PCA(n_components=0.9) → LogisticRegression(C=0.3)"
HEAVY = "HistGradientBoostingClassifier(learning_rate=0.1, max_leaf_nodes=31)"

JOB = """\
apiVersion: automl.trainingjob.dev/v1alpha1
kind: TrainingJob
metadata: {name: churn}
spec:
  dataset: {uri: "sample://messy_churn"}
  targetColumn: churned
  budget: {timeLeftSeconds: 100, generations: 5, populationSize: 8}
"""

BOARD = (
    LeaderboardEntry(
        rank=1, pipeline=BEST, score="0.912", score_std="0.0113", complexity="14.25", fit_seconds="0.4312"
    ),
    LeaderboardEntry(
        rank=2, pipeline=HEAVY, score="0.9", score_std="0.02", complexity="230.5", fit_seconds="1.25"
    ),
)
FRONT = (ParetoPoint(score="0.912", complexity="14.25", pipeline=BEST),)
SCORES = Best(
    pipeline=BEST,
    score="0.912",
    holdout_score="0.905",
    baseline_score="0.871",
    baseline_holdout_score="0.88",
)
RESOLVED = Resolved(
    target_column="churned",
    task=Task.CLASSIFICATION,
    metric="accuracy",
    cv_folds=5,
    automl_enabled=True,
    rows=4000,
    columns=12,
)


def progress(**changes: Any) -> Progress:
    return Progress(
        **{
            "generation": 1,
            "generations": 5,
            "population_size": 8,
            "evaluated": 3,
            "failed": 1,
            "timed_out": 0,
            "best_score": "0.912",
            "elapsed_seconds": 30,
            "remaining_seconds": 70,
            "updated_at": WHEN,
            **changes,
        }
    )


def evaluated(number: int, **changes: Any) -> Evaluated:
    fields = {"generation": 1, "outcome": "ok", "score": 0.9, "pipeline": HEAVY, "seconds": 1.25, **changes}
    return Evaluated(number=number, **fields)


FINDING = FindingNote(
    finding="identifier", severity=Severity.WARNING, column="id", message="looks like an identifier"
)


def course() -> list[Event]:
    """Return the events of an ordinary run."""
    return [
        StageChanged(stage=Stage.LOADING),
        StageChanged(stage=Stage.PREPARING),
        DataReady(resolved=RESOLVED, holdout_rows=800, classes=2, data_digest="d" * 64, findings=(FINDING,)),
        BackendReady(backend=Backend.LOCAL, workers=2),
        StageChanged(stage=Stage.BASELINE),
        BaselineReady(pipeline="StandardScaler → LogisticRegression", score=0.871, holdout_score=0.88),
        StageChanged(stage=Stage.SEARCHING),
        evaluated(0),
        evaluated(1, outcome="invalid", score=None, error="ValueError: no columns are left"),
        evaluated(2, score=0.912, pipeline=BEST, seconds=0.4312),
        Progressed(progress=progress()),
        BoardChanged(best=SCORES, leaderboard=BOARD, pareto_front=FRONT),
        StageChanged(stage=Stage.FITTING),
        ModelReady(model_source=ModelSource.TPOT, best=SCORES, stopped_by="generations"),
        StageChanged(stage=Stage.SAVING),
        Saved(journal_digest="a" * 64),
        StageChanged(stage=Stage.UPLOADING),
    ]


def folded(*events: Event, now: float = 0.0) -> RunState:
    """Return the state of a run after the given events, all at one moment."""
    state = RunState(resolved=RESOLVED)
    for event in events:
        state = state.after(event, now)
    return state


def result_of(home: Path, **changes: Any) -> RunResult:
    fields: dict[str, Any] = {
        "location": home.as_uri(),
        "home": home,
        "model_source": ModelSource.TPOT,
        "best": SCORES,
        "leaderboard": BOARD,
        "pareto_front": FRONT,
        "artifacts": (
            Artifact(
                name="model.joblib", uri=f"{home.as_uri()}/model.joblib", sha256="b" * 64, size_bytes=1234
            ),
        ),
        "fallbacks": (),
        "findings": (),
        "warnings": (),
        "progress": progress(),
        "stopped_by": "generations",
        "elapsed_seconds": 42.4,
        "resumed": False,
        "accepted": None,
        "acceptance_message": "",
        "resolved": RESOLVED,
        "counts": {"ok": 2, "invalid": 1, "killed": 0, "timeout": 0},
        "numbers": frozenset(range(3)),
        **changes,
    }
    return RunResult(**fields)


@dataclass
class FakeRun:
    """Replaces `supervise`: sends `events`, then returns a result with `changes` or raises `error`."""

    events: list[Event] = field(default_factory=course)
    changes: dict[str, Any] = field(default_factory=dict)
    error: BaseException | None = None
    removes_folder: bool = False
    asked: list[tuple[ResolvedRun, RunOptions]] = field(default_factory=list)

    def __call__(
        self,
        run: ResolvedRun,
        options: RunOptions,
        settings: TrainerSettings,
        on_event: Listener,
    ) -> RunResult:
        self.asked.append((run, options))
        home = Path(run.output.uri.removeprefix("file://")) / f"{run.name}-0123abcd"
        (home / ".work" / "logs").mkdir(parents=True, exist_ok=True)
        (home / ".work" / "logs" / "trainer.log").touch()
        log = home / ".work" / "logs" / "trainer.log"
        state = RunState(resolved=run.summary())
        if self.events:
            on_event(Opened(home=home, log=log, uid="0123abcd" * 4, resumed=False), state)
        for event in self.events:
            state = state.after(event, 0.0)
            on_event(event, state)
        if self.removes_folder:
            shutil.rmtree(home)
        if self.error is not None:
            raise self.error
        return result_of(home, **self.changes)


@dataclass
class Front:
    """The command line with a fake run behind it."""

    folder: Path
    fake: FakeRun = field(default_factory=FakeRun)
    environment: dict[str, str] = field(default_factory=dict)
    dependencies: dict[str, Any] = field(default_factory=dict)

    @property
    def job(self) -> str:
        return str(self.folder / "job.yaml")

    def __call__(self, *arguments: str, terminal: Mapping[str, str] | None = None) -> Any:
        dependencies = Dependencies(supervise=self.fake, environment=self.environment, **self.dependencies)
        return CliRunner().invoke(
            app, list(arguments), obj=dependencies, env=dict(terminal or {"COLUMNS": "100"})
        )

    def run(self, *arguments: str, **options: Any) -> Any:
        return self("run", self.job, "--output", str(self.folder / "runs"), *arguments, **options)
