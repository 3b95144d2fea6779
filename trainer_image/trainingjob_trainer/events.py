"""Events of a run: sent by the searching child to the supervising parent, and shown on the terminal."""

import contextlib
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from trainingjob_api import (
    Backend,
    Best,
    Fallback,
    FindingNote,
    LeaderboardEntry,
    ModelSource,
    ParetoPoint,
    Progress,
    Reason,
    Resolved,
    Stage,
)

EVENT_FD_VARIABLE = "TRAININGJOB_EVENT_FD"
_BEAT_SECONDS = 1.0


class _Event(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Opened(_Event):
    """The run has its folder; `log` takes what the child and its workers print."""

    kind: Literal["opened"] = "opened"
    home: Path
    log: Path
    uid: str
    resumed: bool


class StageChanged(_Event):
    """The run has entered a stage."""

    kind: Literal["stage"] = "stage"
    stage: Stage


class Heartbeat(_Event):
    """The child lives; `beat` rises whenever its main thread gets on with its work."""

    kind: Literal["heartbeat"] = "heartbeat"
    beat: int
    elapsed_seconds: float
    clock_running: bool


class DataReady(_Event):
    """The table is loaded and what it decides is resolved; `read_with` reads new rows for the model."""

    kind: Literal["data"] = "data"
    resolved: Resolved
    holdout_rows: int
    classes: int | None = None
    data_digest: str
    read_with: str = 'pd.read_csv("new-rows.csv")'
    findings: tuple[FindingNote, ...] = ()


class BackendReady(_Event):
    """Workers are there; `scheduler` is the address of a remote cluster's."""

    kind: Literal["backend"] = "backend"
    backend: Backend
    workers: int
    scheduler: str | None = None


class WaitingForCluster(_Event):
    """All is ready but the Dask cluster; `source` is where its address comes from."""

    kind: Literal["waiting"] = "waiting"
    source: str
    seconds: float


class Resumed(_Event):
    """An earlier attempt is continued."""

    kind: Literal["resumed"] = "resumed"
    evaluations: int
    elapsed_seconds: float


class BaselineReady(_Event):
    """The baseline is fitted and kept."""

    kind: Literal["baseline"] = "baseline"
    pipeline: str
    score: float | None = None
    holdout_score: float | None = None


class Evaluated(_Event):
    """A pipeline has been evaluated; `known` if an earlier attempt did it."""

    kind: Literal["evaluated"] = "evaluated"
    number: int
    generation: int
    outcome: str
    score: float | None = None
    pipeline: str
    seconds: float
    error: str | None = None
    known: bool = False


class Progressed(_Event):
    """Progress of the search."""

    kind: Literal["progress"] = "progress"
    progress: Progress


class BoardChanged(_Event):
    """The present leaderboard and front."""

    kind: Literal["board"] = "board"
    best: Best
    leaderboard: tuple[LeaderboardEntry, ...] = ()
    pareto_front: tuple[ParetoPoint, ...] = ()


class FellBack(_Event):
    """A step down the ladder."""

    kind: Literal["fallback"] = "fallback"
    fallback: Fallback


class Warned(_Event):
    """Something that the user should know of the run."""

    kind: Literal["warning"] = "warning"
    message: str


class ModelReady(_Event):
    """The model that ships is fitted and scored."""

    kind: Literal["model"] = "model"
    model_source: ModelSource
    best: Best
    stopped_by: str


class Saved(_Event):
    """Every artifact is written and can be published."""

    kind: Literal["saved"] = "saved"
    journal_digest: str | None = None


class Failed(_Event):
    """The run has failed."""

    kind: Literal["failed"] = "failed"
    reason: Reason
    message: str
    exit_code: int


Event = Annotated[
    Opened
    | StageChanged
    | Heartbeat
    | DataReady
    | BackendReady
    | WaitingForCluster
    | Resumed
    | BaselineReady
    | Evaluated
    | Progressed
    | BoardChanged
    | FellBack
    | Warned
    | ModelReady
    | Saved
    | Failed,
    Field(discriminator="kind"),
]

_ADAPTER: TypeAdapter[Event] = TypeAdapter(Event)


def encode_event(event: Event) -> bytes:
    """Return an event as one line of JSON."""
    return event.model_dump_json(by_alias=True, exclude_none=True).encode() + b"\n"


def decode_event(line: bytes) -> Event:
    """Return the event that `encode_event` wrote; raise `ValueError` if the line is something else."""
    return _ADAPTER.validate_json(line)


class Channel:
    """Sends events as lines of JSON, and a heartbeat every second from a thread of its own.

    If the parent has ended, the process ends at once: its result would be lost. `descriptor` is the pipe's,
    `clock` returns the seconds used and whether the run's clock is running, and `on_beat` keeps the seconds
    used for the next attempt.
    """

    def __init__(
        self,
        descriptor: int,
        *,
        clock: Callable[[], tuple[float, bool]],
        on_beat: Callable[[float], None] = lambda _elapsed: None,
    ) -> None:
        self._descriptor = descriptor
        self._clock = clock
        self._on_beat = on_beat
        self._lock = threading.Lock()
        self._beat = 0
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._thread.start()

    def send(self, event: Event) -> None:
        """Send an event; it also shows that the main thread is alive."""
        self._beat += 1
        self._write(event)

    def beat(self) -> None:
        """Say that the main thread gets on with its work."""
        self._beat += 1

    def close(self) -> None:
        """Stop the heartbeat."""
        self._closed.set()
        self._thread.join(timeout=2 * _BEAT_SECONDS)

    def _run(self) -> None:
        while not self._closed.wait(_BEAT_SECONDS):
            elapsed, running = self._clock()
            self._write(Heartbeat(beat=self._beat, elapsed_seconds=elapsed, clock_running=running))
            if running:
                # A full disk must not end the heartbeat: it may have space again in the next second.
                with contextlib.suppress(OSError):
                    self._on_beat(elapsed)

    def _write(self, event: Event) -> None:
        data = encode_event(event)
        with self._lock:
            try:
                while data:
                    data = data[os.write(self._descriptor, data) :]
            except BrokenPipeError:
                os._exit(70)
