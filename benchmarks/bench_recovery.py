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
By default each deed is done once, in about ten minutes; ``--all`` does each at each moment, in about an
hour. Ends with status 1 if a promise is broken.
"""

import argparse
import os
import platform
import signal
import sys
import tempfile
from contextlib import ExitStack
from importlib import metadata
from pathlib import Path

from promises import COLUMNS, NONE, Case, Found, judge, row, watch
from recovery import Cluster, Network, Run, network, until

POPULATION = 10
# Detection, the final fit's reserve and a slow machine.
MARGIN_SECONDS = 40.0
WORKERS = 2
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
        clock, before = run.clock(), run.journal()
        if case.moment in {"first", "middle"} and case.right() != {NONE}:
            left = budget - clock
            assert left >= MARGIN_SECONDS, f"{left:.0f} s of the budget are left, too little to see it"
        do(case.deed, dask, net)
        return judge(case, run, watch(run, clock, before), budget)


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
            run.reach(lambda: evaluated(POPULATION + 2), "the second generation", PATIENCE)
        case "final":
            run.reach(lambda: run.stage() == "fitting", "the final fit", PATIENCE)


def do(deed: str, dask: Cluster, net: Network) -> None:
    """Do it."""
    if deed == "cut_network":
        net.cut()
    else:
        getattr(dask, deed)()


def cases(asked: argparse.Namespace) -> list[Case]:
    """Return what is asked for."""
    deeds = [asked.only] if asked.only else list(DEEDS)
    chosen = [asked.moment] if asked.moment else list(MOMENTS) if asked.all or asked.only else None
    found = [Case(deed, moment) for deed in deeds for moment in chosen or [DEEDS[deed]]]
    return [case for case in found if case.sense()]


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
    # Whoever ends this ends what it has started.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
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
