"""Sets the search up from a job: space, evolution, engine."""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from trainingjob_api import ParallelMode, ResolvedRun
from trainingjob_trainer.data.prepare import Prepared
from trainingjob_trainer.encodings import Encoding
from trainingjob_trainer.run.context import ChildContext
from trainingjob_trainer.run.final_stage import FinalStage
from trainingjob_trainer.run.search_events import Board
from trainingjob_trainer.search.candidate import Journal, SearchResult
from trainingjob_trainer.search.engine import SearchEngine
from trainingjob_trainer.search.evolution import Evolution, lag_for, race_lag
from trainingjob_trainer.search.limits import SearchBudget
from trainingjob_trainer.search.pool import Pool, PoolLost
from trainingjob_trainer.search.store import StoreRef, WorkData, load_work
from trainingjob_trainer.search_space.context import SpaceContext
from trainingjob_trainer.search_space.individual import Operator, breed
from trainingjob_trainer.search_space.space import compile_space, seeds
from trainingjob_trainer.search_space.translate import translate

__all__ = ["search", "space_context", "wants_names"]


def space_context(
    prepared: Prepared,
    *,
    rows: int,
    columns: Mapping[Encoding, int],
    random_state: int,
    min_class_rows: int | None = None,
    named: bool = False,
) -> SpaceContext:
    """Return what a search space must know of the table.

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


def search(
    context: ChildContext,
    prepared: Prepared,
    *,
    pool: Pool,
    ref: StoreRef,
    journal: Journal,
    columns: Mapping[Encoding, int],
    final: FinalStage,
    instead: Callable[[PoolLost], Pool] | None,
) -> SearchResult:
    """Search until a limit is reached.

    Raises
    ------
    PoolLost
        If the workers are gone, and there are no others.
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
    board = Board(context, final.baseline)
    engine = SearchEngine(
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
    result = engine.run()
    board.tick(engine.progress(), last=True)
    board.show(result.candidates)
    return result


def _smallest_class(work: WorkData) -> int:
    return min(int(np.unique(work.target[train], return_counts=True)[1].min()) for train, _ in work.folds)


def wants_names(run: ResolvedRun, prepared: Prepared) -> bool:
    """Return whether the search space selects raw columns, so that encoded columns need names.

    Raises
    ------
    SpecInvalid
        If the search space is wrong; asked before the clock starts, so that the user hears of it at once.
    """
    rows = min(len(train) for train, _ in prepared.folds)
    columns = {Encoding.DENSE: len(prepared.feature_types)}
    context = space_context(prepared, rows=rows, columns=columns, random_state=run.random_state)
    return bool(compile_space(run.search_space, context).uses_feature_sets)
