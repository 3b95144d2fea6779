"""Score on unseen rows, of this product and of other systems, at the same budget and cores.

The figures say whether a user gets the best model that the budget can buy. Each system runs in an environment
of its own, in turns with the others, on the same training rows; the score is taken here, on rows that none
has seen.

    python benchmarks/quality run --quick                 # three tables, 10 s: does everything work?
    python benchmarks/quality run --budgets 60 --seeds 1  # all systems and tables: about 4 hours
    python benchmarks/quality run                         # all of it: days; may be stopped and repeated
    python benchmarks/quality run --curve                 # this product at 10, 20, 40 and 80 % of each budget
    python benchmarks/quality summary                     # tables and plot of docs/benchmarks.md

A run that is in the results is not repeated, unless the system has another version. The cache holds
environments and tables (about 5 GB); nothing else is kept.
"""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from catalog import QUICK, TABLES  # noqa: E402  # no package, found by its path
from environments import ROOT, Environments  # noqa: E402
from runner import Results, measure, plan  # noqa: E402
from summary import write  # noqa: E402
from systems import PEERS, SYSTEMS  # noqa: E402

BUDGETS, SEEDS, CORES = (60, 30, 300), 3, 2
SHARES = (0.1, 0.2, 0.4, 0.8)


def main() -> None:
    """Measure or summarise, as the command line says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=("run", "summary", "tables"))
    parser.add_argument("--cache", type=Path, default=ROOT / ".quality", help="environments and tables")
    parser.add_argument("--results", type=Path, help="file with a run a line; default <cache>/results.jsonl")
    parser.add_argument("--systems", type=_names(SYSTEMS), default=("ours", *PEERS))
    parser.add_argument("--tables", type=_names(TABLES), default=tuple(TABLES))
    parser.add_argument("--budgets", type=lambda text: tuple(map(int, text.split(","))), default=BUDGETS)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--cores", type=int, default=CORES)
    parser.add_argument("--curve", action="store_true", help="this product alone, at shares of each budget")
    parser.add_argument("--quick", action="store_true", help="a look that proves nothing")
    options = parser.parse_args()
    # A benchmark that is asked to stop ends what it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    results = Results(options.results or options.cache / "results.jsonl")
    if options.command == "tables":
        print("\n".join(f"{table.name}: {table.task}, {table.metric}" for table in TABLES.values()))
    elif options.command == "run":
        _measure(options, results)
    else:
        write(results.runs)


def _measure(options: argparse.Namespace, results: Results) -> None:
    """Make the runs that are missing."""
    tables, budgets, seeds, systems = options.tables, options.budgets, options.seeds, options.systems
    if options.quick:
        tables, budgets, seeds = QUICK, (10,), 1
    if options.curve:
        budgets = tuple(sorted({max(1, round(share * seconds)) for seconds in budgets for share in SHARES}))
        systems = ("ours",)
    # What is started inherits the cores, and libraries count the threads that they may start by them.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.cores])
    assert len(os.sched_getaffinity(0)) == options.cores, f"there are not {options.cores} cores"
    environments = Environments(options.cache.resolve())
    hours = len(tables) * seeds * len(systems) * sum(budgets) / 3600
    print(f"{len(tables)} tables, {seeds} seeds, {', '.join(systems)}; {hours:.1f} h of budgets", flush=True)
    for trial in plan(tables, budgets, systems, seeds=seeds, environments=environments):
        if results.has(trial):
            continue
        facts = measure(trial, options.cores, environments)
        results.add(trial, facts)
        figure = f"{facts['score']:.4f}" if "score" in facts else f"failed: {facts['failed']}"
        print(
            f"{trial.table.name} seed {trial.seed} {trial.seconds} s {trial.system}: {figure}, "
            f"{facts['wall_seconds']:.0f} s, {facts.get('evaluations')} evaluations, load {facts['load']}",
            flush=True,
        )


def _names(known: Iterable[str]) -> Callable[[str], tuple[str, ...]]:
    """Return what reads a list of names, each of them known."""

    def names(text: str) -> tuple[str, ...]:
        given = tuple(text.split(","))
        if unknown := set(given) - set(known):
            raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}; known: {', '.join(known)}")
        return given

    return names


if __name__ == "__main__":
    main()
