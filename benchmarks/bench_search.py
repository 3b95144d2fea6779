"""The search engine beside stock TPOT 1.1.0 and beside a plain loop, each ratio from one run.

What it measures, and what the figures are for (issue: a distributed search must not waste its workers):

``plain``   evaluations a minute on two workers, as a share of what joblib makes of the same frozen pipelines in
            a loop on two processes. Engine at least 0.90; stock TPOT beside it.
``sleep``   share of the time of 16 simulated workers that is used when evaluations sleep for log-normal times
            (sigma = 1). Engine at least 0.85; stock TPOT's generations beside it.
``short``   rate with evaluations of 50 ms on two workers, as a multiple of stock TPOT's. At least 1.15.
``join``    seconds from a third worker's arrival at the scheduler to its first result. At most 5.

Run with ``python benchmarks/bench_search.py [--only plain] [--quick]``.
"""

import argparse
import os
import platform
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

import dask
import joblib
import numpy as np
import psutil
from distributed import Client, LocalCluster
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import get_scorer
from sklearn.model_selection import StratifiedKFold, cross_val_score
from tpot.evolvers import BaseEvolver

from trainingjob_api import ResolvedSearchSpace, Task
from trainingjob_trainer.dask_cluster.probe import Probe
from trainingjob_trainer.dask_cluster.remote import RemoteWorkers
from trainingjob_trainer.search.candidate import Candidate, Outcome
from trainingjob_trainer.search.clock import RunClock
from trainingjob_trainer.search.cluster import Workers, local_workers, scheduler_settings
from trainingjob_trainer.search.engine import SearchBudget, SearchEngine, SearchResult
from trainingjob_trainer.search.evolution import Evolution, lag_for
from trainingjob_trainer.search.journal import Journal, JournalHeader
from trainingjob_trainer.search.pool import TaskPool
from trainingjob_trainer.search.progress import FitEstimate
from trainingjob_trainer.search.store import StoreRef, WorkData, write_store
from trainingjob_trainer.search.taskkit import TaskLimit
from trainingjob_trainer.search.tasks import Evaluation, encode_fold, evaluate
from trainingjob_trainer.search_space import (
    SpaceContext,
    Untranslatable,
    breed,
    compile_space,
    fingerprint,
    seeds,
    translate,
)

SEED = 20261124
WANTED = {"plain": 0.90, "sleep": 0.85, "short": 1.15, "join": 5.0}
HEADER = JournalHeader(search_digest="bench", data_digest="bench", versions={})
POPULATION = 16


# --- pipelines that only take time -----------------------------------------------------------------------------


class Nap:
    """An individual of the engine's and of TPOT's that is nothing but a number."""

    def __init__(self, number: int) -> None:
        self.number = number

    def unique_id(self) -> int:
        return self.number

    def mutate(self, rng: Any = None) -> bool:
        self.number = int(np.random.default_rng(rng).integers(1 << 60))
        return True

    def crossover(self, _other: "Nap", rng: Any = None) -> bool:
        return self.mutate(rng)

    def export_pipeline(self, **_: Any) -> "Nap":
        return self


class Naps:
    """A search space of naps."""

    def generate(self, rng: np.random.Generator) -> Nap:
        return Nap(int(rng.integers(1 << 60)))


def seconds_of(number: int, mean: float, sigma: float) -> float:
    """Return how long a nap takes: log-normal with that mean, drawn from its number."""
    if sigma == 0:
        return mean
    rng = np.random.default_rng(number)
    return float(rng.lognormal(np.log(mean) - sigma**2 / 2, sigma))


def nap(pipeline: dict[str, Any], _ref: StoreRef, _limit: TaskLimit) -> Evaluation:
    """Evaluate a nap, as the engine does."""
    time.sleep(pipeline["seconds"])
    return Evaluation(outcome=Outcome.OK, fold_scores=(pipeline["number"] % 1000 / 1000,))


def nap_for_tpot(individual: Nap, *, mean: float, sigma: float, **_: Any) -> list[float]:
    """Evaluate a nap, as TPOT does."""
    time.sleep(seconds_of(individual.number, mean, sigma))
    return [individual.number % 1000 / 1000]


# --- the two engines -------------------------------------------------------------------------------------------


def engine(
    pool: TaskPool, ref: StoreRef, evolution: Evolution, count: int, **how: Any
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


def nap_evolution(population: int, mean: float, sigma: float, workers: int = 2) -> Evolution:
    return Evolution(
        Naps(),
        seeds=[],
        population_size=population,
        random_state=SEED,
        breed=lambda parents, rng: Nap(int(rng.integers(1 << 60))) if parents else Nap(0),
        translate=lambda one: {"number": one.number, "seconds": seconds_of(one.number, mean, sigma)},
        fingerprint=lambda pipeline: str(pipeline["number"]),
        untranslatable=Untranslatable,
        lag=lag_for(population, workers=workers),
    )


def stock(
    client: Client, generate: Iterator[Any], objective: Callable[..., Any], population: int, generations: int
) -> tuple[Any, float]:
    """Run TPOT's own evolver, without its final refit; return it and the seconds."""
    evolver = BaseEvolver(
        individual_generator=generate,
        objective_functions=[objective],
        objective_function_weights=[1],
        objective_names=["score"],
        population_size=population,
        initial_population_size=population,
        generations=generations,
        max_eval_time_mins=2,
        n_jobs=len(client.cluster.workers),
        client=client,
        rng=SEED,
    )
    started = time.monotonic()
    with client.as_current():
        evolver.optimize()
    return evolver, time.monotonic() - started


# --- real pipelines --------------------------------------------------------------------------------------------

CONTEXT = SpaceContext(
    task=Task.CLASSIFICATION, n_rows=455, n_features=30, n_classes=2, random_state=0, columns=()
)


def light_space() -> Any:
    return compile_space(ResolvedSearchSpace(preset="linear-light", source="spec"), CONTEXT)


def real_evolution() -> Evolution:
    space = light_space()
    return Evolution(
        space,
        seeds=[(one.origin, one.individual) for one in seeds(CONTEXT, space)],
        population_size=POPULATION,
        random_state=SEED,
        breed=breed,
        translate=lambda individual: translate(individual, CONTEXT),
        fingerprint=fingerprint,
        untranslatable=Untranslatable,
    )


def store(folder: Path) -> StoreRef:
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
    try:
        return score_individual(individual, X, y)[0]
    except Exception:  # noqa: BLE001 - an invalid pipeline, as in TPOT
        return None


def plain_loop(parallel: joblib.Parallel, calls: list[Any]) -> tuple[list[Any], float]:
    started = time.monotonic()
    values = parallel(calls)
    return values, time.monotonic() - started


def warm(_number: int) -> int:
    import lightgbm  # noqa: F401, PLC0415
    import skrub  # noqa: F401, PLC0415
    import tpot  # noqa: F401, PLC0415
    import xgboost  # noqa: F401, PLC0415

    time.sleep(0.5)
    return os.getpid()


@contextmanager
def two_processes() -> Iterator[joblib.Parallel]:
    with joblib.Parallel(n_jobs=2, backend="loky", pre_dispatch="all", batch_size=1) as parallel:
        parallel(joblib.delayed(warm)(number) for number in range(4))
        yield parallel


# --- figures ---------------------------------------------------------------------------------------------------


def plain(*, quick: bool) -> float:
    """Print the engine's and stock TPOT's share of a plain loop's rate; return the engine's."""
    count, repeats = (32, 1) if quick else (64, 3)
    with tempfile.TemporaryDirectory() as folder:
        ref = store(Path(folder) / "store")
        with (
            local_workers(2, memory_limit_mb=2000, scratch=Path(folder)) as workers,
            two_processes() as parallel,
        ):
            shares = []
            for _ in range(repeats):
                result, seconds = engine(TaskPool(workers), ref, real_evolution(), count)
                limit = TaskLimit(120, 4e9)
                calls = [joblib.delayed(evaluate)(one.pipeline, ref, limit) for one in result.candidates]
                values, loop = plain_loop(parallel, calls)
                same(result.candidates, values)
                shares.append(loop / seconds)
            show(
                "engine, share of a plain loop on 2 processes", shares, f"{count} pipelines, all scores equal"
            )
            mine = median(shares)
            X, y = load_breast_cancer(return_X_y=True)
            shares = []
            for _ in range(repeats):
                space, rng = light_space(), np.random.default_rng(SEED)
                scattered = partial(score_individual, X=X, y=y)
                evolver, seconds = stock(
                    workers.client,
                    iter(lambda: space.generate(rng), None),
                    scattered,
                    POPULATION,
                    count // POPULATION - 1,
                )
                evaluated = [row for row in evolver.population.evaluated_individuals["Individual"]]
                calls = [joblib.delayed(quiet_score)(one, X, y) for one in evaluated]
                _, loop = plain_loop(parallel, calls)
                shares.append(loop / seconds)
            show("stock TPOT, the same", shares, f"{len(evaluated)} individuals of its own")
    return mine


def same(candidates: tuple[Candidate, ...], values: list[Evaluation]) -> None:
    """Stop if engine and loop did not compute the same."""
    for candidate, value in zip(candidates, values, strict=True):
        if candidate.outcome is not value.outcome or candidate.fold_scores != value.fold_scores:
            sys.exit(f"pipeline {candidate.number} scored {candidate.fold_scores} and {value.fold_scores}")


@contextmanager
def threads(count: int) -> Iterator[Workers]:
    """Start simulated workers: they only sleep, so threads of this process will do."""
    with dask.config.set({**scheduler_settings(), "distributed.worker.preload": []}):
        cluster = LocalCluster(
            n_workers=count,
            threads_per_worker=1,
            processes=False,
            dashboard_address=None,
            scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
            silence_logs=50,
        )
        with cluster, Client(cluster, set_as_default=False) as client:
            yield Workers(client=client, scheduler=cluster.scheduler)


def sleep(*, quick: bool) -> float:
    """Print the share of 16 simulated workers' time that is used."""
    mean, sigma, population, count = 1.0, 1.0, 50, 400 if quick else 1600
    ref = StoreRef(folder="", work_digest="", frame_digest="", folds=0, named=False)
    with threads(16) as workers:
        result, seconds = engine(
            TaskPool(workers), ref, nap_evolution(population, mean, sigma, 16), count, evaluator=nap
        )
        slept = sum(one.pipeline["seconds"] for one in result.candidates)
        mine = slept / (16 * seconds)
        show(
            "engine, use of 16 workers, log-normal naps", [mine], f"{count} evaluations of 1 s on the average"
        )
        generations = count // population - 1
        objective = partial(nap_for_tpot, mean=mean, sigma=sigma)
        rng = np.random.default_rng(SEED)
        evolver, seconds = stock(
            workers.client, iter(lambda: Naps().generate(rng), None), objective, population, generations
        )
        slept = sum(
            seconds_of(one.number, mean, sigma)
            for one in evolver.population.evaluated_individuals["Individual"]
        )
        show(
            "stock TPOT, the same", [slept / (16 * seconds)], f"{generations + 1} generations of {population}"
        )
    return mine


def short(*, quick: bool) -> float:
    """Print the rates with evaluations of 50 ms on two workers."""
    count, repeats = (200, 1) if quick else (400, 3)
    ref = StoreRef(folder="", work_digest="", frame_digest="", folds=0, named=False)
    ratios = []
    with threads(2) as workers:
        for _ in range(repeats):
            _, mine = engine(TaskPool(workers), ref, nap_evolution(50, 0.05, 0.0), count, evaluator=nap)
            rng = np.random.default_rng(SEED)
            objective = partial(nap_for_tpot, mean=0.05, sigma=0.0)
            _, theirs = stock(
                workers.client, iter(lambda: Naps().generate(rng), None), objective, 50, count // 50 - 1
            )
            print(f"  engine {count / mine:.1f}/s, stock {count / theirs:.1f}/s, at most 40/s")
            ratios.append(theirs / mine)
    show("engine's rate over stock TPOT's, 50 ms evaluations", ratios, f"{count} evaluations")
    return median(ratios)


def join(*, quick: bool) -> float:
    """Print how soon a worker that joins a remote cluster is used."""
    repeats = 1 if quick else 3
    waits = []
    ref = StoreRef(folder="", work_digest="", frame_digest="", folds=0, named=False)
    for _ in range(repeats):
        with threads(2) as workers:
            address = workers.scheduler.address
            with Probe(address) as probe:
                while len(probe.snapshot().workers) < 2:  # noqa: PLR2004
                    time.sleep(0.05)
                remote = RemoteWorkers(
                    client=workers.client,
                    probe=probe,
                    address=address,
                    scheduler_id=probe.snapshot().scheduler_id or "",
                )
                waits.append(_join_one(workers, remote, ref))
    show("seconds from a worker's arrival to its first task's end", waits, "naps of 0.2 s")
    return max(waits)


def _join_one(workers: Workers, remote: RemoteWorkers, ref: StoreRef) -> float:
    known = set(workers.scheduler.workers)
    arrived: list[float] = []
    used: list[float] = []

    def tick(_progress: Any) -> None:
        new = set(workers.scheduler.workers) - known
        if len(ticks) == 20:  # noqa: PLR2004
            workers.client.cluster.scale(3)
        ticks.append(None)
        if new and not arrived:
            arrived.append(time.monotonic())
        if (
            new
            and not used
            and any(
                workers.scheduler.workers[one].metrics.get("task_counts", {})
                or workers.scheduler.workers[one].processing
                for one in new
            )
        ):
            used.append(time.monotonic())

    ticks: list[None] = []
    engine(
        TaskPool(remote),
        ref,
        nap_evolution(50, 0.2, 0.0),
        10_000,
        evaluator=nap,
        on_tick=tick,
        should_stop=lambda: bool(used) or len(ticks) > 20_000,  # noqa: PLR2004
    )
    if not used:
        sys.exit("the worker that joined was never used")
    return used[0] - arrived[0]


def show(what: str, values: list[float], remark: str) -> None:
    spread = f" ({min(values):.3f} to {max(values):.3f} in {len(values)})" if len(values) > 1 else ""
    print(f"{what}: {median(values):.3f}{spread}; {remark}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=sorted(WANTED), help="one of the figures")
    parser.add_argument("--quick", action="store_true", help="a look that proves nothing")
    asked = parser.parse_args()
    memory = psutil.virtual_memory().total / 2**30
    print(
        f"machine: {os.cpu_count()} cores, {memory:.0f} GiB, load {os.getloadavg()[0]:.1f}; Python {platform.python_version()}"
    )
    packages = ("tpot", "distributed", "scikit-learn", "joblib")
    print("versions: " + ", ".join(f"{name} {metadata.version(name)}" for name in packages), f"; seed {SEED}")
    missed = []
    figures: dict[str, Callable[..., float]] = {"plain": plain, "sleep": sleep, "short": short, "join": join}
    for name, figure in figures.items():
        if asked.only not in {None, name}:
            continue
        value, wanted = figure(quick=asked.quick), WANTED[name]
        good = value <= wanted if name == "join" else value >= wanted
        print(
            f"{name}: {value:.3f}, wanted {'at most' if name == 'join' else 'at least'} {wanted}: {'yes' if good else 'NO'}"
        )
        missed += [] if good else [name]
    return 1 if missed and not asked.quick else 0


if __name__ == "__main__":
    sys.exit(main())
