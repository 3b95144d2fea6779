"""What the benchmarks of the search share: pipelines that only take time, real ones, and both engines."""

import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from distributed import Client
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import get_scorer
from sklearn.model_selection import StratifiedKFold, cross_val_score
from tpot.evolvers import BaseEvolver

from trainingjob_api import ResolvedSearchSpace, Task
from trainingjob_trainer.search.candidate import Evaluation, Journal, JournalHeader, Outcome, SearchResult
from trainingjob_trainer.search.costs import FitEstimate
from trainingjob_trainer.search.dask_pool import DaskPool
from trainingjob_trainer.search.engine import SearchEngine
from trainingjob_trainer.search.evolution import Evolution, lag_for
from trainingjob_trainer.search.limits import RunClock, SearchBudget, TaskLimit
from trainingjob_trainer.search.store import StoreRef, WorkData, write_store
from trainingjob_trainer.search.tasks import encode_fold
from trainingjob_trainer.search_space.context import SpaceContext
from trainingjob_trainer.search_space.individual import breed, translate
from trainingjob_trainer.search_space.portfolio import seeds
from trainingjob_trainer.search_space.space import compile_space

SEED = 20261124
HEADER = JournalHeader(search_digest="bench", data_digest="bench", versions={})
POPULATION = 32


class Nap:
    """An individual of the engine's and of TPOT's that is nothing but a number."""

    def __init__(self, number: int) -> None:
        self.number = number

    def unique_id(self) -> int:
        """Tell it from others, as TPOT does."""
        return self.number

    def mutate(self, rng: Any = None) -> bool:
        """Become another one."""
        self.number = int(np.random.default_rng(rng).integers(1 << 60))
        return True

    def crossover(self, _other: "Nap", rng: Any = None) -> bool:
        """Become another one."""
        return self.mutate(rng)

    def export_pipeline(self, **_: Any) -> "Nap":
        """Return itself: there is no pipeline."""
        return self


class Naps:
    """A search space of naps."""

    def generate(self, rng: np.random.Generator) -> Nap:
        """Return a new one."""
        return Nap(int(rng.integers(1 << 60)))


def seconds_of(number: int, mean: float, sigma: float) -> float:
    """Return how long a nap takes: log-normal with that mean, drawn from its number."""
    if sigma == 0:
        return mean
    rng = np.random.default_rng(number)
    return float(rng.lognormal(np.log(mean) - sigma**2 / 2, sigma))


NAPS: list[tuple[float, float]] = []
"""Beginning and end of each nap; workers that only sleep are threads of this process."""


def sleep_for(seconds: float) -> None:
    """Sleep, and note when."""
    begun = time.monotonic()
    time.sleep(seconds)
    NAPS.append((begun, time.monotonic()))


def use_of(workers: int, *, to_the_end: bool = False) -> float:
    """Return the share of the workers' time that was slept in the naps so far.

    Counted from the first nap's beginning to the last one's: as long as there is something to hand out. What
    comes after that is the end of a benchmark that counts; a search ends with its time.
    """
    first = min(begun for begun, _ in NAPS)
    last = max(end if to_the_end else begun for begun, end in NAPS)
    used = sum(min(end, last) - begun for begun, end in NAPS)
    return used / (workers * (last - first))


def nap(pipeline: dict[str, Any], _ref: StoreRef, _limit: TaskLimit) -> Evaluation:
    """Evaluate a nap, as the engine does."""
    sleep_for(pipeline["seconds"])
    return Evaluation(outcome=Outcome.OK, fold_scores=(pipeline["number"] % 1000 / 1000,))


def nap_for_tpot(individual: Nap, *, mean: float, sigma: float, **_: Any) -> list[float]:
    """Evaluate a nap, as TPOT does."""
    sleep_for(seconds_of(individual.number, mean, sigma))
    return [individual.number % 1000 / 1000]


def engine(
    pool: DaskPool, ref: StoreRef, evolution: Evolution, count: int, **how: Any
) -> tuple[SearchResult, float]:
    """Run the engine for a number of evaluations; return what it found and the seconds."""
    clock = RunClock(1e9)
    clock.start()
    with tempfile.TemporaryDirectory() as folder, Journal(Path(folder) / "journal.jsonl", HEADER) as journal:
        search = SearchEngine(
            evolution=evolution,
            pool=pool,
            ref=ref,
            journal=journal,
            clock=clock,
            budget=SearchBudget(generations=1, population_size=count, per_run_limit_seconds=120),
            estimate=FitEstimate(encode_seconds=0.0, all_rows=1, fold_rows=1),
            **how,
        )
        started = time.monotonic()
        result = search.run()
        return result, time.monotonic() - started


def nap_evolution(
    population: int, mean: float, sigma: float, *, workers: int = 2, seed: int = SEED
) -> Evolution:
    """Return a sequence of naps."""
    return Evolution(
        Naps(),
        seeds=[],
        population_size=population,
        random_state=seed,
        breed=lambda parents, rng, _operator: Nap(int(rng.integers(1 << 60))) if parents else Nap(0),
        translate=lambda individual: {
            "number": individual.number,
            "seconds": seconds_of(individual.number, mean, sigma),
        },
        lag=lag_for(population, workers=workers),
    )


def stock(
    client: Client,
    space: Any,
    objective: Callable[..., Any],
    population: int,
    generations: int,
    *,
    seed: int = SEED,
) -> tuple[Any, float]:
    """Run TPOT's own evolver, without its final refit; return it and the seconds.

    The first of the *generations* is the initial population.
    """
    rng = np.random.default_rng(seed)
    evolver = BaseEvolver(
        individual_generator=iter(lambda: space.generate(rng), None),
        objective_functions=[objective],
        objective_function_weights=[1],
        objective_names=["score"],
        population_size=population,
        initial_population_size=population,
        generations=generations,
        max_eval_time_mins=2,
        n_jobs=len(client.cluster.workers),
        client=client,
        rng=seed,
    )
    started = time.monotonic()
    with client.as_current():
        evolver.optimize()
    return evolver, time.monotonic() - started


CONTEXT = SpaceContext(
    task=Task.CLASSIFICATION, n_rows=455, n_features=30, n_classes=2, random_state=0, columns=()
)


def light_space() -> Any:
    """Return TPOT's light linear space."""
    return compile_space(ResolvedSearchSpace(preset="linear-light", source="spec"), CONTEXT)


def real_evolution() -> Evolution:
    """Return the sequence of pipelines that a run would evaluate."""
    space = light_space()
    return Evolution(
        space,
        seeds=seeds(CONTEXT, space),
        population_size=POPULATION,
        random_state=SEED,
        breed=breed,
        translate=lambda individual: translate(individual, CONTEXT),
    )


def store(folder: Path) -> StoreRef:
    """Write the breast cancer table with five folds, as workers see it."""
    from sklearn.preprocessing import FunctionTransformer  # noqa: PLC0415

    frame, target = load_breast_cancer(return_X_y=True, as_frame=True)
    folds = tuple(StratifiedKFold(5, shuffle=True, random_state=0).split(frame, target))
    work = WorkData(
        target=target.to_numpy(),
        folds=folds,
        train_index=np.arange(len(frame)),
        holdout_index=np.arange(0),
        scorer=get_scorer("accuracy"),
        encoder=FunctionTransformer(np.asarray),
    )
    ref = write_store(folder, frame, work, named=False)
    for fold in range(len(folds)):
        encode_fold(ref, fold)
    return ref


def score_individual(individual: Any, X: Any, y: Any, **_: Any) -> list[float]:
    """Evaluate as TPOT's estimator does: five folds, one thread."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline = individual.export_pipeline()
        folds = StratifiedKFold(5, shuffle=True, random_state=0)
        return [
            float(cross_val_score(pipeline, X, y, cv=folds, scoring="accuracy", error_score="raise").mean())
        ]


def quiet_score(individual: Any, X: Any, y: Any) -> float | None:
    """Evaluate an individual of TPOT's in a plain loop."""
    try:
        return score_individual(individual, X, y)[0]
    except Exception:  # noqa: BLE001 - an invalid pipeline, as in TPOT
        return None


def plain_loop(parallel: joblib.Parallel, calls: list[Any]) -> tuple[list[Any], float]:
    """Return what some calls return, and the seconds they took."""
    started = time.monotonic()
    values = parallel(calls)
    return values, time.monotonic() - started


def warm(_number: int) -> int:
    """Import what a worker has imported, too."""
    import lightgbm  # noqa: F401, PLC0415
    import skrub  # noqa: F401, PLC0415
    import tpot  # noqa: F401, PLC0415
    import xgboost  # noqa: F401, PLC0415

    time.sleep(0.5)
    return os.getpid()


@contextmanager
def two_processes() -> Iterator[joblib.Parallel]:
    """Yield two warm processes of joblib."""
    with joblib.Parallel(n_jobs=2, backend="loky", pre_dispatch="all", batch_size=1) as parallel:
        parallel(joblib.delayed(warm)(number) for number in range(4))
        yield parallel
