"""What a distributed run promises when its cluster is lost, and whether it was kept."""

import os
import time
from dataclasses import dataclass
from typing import Any

from recovery import Run, until

__all__ = ["COLUMNS", "NONE", "Case", "Found", "Seen", "judge", "row", "watch"]

FIRST_LOCAL_SECONDS = 30.0
LONGEST_SECONDS = 600.0
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
    clock: float
    noticed: float | None
    first: float | None
    before: int
    after: int
    elapsed: float
    load: float
    broken: tuple[str, ...]


COLUMNS = (
    "deed",
    "moment",
    "exit",
    "model",
    "fallback",
    "at",
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
        seconds(found.clock),
        seconds(found.noticed),
        seconds(found.first),
        f"{found.before} → {found.after}",
        f"{found.elapsed:.1f} s",
        f"{found.load:.1f}",
        "; ".join(found.broken) or "all",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What was seen of a run.

    Parameters
    ----------
    clock
        Its clock's reading at the deed.
    before
        The evaluations that were finished then.
    noticed
        Seconds until it said that it goes on here; None if it did not.
    first
        Seconds until the first evaluation was finished after that, or after the deed if it stays.
    backend
        What it ran on at last.
    """

    clock: float
    before: list[dict[str, Any]]
    noticed: float | None
    first: float | None
    backend: str


def watch(run: Run, clock: float, before: list[dict[str, Any]]) -> Seen:
    """Watch a run from the deed to its end."""
    began, finished = time.monotonic(), len(run.journal())
    noticed: float | None = None
    first: float | None = None
    backend = ""

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

    until(look, seconds=LONGEST_SECONDS, what="the end of the run")
    return Seen(clock=clock, before=before, noticed=noticed, first=first, backend=backend)


def judge(case: Case, run: Run, seen: Seen, budget: int) -> Found:
    """Say which promises were kept."""
    document, after = run.document(), run.journal()
    steps = [
        (fallback["from"], fallback["to"], fallback["reason"]) for fallback in document.get("fallbacks", [])
    ]
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
        f"fallbacks {steps}": steps
        in [[("dask", "local", expected)] if expected else [] for expected in case.right()],
        f"it ran on {seen.backend} at last": seen.backend == ("local" if reason else "dask"),
        "finished evaluations were lost": after[: len(seen.before)] == seen.before,
        "a pipeline was evaluated twice": len({line["key"] for line in after}) == len(after),
        "a pipeline was blamed": all(line["outcome"] != "killed" for line in after),
        f"{elapsed:.1f} s on the clock": elapsed <= limit,
        f"{own:.1f} s from the baseline to the model": own <= limit + stood + 1.0,
        "no evaluation came after it": seen.first is not None or case.moment == "final",
        "the first evaluation came too late": (seen.first or 0.0) <= FIRST_LOCAL_SECONDS + wait,
    }
    return Found(
        case=case,
        status=run.status,
        model=model,
        fallback=reason,
        clock=seen.clock,
        noticed=seen.noticed,
        first=seen.first,
        before=len(seen.before),
        after=len(after),
        elapsed=elapsed,
        load=os.getloadavg()[0],
        broken=tuple(what for what, kept in promises.items() if not kept),
    )
