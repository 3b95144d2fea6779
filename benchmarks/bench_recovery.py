"""What a distributed run keeps of what it promises when its Dask cluster is lost, on real processes.

One scheduler, two workers and a run (`trainingjob scheduler`, `worker`, `run`); something is done to them
at a moment of the run, and what the run promises is checked: exit status 0, a model that predicts, the
fallback that fits (or none), the first local evaluation within 30 s of the loss, every finished evaluation
kept and none made twice, nobody blamed, and not more time than the budget and 5 % (at least 5 s).

Deeds: kill -9 of one worker process, of one worker with its nanny, of all workers, of the scheduler; the
scheduler frozen (SIGSTOP), or killed and started anew at the same address; the network between trainer and
cluster cut (two namespaces; needs root). Moments: while the cluster is waited for, while the baseline is
fitted, in the first generation, in mid-search, during the final fit.

Run with ``python benchmarks/bench_recovery.py [--all] [--only DEED] [--moment MOMENT] [--budget SECONDS]``.
By default each deed is done once, in about ten minutes; ``--all`` does each at each moment, in less than an
hour. Ends with status 1 if a promise is broken.
"""

import argparse
import os
import platform
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from recovery import Cluster, Network, Run, network, until

FIRST_LOCAL_SECONDS = 30.0
POPULATION = 10
WORKERS = 2
LOOK_SECONDS = 0.05
PATIENCE = 300.0
MOMENTS = ("waiting", "baseline", "first", "middle", "final")
# The moment of each deed where only one is asked for.
DEEDS = {
    "kill_worker_process": "first",
    "kill_worker": "middle",
    "kill_workers": "middle",
    "kill_scheduler": "first",
    "stop_scheduler": "baseline",
    "restart_scheduler": "middle",
    "cut_network": "middle",
}
ONE_WORKER = {"kill_worker_process", "kill_worker"}
NONE = ""
# While the baseline is fitted, the run may have met its cluster already, or not.
RIGHT = {
    "kill_workers": {"waiting": {"NoWorkers"}, "baseline": {"WorkersLost", "NoWorkers"}},
    "restart_scheduler": {"waiting": {NONE}, "baseline": {"SchedulerLost", NONE}},
}
USUAL = {"waiting": {"SchedulerUnavailable"}, "baseline": {"SchedulerLost", "SchedulerUnavailable"}}


@dataclass(frozen=True, slots=True)
class Case:
    """Something that is done to a run's cluster, and when."""

    deed: str
    moment: str

    def right(self) -> set[str]:
        """Return the reasons of a fallback that are right; empty text: there is none."""
        if self.deed in ONE_WORKER or self.moment == "final":
            return {NONE}  # one worker is left; the final fit needs no cluster
        late = {"WorkersLost" if self.deed == "kill_workers" else "SchedulerLost"}
        return RIGHT.get(self.deed, USUAL).get(self.moment, late)

    @property
    def ready_seconds(self) -> int:
        """How long the cluster is waited for: long where it is to come in spite of the deed."""
        return 90 if NONE in self.right() else 20

    def sense(self) -> bool:
        """Return whether there is what the deed needs at that moment."""
        return (self.deed, self.moment) != ("kill_worker_process", "waiting")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What came of a case; see `COLUMNS`."""

    case: Case
    status: int | None
    model: bool
    fallback: str
    backend: str
    noticed: float | None
    first: float | None
    before: int
    after: int
    elapsed: float
    watched: float
    load: float
    broken: tuple[str, ...]


COLUMNS = (
    "deed",
    "moment",
    "exit",
    "model",
    "fallback",
    "noticed",
    "next evaluation",
    "evaluations",
    "clock",
    "load",
    "kept",
)


def row(found: Found) -> tuple[str, ...]:
    """Return the cells of a line."""

    def seconds(value: float | None) -> str:
        return "-" if value is None else f"{value:.1f} s"

    return (
        found.case.deed,
        found.case.moment,
        str(found.status),
        "predicts" if found.model else "NONE",
        found.fallback or "none",
        seconds(found.noticed),
        seconds(found.first),
        f"{found.before} → {found.after}",
        f"{found.elapsed:.1f} s",
        f"{found.load:.1f}",
        "; ".join(found.broken) or "all",
    )


def play(case: Case, budget: int) -> Found:
    """Do the deed at its moment, and look at what comes of it."""
    limits = {
        "timeLeftSeconds": budget,
        "perRunLimitSeconds": 15,
        "populationSize": POPULATION,
        "cvFolds": 3,
        **({"generations": 2} if case.moment == "final" else {}),
    }
    spec = {
        "dataset": {"uri": "sample://breast_cancer"},
        "output": {"uri": "file://./runs"},
        "searchSpace": {"preset": "linear-light"},
        "parallelMode": "distributed",
        "dask": {"readyTimeoutSeconds": case.ready_seconds, "workers": WORKERS},
        "budget": limits,
        "randomState": 5,
    }
    with ExitStack() as stack:
        net = stack.enter_context(network(namespaces=case.deed == "cut_network"))
        folders = [Path(stack.enter_context(tempfile.TemporaryDirectory())) for _ in range(2)]
        dask = Cluster(folders[0], host=net.host, prefix=net.cluster)
        stack.callback(dask.close)
        if case.moment != "waiting":
            start(dask)
            until(lambda: dask.works(WORKERS), seconds=PATIENCE, what="two workers")
        run = Run(folders[1], spec, dask.environment, net.trainer)
        stack.callback(run.close)
        arrive(case.moment, run, dask)
        before = run.journal()
        do(case.deed, dask, net)
        return judge(case, run, before, watch(run, len(run.journal())), budget)


def start(dask: Cluster) -> None:
    """Start scheduler and workers."""
    dask.start_scheduler()
    for _ in range(WORKERS):
        dask.start_worker()


def arrive(moment: str, run: Run, dask: Cluster) -> None:
    """Wait for a moment of a run."""

    def evaluated(count: int) -> bool:
        return run.report().get("backend") == "dask" and len(run.journal()) >= count

    match moment:
        case "waiting":
            run.reach(run.report, "the run's beginning", PATIENCE)
            start(dask)
            run.reach(dask.scheduler_file.exists, "the scheduler", PATIENCE)
            assert not dask.works(1), "the workers were there too soon for this moment"
        case "baseline":
            run.reach(lambda: run.stage() == "baseline", "the baseline", PATIENCE)
        case "first":
            run.reach(lambda: evaluated(3), "the first evaluations", PATIENCE)
        case "middle":
            run.reach(lambda: evaluated(POPULATION + POPULATION // 2), "the second generation", PATIENCE)
        case "final":
            run.reach(lambda: run.stage() == "fitting", "the final fit", PATIENCE)


def do(deed: str, dask: Cluster, net: Network) -> None:
    """Do it."""
    if deed == "cut_network":
        net.cut()
    else:
        getattr(dask, deed)()


def watch(run: Run, finished: int) -> tuple[float | None, float | None, str]:
    """Watch a run to its end.

    Returns
    -------
    noticed
        Seconds until it said that it goes on here; None if it did not.
    first
        Seconds until the first evaluation was finished after that, or after the deed if it stays.
    backend
        What it ran on at last.
    """
    began, noticed, first, backend = time.monotonic(), None, None, ""

    def look() -> bool:
        nonlocal noticed, first, backend, finished
        over = run.over()
        now = time.monotonic() - began
        backend = run.report().get("backend", backend)
        if backend == "local" and noticed is None:
            noticed, first, finished = now, None, len(run.journal())
        if first is None and len(run.journal()) > finished:
            first = now
        return over

    until(look, seconds=4 * PATIENCE, what="the end of the run")
    return noticed, first, backend


def judge(
    case: Case,
    run: Run,
    before: list[dict[str, Any]],
    watched: tuple[float | None, float | None, str],
    budget: int,
) -> Found:
    """Say which promises were kept."""
    noticed, first, backend = watched
    document, after = run.document(), run.journal()
    steps = [(one["from"], one["to"], one["reason"]) for one in document.get("fallbacks", [])]
    reason = steps[0][2] if steps else NONE
    model = run.predicts()
    elapsed = float(document.get("elapsedSeconds", float("nan")))
    limit = budget + max(5.0, 0.05 * budget)
    ends = [run.seen[stage] for stage in ("saving", "uploading", "finished") if stage in run.seen]
    own = min(ends) - run.seen["baseline"] if ends and "baseline" in run.seen else float("nan")
    # The clock stands while a cluster is waited for.
    stood = case.ready_seconds if case.moment in {"waiting", "baseline"} else 0.0
    wait = case.ready_seconds if reason in {"NoWorkers", "SchedulerUnavailable"} else 0.0
    promises = {
        f"exit status {run.status}: {run.errors()}": run.status == 0,
        "no model that predicts": model,
        f"fallbacks {steps}": steps in [[("dask", "local", one)] if one else [] for one in case.right()],
        f"it ran on {backend} at last": backend == ("local" if reason else "dask"),
        "finished evaluations were lost": after[: len(before)] == before,
        "a pipeline was evaluated twice": len({one["key"] for one in after}) == len(after),
        "a pipeline was blamed": all(one["outcome"] != "killed" for one in after),
        f"{elapsed:.1f} s on the clock": elapsed <= limit,
        f"{own:.1f} s from the baseline to the model": own <= limit + stood + 1.0,
        "no evaluation came after it": first is not None or case.moment == "final",
        "the first evaluation came too late": (first or 0.0) <= FIRST_LOCAL_SECONDS + wait,
    }
    return Found(
        case=case,
        status=run.status,
        model=model,
        fallback=reason,
        backend=backend,
        noticed=noticed,
        first=first,
        before=len(before),
        after=len(after),
        elapsed=elapsed,
        watched=own,
        load=os.getloadavg()[0],
        broken=tuple(what for what, kept in promises.items() if not kept),
    )


def cases(asked: argparse.Namespace) -> list[Case]:
    """Return what is asked for."""
    deeds = [asked.only] if asked.only else list(DEEDS)
    chosen = [asked.moment] if asked.moment else list(MOMENTS) if asked.all or asked.only else None
    found = [Case(deed, moment) for deed in deeds for moment in chosen or [DEEDS[deed]]]
    return [one for one in found if one.sense()]


def main() -> int:
    """Play every case; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--all", action="store_true", help="each deed at each moment")
    parser.add_argument("--only", choices=DEEDS, help="one deed, at each moment")
    parser.add_argument("--moment", choices=MOMENTS, help="one moment")
    parser.add_argument("--budget", type=int, default=60, help="seconds; 60 by default")
    parser.add_argument("--quick", action="store_true", help="one case, to see that it works")
    asked = parser.parse_args()
    packages = ", ".join(f"{name} {metadata.version(name)}" for name in ("distributed", "scikit-learn"))
    print(f"machine: {os.cpu_count()} cores; Python {platform.python_version()}; {packages}; seed 5")
    broken = 0
    print("|", " | ".join(COLUMNS), "|")
    print("|", " | ".join("---" for _ in COLUMNS), "|", flush=True)
    for case in cases(asked)[: 1 if asked.quick else None]:
        try:
            found = play(case, asked.budget)
        except PermissionError as error:
            print(f"skipped: {case.deed}, {case.moment}: no network namespaces here ({error})", flush=True)
            continue
        except AssertionError as error:
            print(f"NOT PLAYED: {case.deed}, {case.moment}: {error}", flush=True)
            broken += 1
            continue
        print("|", " | ".join(row(found)), "|", flush=True)
        broken += bool(found.broken)
    print("every promise was kept" if not broken else f"cases with a broken promise: {broken}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
