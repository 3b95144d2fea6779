"""``trainingjob pod``: the command of a trainer's container.

All that it and its search process print goes to standard output as JSON lines of one schema; the cause of a
failure is the last line, and the termination message that the kubelet reads.
"""

import contextlib
import io
import logging
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, TextIO

from trainingjob_api import OBJECT_STORAGE, Reason
from trainingjob_api.log_lines import MAX_TEXT, JsonLines, install
from trainingjob_trainer.cli.failure import explain
from trainingjob_trainer.cli.run_log import RunLog
from trainingjob_trainer.cli.text import plain, redact, secrets_of
from trainingjob_trainer.events import Event, Opened
from trainingjob_trainer.run.pod import EXIT_STOPPED, run_pod
from trainingjob_trainer.run.state import RunState

__all__ = ["CauseFile", "FollowedFile", "open_log", "pod_secrets", "run_in_pod"]

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


class CauseFile:
    """Reports to the kubelet why the container ends, in the file at its ``terminationMessagePath``."""

    def __init__(self, path: Path = TERMINATION_LOG) -> None:
        self._path = path

    def write(self, cause: str) -> None:
        """Write *cause* as one line of at most 1 KiB, if the file exists and is writable."""
        text = plain(cause).encode(errors="replace")
        if len(text) > MAX_CAUSE_BYTES:
            cut = "…".encode()
            text = text[: MAX_CAUSE_BYTES - len(cut)].decode(errors="ignore").encode() + cut
        # Without O_CREAT: a file that the kubelet did not make is not created.
        with contextlib.suppress(OSError), self._path.open("r+b", buffering=0) as file:
            file.write(text)
            with contextlib.suppress(OSError):
                file.truncate()


@contextlib.contextmanager
def open_log(
    stream: TextIO, about: Mapping[str, Any], secrets: Callable[[], tuple[str, ...]]
) -> Iterator[None]:
    """Send every line of this process, also what libraries print on standard error, to *stream*.

    Parameters
    ----------
    stream
        Where to.
    about
        The job's keys; later changes of it are in later lines.
    secrets
        Returns what no line may show.
    """
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines(lambda _record: about, clean=lambda: partial(redact, secrets=secrets())))
    root = logging.getLogger()
    before = root.handlers[:], root.level, logging.raiseExceptions
    # A line that cannot be written must not cause another one.
    logging.raiseExceptions = False
    install(handler)
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
        """Return that it can be written to."""
        return True

    def write(self, text: str) -> int:
        """Log each complete line, and a long one in parts."""
        *lines, self._rest = (self._rest + text).split("\n")
        if len(self._rest) > MAX_TEXT:
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
        """Start after what the file holds already."""
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


def run_in_pod(environment: Mapping[str, str], *, cause_file: CauseFile | None = None) -> int:
    """Run the job that the pod's files and environment name; return the exit status.

    Parameters
    ----------
    environment
        The pod's.
    cause_file
        Takes the cause of a failure; by default where the kubelet reads it.
    """
    about = {"job": f"{environment.get('POD_NAMESPACE', '')}/{environment.get('TRAININGJOB_JOB_NAME', '')}"}
    about["uid"] = environment.get("TRAININGJOB_JOB_UID", "")
    with open_log(sys.stdout, about, lambda: pod_secrets(environment)):
        return _Pod(environment, about, cause_file or CauseFile()).run()


class _Pod:
    """A run, and the cause of its failure: first in the kubelet's file, last in the log."""

    def __init__(self, environment: Mapping[str, str], about: dict[str, Any], cause_file: CauseFile) -> None:
        self._environment = environment
        self._about = about
        self._cause_file = cause_file
        self._run_log = RunLog(_log)
        self._child = FollowedFile("trainingjob_trainer.child")
        self._cause: tuple[str, dict[str, Any]] | None = None

    def run(self) -> int:
        """Return the exit status."""
        # The first process of a container has no default handler: SIGTERM would cost the grace period.
        signal.signal(signal.SIGTERM, _leave)
        try:
            status = run_pod(
                self._environment,
                on_event=self._take,
                on_attempt=lambda number: self._about.update(attempt=number),
                on_failure=self._fail,
            )
            if status == EXIT_STOPPED:
                self._stop()
        except SystemExit:
            self._stop()
            status = EXIT_STOPPED
        except Exception as error:  # noqa: BLE001  # its cause belongs into the log
            self._fail(error)
            status = explain(error).exit_code
        self._child.stop()
        self._run_log.finish()
        if self._cause is not None:
            event, fields = self._cause
            _log.error(event, **fields)
        return status

    def _take(self, event: Event, state: RunState) -> None:
        if isinstance(event, Opened):
            self._child.start(Path(event.log))
        self._run_log.take(event, state)

    def _fail(self, error: Exception) -> None:
        failure = explain(error)
        unexpected = failure.reason is Reason.UNEXPECTED_ERROR
        reason, message = failure.reason, plain(failure.message)
        fields = {"reason": reason, "message": message}
        self._cause = "failed", {"extra": {"fields": fields}, "exc_info": error if unexpected else None}
        self._write_cause(f"{reason}: {message}")

    def _stop(self) -> None:
        self._cause = _STOPPED, {}
        self._write_cause(_STOPPED)

    def _write_cause(self, text: str) -> None:
        self._cause_file.write(redact(text, pod_secrets(self._environment)))


def _leave(*_: object) -> NoReturn:
    sys.exit(EXIT_STOPPED)
