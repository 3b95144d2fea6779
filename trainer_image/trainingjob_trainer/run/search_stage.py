"""Sets up the search of a job, finds its workers and reports what it finds."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial

import numpy as np

from trainingjob_api import Backend, ParallelMode, Progress, ResolvedRun
from trainingjob_trainer.artifacts.board import leaderboard, pareto_front
from trainingjob_trainer.dask_cluster.remote import ClusterLookup, RemoteWorkers
from trainingjob_trainer.data.prepare import Prepared
from trainingjob_trainer.encodings import Encoding
from trainingjob_trainer.events import BackendReady, BoardChanged, Evaluated, Progressed, WaitingForCluster
from trainingjob_trainer.run.fallback import ChildContext
from trainingjob_trainer.run.final_stage import MOST_POINTS, FinalStage, best_of, score_text
from trainingjob_trainer.search.candidate import Candidate, Journal
from trainingjob_trainer.search.dask_pool import DaskPool
from trainingjob_trainer.search.engine import SearchEngine
from trainingjob_trainer.search.evolution import Evolution, lag_for, race_lag
from trainingjob_trainer.search.final_fit import FittedModel
from trainingjob_trainer.search.limits import SearchBudget, SearchProgress
from trainingjob_trainer.search.pool import Pool, PoolLost
from trainingjob_trainer.search.store import StoreRef, WorkData, load_work
from trainingjob_trainer.search_space.context import SpaceContext
from trainingjob_trainer.search_space.individual import Operator, breed, translate
from trainingjob_trainer.search_space.pipeline import summarize
from trainingjob_trainer.search_space.portfolio import seeds
from trainingjob_trainer.search_space.space import compile_space

_PROGRESS_SECONDS = 1.0
_BOARD_SECONDS = 3.0

Instead = Callable[[PoolLost], Pool]
"""Returns the pool to continue with when one is lost; raises `RunFailed` if the job does not allow it."""


def space_context(
    prepared: Prepared,
    *,
    rows: int,
    columns: Mapping[Encoding, int],
    random_state: int,
    min_class_rows: int | None = None,
    named: bool = False,
) -> SpaceContext:
    """Return the facts about the table that a search space depends on.

    `rows` are the training rows of the smallest fold, `columns` those of the encoded matrix by
    encoding, and `min_class_rows` the training rows of the smallest class in any fold, if there are classes.
    With `named`, the matrix is a frame with column names.
    """
    return SpaceContext(
        task=prepared.task,
        n_rows=rows,
        n_features=columns[Encoding.DENSE],
        n_classes=len(prepared.classes or ()),
        random_state=random_state,
        columns=tuple(prepared.feature_types),
        min_class_rows=min_class_rows,
        encodings=tuple(encoding.value for encoding in columns),
        encoded_columns=tuple(columns.values()),
        named=named,
    )


def search_engine(
    context: ChildContext,
    prepared: Prepared,
    *,
    pool: Pool,
    ref: StoreRef,
    journal: Journal,
    columns: Mapping[Encoding, int],
    final: FinalStage,
    board: "Board",
    instead: Instead | None,
) -> SearchEngine:
    """Return the search of a job, ready to run; `board` reports what it finds.

    Raises
    ------
    SpecInvalid
        If the search space is wrong.
    """
    run = context.run
    work = load_work(ref)
    rows = min(len(train) for train, _ in work.folds)
    known = space_context(
        prepared,
        rows=rows,
        columns=columns,
        random_state=run.random_state,
        min_class_rows=_smallest_class(work) if prepared.classes else None,
        named=ref.named,
    )
    space = compile_space(run.search_space, known)
    workers = run.dask.workers if run.parallel_mode is ParallelMode.DISTRIBUTED else 0
    evolution = Evolution(
        space,
        seeds=seeds(known, space),
        population_size=run.budget.population_size,
        random_state=run.random_state,
        breed=breed,
        operators=[
            operator for operator in Operator if operator is not Operator.ENCODE or len(known.encodings) > 1
        ],
        translate=lambda individual: translate(individual, known),
        lag=lag_for(run.budget.population_size, workers=workers),
    )
    return SearchEngine(
        evolution=evolution,
        pool=pool,
        ref=ref,
        journal=journal,
        clock=context.clock,
        budget=SearchBudget(
            generations=run.budget.generations,
            population_size=run.budget.population_size,
            per_run_limit_seconds=float(run.budget.per_run_limit_seconds),
        ),
        estimate=final.estimate,
        plan=final.plan,
        race_lag=partial(race_lag, population_size=run.budget.population_size, workers=workers),
        predictions=final.ensembles.store if final.ensembles else None,
        on_candidate=board.evaluated,
        on_tick=board.tick,
        should_stop=context.stop.is_set,
        fits_on=final.pool,
        instead=instead,
    )


def _smallest_class(work: WorkData) -> int:
    return min(int(np.unique(work.target[train], return_counts=True)[1].min()) for train, _ in work.folds)


def wants_names(run: ResolvedRun, prepared: Prepared) -> bool:
    """Return whether the search space selects raw columns, so that encoded columns need names.

    Raises
    ------
    SpecInvalid
        If the search space is wrong; asked before the clock starts, so that the user sees the error at once.
    """
    rows = min(len(train) for train, _ in prepared.folds)
    columns = {Encoding.DENSE: len(prepared.feature_types)}
    context = space_context(prepared, rows=rows, columns=columns, random_state=run.random_state)
    return bool(compile_space(run.search_space, context).uses_feature_sets)


class Board:
    """Reports evaluations as they come, and progress and leaderboard at a bounded rate."""

    def __init__(self, context: ChildContext, baseline: FittedModel) -> None:
        self._context = context
        self._run = context.run
        self._baseline = baseline
        self._candidates: list[Candidate] = []
        self._shown = 0
        self._progress_at = self._board_at = float("-inf")

    def evaluated(self, candidate: Candidate, known: bool) -> None:  # noqa: FBT001 - a callback's form
        """Report one evaluation."""
        self._candidates.append(candidate)
        self._context.send(
            Evaluated(
                number=candidate.number,
                generation=candidate.generation,
                outcome=candidate.outcome.value,
                score=candidate.score,
                pipeline=summarize(candidate.final_pipeline),
                seconds=candidate.fit_seconds,
                error=candidate.error,
                known=known,
            )
        )

    def tick(self, progress: SearchProgress, *, last: bool = False) -> None:
        """Report progress and leaderboard, if they are due or `last` is set."""
        self._context.channel.beat()
        now = time.monotonic()
        if last or now - self._progress_at >= _PROGRESS_SECONDS:
            self._progress_at = now
            self._context.send(Progressed(progress=self._progress(progress)))
        if now - self._board_at >= _BOARD_SECONDS and len(self._candidates) > self._shown:
            self._board_at = now
            self._shown = len(self._candidates)
            self.show(self._candidates)

    def show(self, candidates: Sequence[Candidate]) -> None:
        """Report the leaderboard and the front."""
        board = leaderboard(candidates, self._run.output.leaderboard_top_k)
        if not board:
            return
        best = max((c for c in candidates if c.score is not None), key=lambda c: (c.score, -c.number))
        self._context.send(
            BoardChanged(
                best=best_of(best, self._baseline),
                leaderboard=tuple(board),
                pareto_front=tuple(pareto_front(candidates, limit=MOST_POINTS)),
            )
        )

    def _progress(self, progress: SearchProgress) -> Progress:
        return Progress(
            generation=progress.generation,
            generations=self._run.budget.generations,
            population_size=self._run.budget.population_size,
            evaluated=progress.evaluated,
            failed=progress.failed,
            timed_out=progress.timed_out,
            best_score=score_text(progress.best_score),
            elapsed_seconds=int(progress.elapsed_seconds),
            remaining_seconds=int(progress.remaining_seconds),
            updated_at=datetime.now(UTC),
        )


class _Stopped(Exception):  # noqa: N818 - no error: a signal ended the waiting
    """A signal asks to save what there is."""


@contextmanager
def cluster_workers(
    context: ChildContext, joining: ClusterLookup | None, home: Pool, ref: StoreRef
) -> Iterator[tuple[Pool, Instead | None]]:
    """Yield the workers of a remote cluster, or `home` in their place, and what to do when they are lost.

    Parameters
    ----------
    joining
        Looks for the cluster since the child began; None where the job asks for none.

    Raises
    ------
    RunFailed
        If there is no cluster and the job does not allow a local search.
    """
    if joining is None:
        yield home, None
        return

    def instead(lost: PoolLost) -> Pool:
        context.step_down("dask", "local", lost.reason, str(lost))
        context.send(BackendReady(backend=Backend.LOCAL, workers=home.workers))
        return home

    def tick() -> None:
        context.channel.beat()
        if context.stop.is_set():
            raise _Stopped

    remote: RemoteWorkers | None = None
    try:
        try:
            remote = _join(context, joining, tick)
            remote.settings(tick)
            remote.ship(ref, tick)
            remote.check()
            pool: Pool = DaskPool(remote)
        except _Stopped:
            pool = home
        except PoolLost as lost:
            pool = instead(lost)
        else:
            context.send(BackendReady(backend=Backend.DASK, workers=pool.workers, scheduler=remote.address))
        yield pool, instead
    finally:
        joining.close()
        if remote is not None:
            remote.close(ref)


def _join(context: ChildContext, joining: ClusterLookup, tick: Callable[[], None]) -> RemoteWorkers:
    if not joining.done:
        left = max(0.0, joining.end - time.monotonic())
        context.send(WaitingForCluster(source=str(joining.source), seconds=round(left, 1)))
    with context.clock.paused():
        return joining.wait(tick)
