"""The log of a run: JSON lines of its events; in a pod, all output of the run and its search process.

In a pod, the cause of a failure is the last line, and the termination message that the kubelet reads.
"""

import contextlib
import io
import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, TextIO

from trainingjob_api import MAX_LOG_TEXT, OBJECT_STORAGE, JsonLines, Reason, install_log
from trainingjob_trainer.cli.command import explain, plain, redact, secrets_of
from trainingjob_trainer.events import Evaluated, Event, FellBack, Opened, Progressed
from trainingjob_trainer.run.state import RunState

_PROGRESS_SECONDS = 15.0
_MAX_FRONT_POINTS = 20
_MAX_LAST = 5
_ENTRIES = {
    "stage": (logging.INFO, "stage_changed"),
    "waiting": (logging.INFO, "waiting_for_cluster"),
    "data": (logging.INFO, "data_ready"),
    "backend": (logging.INFO, "backend_ready"),
    "resumed": (logging.INFO, "resumed"),
    "baseline": (logging.INFO, "baseline"),
    "model": (logging.INFO, "model"),
    "saved": (logging.INFO, "saved"),
    "progress": (logging.INFO, "progress"),
    "evaluated": (logging.DEBUG, "evaluated"),
    "fallback": (logging.WARNING, "fallback"),
    "warning": (logging.WARNING, "warning"),
    "failed": (logging.ERROR, "failed"),
}
"""Level and name of the log entry, by kind of event; other kinds are not logged."""
_STOPPED = "stopped by a signal; the finished work is saved"
TERMINATION_LOG = Path("/dev/termination-log")
"""Where the kubelet reads why a container ended."""
MAX_CAUSE_BYTES = 1024
_MAX_FOLLOWED_BYTES = 4 * 1024 * 1024
_POLL_SECONDS = 1.0
_MAX_SECRET_BYTES = 65536
_CREDENTIALS = ("TRAININGJOB_CREDENTIALS_DIR", "TRAININGJOB_OUTPUT_CREDENTIALS_DIR")
_SECRET_FILES = tuple(key for kind in OBJECT_STORAGE.values() for key in (*kind.required, *kind.optional))
_log = logging.getLogger(__name__)


class _LogFile(logging.FileHandler):
    """A file that is given up when a line cannot be written: a run is worth more than its log."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802 - logging's own
        self.setLevel(logging.CRITICAL + 1)


def run_logger(console: TextIO | None, secrets: Iterable[str]) -> logging.Logger:
    """Return a logger for a run on this machine, independent of all other loggers.

    `console` takes all entries but single evaluations, none of them with one of the `secrets`.
    """
    logger = logging.Logger("trainingjob")  # noqa: LOG001 - two runs in one process must not share it
    formatter = JsonLines(lambda _record: {}, clean=lambda: partial(redact, secrets=tuple(secrets)))
    handler: logging.Handler = logging.NullHandler() if console is None else logging.StreamHandler(console)
    handler.setFormatter(formatter)
    handler.setLevel(logging.INFO)
    logger.addHandler(handler)
    return logger


class RunLog:
    """Writes a run's events to a logger; single evaluations have level DEBUG."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._state = RunState()
        self._file: _LogFile | None = None
        self._progress_at = float("-inf")
        self._last: list[dict[str, Any]] = []

    def open(self, path: Path) -> None:
        """Write every entry from now on to a file too, if it can be opened."""
        with contextlib.suppress(OSError):
            self._file = _LogFile(path, encoding="utf-8")
            self._file.setFormatter(self._logger.handlers[0].formatter)
            self._logger.addHandler(self._file)

    def take(self, event: Event, state: RunState) -> None:
        """Write an event, if it is worth an entry."""
        self._state = state
        match event:
            case Evaluated():
                fields = _plain(event)
                self._last = [*self._last, fields][-_MAX_LAST:]
            case Progressed(progress=progress):
                now = time.monotonic()
                if now - self._progress_at < _PROGRESS_SECONDS:
                    return
                self._progress_at = now
                fields = _plain(progress)
            case FellBack(fallback=fallback):
                fields = _plain(fallback)
            case _:
                fields = _plain(event)
        if event.kind in _ENTRIES:
            self._write(*_ENTRIES[event.kind], fields)

    def finish(self) -> None:
        """Write the result of the search and close the file."""
        state = self._state
        evaluated = {"total": state.evaluations, "counts": dict(state.counts), "last": self._last}
        self._write(logging.INFO, "evaluated_individuals", evaluated)
        board = [_plain(row) for row in state.leaderboard]
        self._write(logging.INFO, "leaderboard_topk", {"entries": board})
        front = [_plain(point) for point in state.pareto_front[:_MAX_FRONT_POINTS]]
        self._write(logging.INFO, "Pareto_Front", {"points": front})
        if self._file is not None:
            self._logger.removeHandler(self._file)
            self._file.close()

    def _write(self, level: int, name: str, fields: dict[str, Any]) -> None:
        self._logger.log(level, name, extra={"fields": fields})


def _plain(model: Any) -> dict[str, Any]:
    fields: dict[str, Any] = model.model_dump(
        mode="json", by_alias=True, exclude_none=True, exclude={"kind", "known"}
    )
    return fields


def pod_secrets(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the secrets of the environment and of mounted files as they are now, longest first."""
    found = set(secrets_of(environment))
    folders = [Path(environment[name]) for name in _CREDENTIALS if environment.get(name)]
    for folder in folders:
        for name in _SECRET_FILES:
            found.update(secrets_of({name: _read(folder / name)}))
    return tuple(sorted(found, key=len, reverse=True))


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_MAX_SECRET_BYTES).decode(errors="replace").strip()
    except OSError:
        return ""


def write_cause(cause: str, path: Path) -> None:
    """Write *cause* as one line of at most 1 KiB into the kubelet's file, if it exists and is writable."""
    text = plain(cause).encode(errors="replace")
    if len(text) > MAX_CAUSE_BYTES:
        cut = "…".encode()
        text = text[: MAX_CAUSE_BYTES - len(cut)].decode(errors="ignore").encode() + cut
    # Without O_CREAT: a file that the kubelet did not make is not created.
    with contextlib.suppress(OSError), path.open("r+b", buffering=0) as file:
        file.write(text)
        with contextlib.suppress(OSError):
            file.truncate()


@contextlib.contextmanager
def open_log(
    stream: TextIO, about: Mapping[str, Any], secrets: Callable[[], tuple[str, ...]]
) -> Iterator[None]:
    """Send every line of this process, also what libraries print on standard error, to *stream*.

    Each line has the job's keys in *about* as they are then, and nothing that *secrets* returns.
    """
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines(lambda _record: about, clean=lambda: partial(redact, secrets=secrets())))
    root = logging.getLogger()
    before = root.handlers[:], root.level, logging.raiseExceptions
    # A line that cannot be written must not cause another one.
    logging.raiseExceptions = False
    install_log(handler)
    # It would log each request, a line for every report.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        with contextlib.redirect_stderr(_PlainText(logging.getLogger("stderr"))):
            yield
    finally:
        root.handlers[:], root.level, logging.raiseExceptions = before
        logging.captureWarnings(capture=False)


class _PlainText(io.TextIOBase):
    """A stream whose lines become entries of the log."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._rest = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        # A long line is logged in parts.
        *lines, self._rest = (self._rest + text).split("\n")
        if len(self._rest) > MAX_LOG_TEXT:
            lines, self._rest = [*lines, self._rest], ""
        for line in lines:
            if line.strip():
                self._logger.warning("%s", plain(line))
        return len(text)

    def end(self) -> None:
        """Log a last line without a line break."""
        self.write("\n")


class FollowedFile:
    """Logs what another process appends to a file, each line as an entry of the logger *name*."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)
        self._lines = _PlainText(self._logger)
        self._left = _MAX_FOLLOWED_BYTES
        self._path: Path | None = None
        self._position = 0
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, path: Path) -> None:
        """Start after the present content of the file."""
        self._path = path
        with contextlib.suppress(OSError):
            self._position = path.stat().st_size
        self._thread = threading.Thread(target=self._follow, name="child-log", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Log the rest and end."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()
            self._lines.end()

    def _follow(self) -> None:
        while not self._stopped.wait(_POLL_SECONDS):
            self._drain()
        self._drain()

    def _drain(self) -> None:
        if self._path is None or self._left <= 0:
            return
        try:
            with self._path.open("rb") as file:
                file.seek(self._position)
                data = file.read(self._left)
        except OSError:
            return
        self._position += len(data)
        self._left -= len(data)
        self._lines.write(data.decode(errors="replace"))
        if self._left <= 0:
            self._lines.end()
            self._logger.warning("the search process printed more than 4 MiB; the rest is not logged")


def run_in_pod(environment: Mapping[str, str], *, cause_file: Path = TERMINATION_LOG) -> int:
    """Run the job that the pod's files and environment name; return the exit status.

    The cause of a failure is first in `cause_file` and last in the log.
    """
    from trainingjob_trainer.run.pod import EXIT_STOPPED, run_pod

    job = f"{environment.get('POD_NAMESPACE', '')}/{environment.get('TRAININGJOB_JOB_NAME', '')}"
    about: dict[str, Any] = {"job": job, "uid": environment.get("TRAININGJOB_JOB_UID", "")}
    run_log, child = RunLog(_log), FollowedFile("trainingjob_trainer.child")
    last_line: tuple[str, dict[str, Any]] | None = None

    def end(event: str, cause: str, **fields: Any) -> None:
        nonlocal last_line
        last_line = event, fields
        write_cause(redact(cause, pod_secrets(environment)), cause_file)

    def fail(error: Exception) -> None:
        failure = explain(error)
        reason, message = failure.reason, plain(failure.message)
        traced = error if reason is Reason.UNEXPECTED_ERROR else None
        fields = {"reason": reason, "message": message}
        end("failed", f"{reason}: {message}", extra={"fields": fields}, exc_info=traced)

    def take(event: Event, state: RunState) -> None:
        if isinstance(event, Opened):
            child.start(Path(event.log))
        run_log.take(event, state)

    def leave(*_: object) -> NoReturn:
        sys.exit(EXIT_STOPPED)

    with open_log(sys.stdout, about, lambda: pod_secrets(environment)):
        # The first process of a container has no default handler: SIGTERM would cost the grace period.
        signal.signal(signal.SIGTERM, leave)
        try:
            status = run_pod(
                environment,
                on_event=take,
                on_attempt=lambda number: about.update(attempt=number),
                on_failure=fail,
            )
        except SystemExit:
            status = EXIT_STOPPED
        except Exception as error:  # noqa: BLE001  # its cause belongs into the log
            fail(error)
            status = explain(error).exit_code
        if status == EXIT_STOPPED:
            end(_STOPPED, _STOPPED)
        child.stop()
        run_log.finish()
        if last_line is not None:
            event, fields = last_line
            _log.error(event, **fields)
    return status
