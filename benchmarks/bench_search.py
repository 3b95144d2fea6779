"""The search engine beside stock TPOT 1.1.0 and beside a plain loop, each ratio from one run.

What it measures, to see that a distributed search does not waste its workers:

``plain``   evaluations a minute on two workers, as a share of what joblib makes of the same frozen pipelines
            in a loop on two processes. Engine at least 0.90; stock TPOT beside it.
``sleep``   share of the time of 16 simulated workers that is used when evaluations sleep for log-normal times
            (sigma = 1), as long as there is something to hand out. Engine at least 0.85; stock TPOT's
            generations beside it, and the engine's share to the end of the last nap.
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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

import dask
import joblib
import psutil
from distributed import Client, LocalCluster
from searches import (
    NAPS,
    POPULATION,
    SEED,
    Naps,
    engine,
    light_space,
    nap,
    nap_evolution,
    nap_for_tpot,
    plain_loop,
    quiet_score,
    real_evolution,
    score_individual,
    stock,
    store,
    two_processes,
    use_of,
)
from sklearn.datasets import load_breast_cancer

from trainingjob_trainer.dask_cluster.probe import Probe
from trainingjob_trainer.dask_cluster.remote import RemoteWorkers
from trainingjob_trainer.search.candidate import Candidate, Evaluation
from trainingjob_trainer.search.dask_pool import DaskPool
from trainingjob_trainer.search.limits import TaskLimit
from trainingjob_trainer.search.pool import Workers, local_workers, scheduler_settings
from trainingjob_trainer.search.store import StoreRef
from trainingjob_trainer.search.tasks import evaluate

WANTED = {"plain": 0.90, "sleep": 0.85, "short": 1.15, "join": 5.0}
NOTHING = StoreRef(folder="", work_digest="", frame_digest="", folds=0, named=False)


def plain(*, quick: bool) -> float:
    """Print the engine's and stock TPOT's share of a plain loop's rate; return the engine's."""
    count, repeats = (POPULATION, 1) if quick else (3 * POPULATION, 3)
    with tempfile.TemporaryDirectory() as folder:
        ref = store(Path(folder) / "store")
        with (
            local_workers(2, memory_limit_mb=2000, scratch=Path(folder)) as workers,
            two_processes() as parallel,
        ):
            shares = []
            # Neither side's first pipelines are to pay for what is read from the disk once.
            engine(DaskPool(workers), ref, real_evolution(), POPULATION)
            for _ in range(repeats):
                result, seconds = engine(DaskPool(workers), ref, real_evolution(), count)
                limit = TaskLimit(120, 4e9)
                calls = [
                    joblib.delayed(evaluate)(candidate.pipeline, ref, limit)
                    for candidate in result.candidates
                ]
                values, loop = plain_loop(parallel, calls)
                same(result.candidates, values)
                shares.append(loop / seconds)
            show(
                "engine, share of a plain loop on 2 processes", shares, f"{count} pipelines, all scores equal"
            )
            mine = median(shares)
            X, y = load_breast_cancer(return_X_y=True)
            shares = []
            for _ in range(min(repeats, 2)):
                objective = partial(score_individual, X=X, y=y)
                evolver, seconds = stock(workers.client, light_space(), objective, POPULATION, 2)
                evaluated = list(evolver.population.evaluated_individuals["Individual"])
                calls = [joblib.delayed(quiet_score)(pipeline, X, y) for pipeline in evaluated]
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
    """Print the share of 16 simulated workers' time that is used, over several sequences of naps."""
    mean, sigma, population, count = 1.0, 1.0, 50, 400
    generations = count // population
    seeds = range(SEED, SEED + (1 if quick else 3))
    mine, theirs, to_the_end = [], [], []
    objective = partial(nap_for_tpot, mean=mean, sigma=sigma)
    with threads(16) as workers:
        for seed in seeds:
            evolution = nap_evolution(population, mean, sigma, workers=16, seed=seed)
            engine(DaskPool(workers), NOTHING, evolution, count, evaluator=nap)
            to_the_end.append(use_of(16, to_the_end=True))
            mine.append(use_of(16))
            NAPS.clear()
            stock(workers.client, Naps(), objective, population, generations, seed=seed)
            theirs.append(use_of(16))
            NAPS.clear()
    show("engine, use of 16 workers, log-normal naps", mine, f"{count} evaluations of 1 s on the average")
    show("engine, the same to the end of the last nap", to_the_end, "one long nap may decide it")
    show("stock TPOT, as the first", theirs, f"{generations} generations of {population}")
    return median(mine)


def short(*, quick: bool) -> float:
    """Print the rates with evaluations of 50 ms on two workers, which are processes of their own."""
    count, repeats = (200, 1) if quick else (400, 3)
    ratios = []
    with (
        tempfile.TemporaryDirectory() as folder,
        local_workers(2, memory_limit_mb=2000, scratch=Path(folder)) as workers,
    ):
        # The first naps on each worker wait for imports.
        engine(DaskPool(workers), NOTHING, nap_evolution(50, 0.05, 0.0), POPULATION, evaluator=nap)
        for _ in range(repeats):
            _, seconds = engine(
                DaskPool(workers), NOTHING, nap_evolution(50, 0.05, 0.0), count, evaluator=nap
            )
            mine = count / seconds
            objective = partial(nap_for_tpot, mean=0.05, sigma=0.0)
            evolver, seconds = stock(workers.client, Naps(), objective, 50, count // 50)
            theirs = len(evolver.population.evaluated_individuals) / seconds
            print(f"  engine {mine:.1f}/s, stock {theirs:.1f}/s, at most 40/s")
            ratios.append(mine / theirs)
    show("engine's rate over stock TPOT's, 50 ms evaluations", ratios, f"{count} evaluations")
    return median(ratios)


def join(*, quick: bool) -> float:
    """Print how soon a worker that joins a remote cluster is used."""
    repeats = 1 if quick else 3
    waits = []
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
                waits.append(_join_one(workers, remote))
    show("seconds from a worker's arrival to its first task", waits, "naps of 0.2 s")
    return max(waits)


def _join_one(workers: Workers, remote: RemoteWorkers) -> float:
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
                workers.scheduler.workers[address].metrics.get("task_counts", {})
                or workers.scheduler.workers[address].processing
                for address in new
            )
        ):
            used.append(time.monotonic())

    ticks: list[None] = []
    engine(
        DaskPool(remote),
        NOTHING,
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
    """Print a figure with its spread."""
    spread = f" ({min(values):.3f} to {max(values):.3f} in {len(values)})" if len(values) > 1 else ""
    print(f"{what}: {median(values):.3f}{spread}; {remark}", flush=True)


def main() -> int:
    """Measure, and say whether it is what is wanted."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=sorted(WANTED), help="one of the figures")
    parser.add_argument("--quick", action="store_true", help="a look that proves nothing")
    asked = parser.parse_args()
    memory = psutil.virtual_memory().total / 2**30
    load, python = os.getloadavg()[0], platform.python_version()
    print(f"machine: {os.cpu_count()} cores, {memory:.0f} GiB, load {load:.1f}; Python {python}")
    packages = ("tpot", "distributed", "scikit-learn", "joblib")
    print("versions: " + ", ".join(f"{name} {metadata.version(name)}" for name in packages), f"; seed {SEED}")
    missed = []
    figures: dict[str, Callable[..., float]] = {"plain": plain, "sleep": sleep, "short": short, "join": join}
    for name, figure in figures.items():
        if asked.only not in {None, name}:
            continue
        value, wanted = figure(quick=asked.quick), WANTED[name]
        good = value <= wanted if name == "join" else value >= wanted
        bound = "at most" if name == "join" else "at least"
        print(f"{name}: {value:.3f}, wanted {bound} {wanted}: {'yes' if good else 'NO'}")
        missed += [] if good else [name]
    return 1 if missed and not asked.quick else 0


if __name__ == "__main__":
    sys.exit(main())
