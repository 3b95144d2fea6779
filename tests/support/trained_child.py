"""A child that trains on a small table, without a parent and without workers."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from support.data_runs import run_for, table_of
from trainingjob_api import Fallback, ResolvedRun
from trainingjob_trainer.data.encoder import build_encoders
from trainingjob_trainer.data.prepare import Prepared, prepare
from trainingjob_trainer.events import Event
from trainingjob_trainer.run.fallback import ChildContext, Mode
from trainingjob_trainer.run.final_stage import Trained
from trainingjob_trainer.run.trainer import Trainer
from trainingjob_trainer.run.workspace import Workspace
from trainingjob_trainer.search.candidate import Candidate, Journal, JournalHeader
from trainingjob_trainer.search.limits import RunClock
from trainingjob_trainer.search.pool import InlinePool
from trainingjob_trainer.search_space.pipeline import full_pipeline
from trainingjob_trainer.settings import TrainerSettings

HEADER = JournalHeader(search_digest="s", data_digest="d", versions={})
SPEC: dict[str, Any] = {
    "metric": "neg_log_loss",
    "searchSpace": {"preset": "linear-light"},
    "ensemble": "off",
    "budget": {"timeLeftSeconds": 3000, "generations": 2, "populationSize": 3, "cvFolds": 3},
    "randomState": 4,
}


def people(rows: int = 200) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    age = rng.normal(40, 12, rows)
    city = rng.choice(["Oslo", "Rome", "Bonn"], rows)
    # No linear model finds out that both the young and the old are meant.
    logit = abs(age - 40) / 4 + (city == "Rome") * 1.5 - 2.5 + rng.normal(size=rows) / 2
    hidden = np.where(rng.random(rows) < 0.05, np.nan, age)
    day = pd.date_range("2026-01-01", periods=rows).strftime("%Y-%m-%d")
    return pd.DataFrame({"age": hidden, "city": city, "day": day, "y": np.where(logit > 0.8, "yes", "no")})


class Told:
    """A channel that keeps its messages."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def send(self, event: Event) -> None:
        self.events.append(event)

    def beat(self) -> None:
        pass


@dataclass
class Child:
    """A child without a parent."""

    folder: Path
    spec: dict[str, Any] = field(default_factory=lambda: SPEC)
    mode: Mode = Mode.FULL
    stopped: bool = False

    def __post_init__(self) -> None:
        self.run: ResolvedRun = run_for("y", **self.spec)
        self.prepared: Prepared = prepare(table_of(people()), self.run)
        self.told = Told()
        self.clock = RunClock(self.run.budget.time_left_seconds)

    def train(self) -> Trained:
        with Journal(self.folder / "journal.jsonl", HEADER) as journal:
            self.context = self._context()
            trainer = Trainer(
                context=self.context, prepared=self.prepared, journal=journal, pool=InlinePool()
            )
            return trainer.train()

    def _context(self) -> ChildContext:
        return ChildContext(
            run=self.run,
            settings=TrainerSettings(),
            workspace=Workspace(home=self.folder, uid="0" * 32, resumed=False),
            channel=self.told,  # type: ignore[arg-type]
            clock=self.clock,
            mode=self.mode,
            stop=SimpleNamespace(is_set=lambda: self.stopped),  # type: ignore[arg-type]
            started_at=datetime.now(UTC),
            environment={},
        )

    @property
    def fallbacks(self) -> tuple[Fallback, ...]:
        return self.context.state.fallbacks

    def whole(self, candidate: Candidate) -> Any:
        prepared = self.prepared
        classes = len(prepared.classes or ())
        encoders = build_encoders(prepared.feature_types, frame=prepared.frame, classes=classes)
        return full_pipeline(candidate.pipeline, encoders)

    def of(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.told.events if isinstance(event, kind)]


def fitted_by_hand(child: Child, candidate: Candidate, rows: np.ndarray) -> Any:
    return child.whole(candidate).fit(child.prepared.frame.iloc[rows], child.prepared.target[rows])
