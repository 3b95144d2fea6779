"""A child continues the journal of its run, and sets the journal of another run aside."""

import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dask.system
import distributed.system
import numpy as np
import pytest

from support.data_runs import run_for
from trainingjob_api import ModelSource, ResolvedRun
from trainingjob_trainer.data.metric import Metric
from trainingjob_trainer.events import BoardChanged, Event, Resumed, Warned
from trainingjob_trainer.run import session
from trainingjob_trainer.run.fallback import ChildContext, Mode
from trainingjob_trainer.run.final_stage import Trained
from trainingjob_trainer.run.session import Session, default_jobs
from trainingjob_trainer.run.workspace import Workspace
from trainingjob_trainer.search.candidate import Candidate, Outcome, SearchResult
from trainingjob_trainer.search.final_fit import FittedModel
from trainingjob_trainer.search.fits import HoldoutResult
from trainingjob_trainer.search.limits import RunClock
from trainingjob_trainer.search_space.pipeline import fingerprint, leaf
from trainingjob_trainer.settings import TrainerSettings

RIDGE = leaf("Ridge")
ONE = Candidate(
    number=0,
    key=fingerprint(RIDGE),
    origin="space",
    generation=1,
    pipeline=RIDGE,
    outcome=Outcome.OK,
    score=0.5,
    fold_scores=(0.5,),
)


class Attempt:
    """An attempt that opens its journal and adds an evaluation."""

    def __init__(self, folder: Path, run: ResolvedRun, *, data: str = "a" * 64, used: float = 40.0) -> None:
        self.workspace = Workspace(home=folder, uid="0" * 32, resumed=True)
        self.workspace.work.mkdir(exist_ok=True)
        self.clock = RunClock(100.0, used_before=used)
        self.events: list[Event] = []
        self.session = Session(
            ChildContext(
                run=run,
                settings=TrainerSettings(),
                workspace=self.workspace,
                channel=SimpleNamespace(send=self.events.append, beat=lambda: None),  # type: ignore[arg-type]
                clock=self.clock,
                mode=Mode.FULL,
                stop=threading.Event(),
                started_at=datetime.now(UTC),
                environment={},
            )
        )
        prepared = SimpleNamespace(dataset_sha256=data, metric=Metric(name="accuracy", scorer=None))
        with self.session._journal(prepared) as journal:  # type: ignore[arg-type]
            self.found = dict(journal.found_)
            journal.append(ONE)


def test_an_attempt_continues_with_journal_and_remaining_budget(tmp_path: Path) -> None:
    Attempt(tmp_path, run_for(), used=0.0)
    again = Attempt(tmp_path, run_for())
    assert again.found == {ONE.key: ONE}
    assert again.events == [Resumed(evaluations=1, elapsed_seconds=40.0)]
    assert again.clock.remaining == 60.0


def test_rejected_lines_of_a_journal_are_reported(tmp_path: Path) -> None:
    first = Attempt(tmp_path, run_for(), used=0.0)
    with first.workspace.journal.open("a") as file:
        file.write("[" * 100_000 + "\n")
    again = Attempt(tmp_path, run_for())
    assert again.found == {ONE.key: ONE}
    assert [type(event) for event in again.events] == [Warned, Resumed]


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"spec": {"randomState": 7}}, "search digest"),
        ({"data": "b" * 64}, "data digest"),
        ({"versions": {"tpot": "0.1"}}, "versions"),
    ],
    ids=["spec", "data", "versions"],
)
def test_the_journal_of_another_spec_table_or_version_is_set_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: dict[str, Any], words: str
) -> None:
    Attempt(tmp_path, run_for(), used=0.0)
    known: dict[str, Any] = session.package_versions()
    monkeypatch.setattr(session, "package_versions", lambda: known | other.get("versions", {}))
    again = Attempt(tmp_path, run_for(**other.get("spec", {})), data=other.get("data", "a" * 64))
    assert again.found == {}
    assert again.clock.remaining == 100.0, "the whole budget is there for the other search"
    (warned,) = again.events
    assert isinstance(warned, Warned)
    assert words in warned.message
    assert len(list(again.workspace.work.glob("journal-*.jsonl"))) == 1


def test_the_pipeline_that_ships_is_on_the_board_of_every_search(tmp_path: Path) -> None:
    holdout = HoldoutResult(
        score=0.5, predicted=np.empty(0), probabilities=None, classes=None, extra={}
    )  # fmt: skip
    second = replace(ONE, number=1, key="second", score=0.4)
    fitted = FittedModel(candidate=second, model=b"", holdout_model=b"", holdout=holdout, seconds=1.0)
    trained = Trained(
        best=fitted,
        baseline=fitted,
        source=ModelSource.TPOT,
        searched=SearchResult(candidates=(ONE, second), stopped_by="time"),
    )
    told = Attempt(tmp_path, run_for(output={"uri": "file:///unused", "leaderboardTopK": 1}))
    told.events.clear()
    prepared = SimpleNamespace(holdout_index=[], metric=None)
    told.session.judged(prepared, trained)  # type: ignore[arg-type]
    boards = [event for event in told.events if isinstance(event, BoardChanged)]
    assert [[(line.rank, line.key) for line in board.leaderboard] for board in boards] == [[(2, "second")]]


GIB = 1024**3


@pytest.mark.parametrize(
    ("cores", "memory_gib", "workers"),
    [(1, 8, 1), (2, 8, 2), (3, 8, 2), (4, 8, 3), (64, 64, 8), (2, 1, 1), (8, 4, 4), (2, 0.5, 1)],
)
def test_workers_follow_cores_and_memory(monkeypatch, cores, memory_gib, workers):
    monkeypatch.setattr(dask.system, "CPU_COUNT", cores)
    monkeypatch.setattr(distributed.system, "MEMORY_LIMIT", memory_gib * GIB)
    assert default_jobs(memory_limit_mb=1024) == workers
