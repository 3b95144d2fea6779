"""The log of a trainer's container: all that it and its search process say, as JSON lines on one stream."""

from __future__ import annotations

import contextlib
import io
import logging
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from trainingjob_api.log_lines import MAX_TEXT, JsonLines, install
from trainingjob_trainer.cli.text import plain, redact, secrets_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["CauseFile", "FollowedFile", "open_log", "pod_secrets"]

TERMINATION_LOG = Path("/dev/termination-log")
"""Where the kubelet reads why a container ended."""
MAX_CAUSE_BYTES = 1024
_MAX_FOLLOWED_BYTES = 4 * 1024 * 1024
_POLL_SECONDS = 1.0
_MAX_SECRET_BYTES = 65536
_CREDENTIALS = ("TRAININGJOB_CREDENTIALS_DIR", "TRAININGJOB_OUTPUT_CREDENTIALS_DIR")
_SECRET_FILES = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


def pod_secrets(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return what no line may show: secrets of the environment and, as they are now, of mounted files."""
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
    """Tells the kubelet why the container ends.

    Parameters
    ----------
    path
        The container's ``terminationMessagePath``.
    """

    def __init__(self, path: Path = TERMINATION_LOG) -> None:
        self._path = path

    def write(self, cause: str) -> None:
        """Write *cause* on one line of at most 1 KiB, if the file is there and can be written."""
        text = plain(cause).encode(errors="replace")
        if len(text) > MAX_CAUSE_BYTES:
            cut = "…".encode()
            text = text[: MAX_CAUSE_BYTES - len(cut)].decode(errors="ignore").encode() + cut
        # Without O_CREAT: no other file is made where there is none.
        with contextlib.suppress(OSError), self._path.open("r+b", buffering=0) as file:
            file.write(text)
            with contextlib.suppress(OSError):
                file.truncate()


@contextlib.contextmanager
def open_log(
    stream: TextIO, about: Mapping[str, Any], secrets: Callable[[], tuple[str, ...]]
) -> Iterator[None]:
    """Send every line of this process, what libraries print on standard error too, to *stream*.

    Parameters
    ----------
    stream
        Where to.
    about
        The job's keys; what is added later is in later lines.
    secrets
        Returns what no line may show.
    """
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines(lambda _record: about, clean=lambda: partial(redact, secrets=secrets())))
    root = logging.getLogger()
    before = root.handlers[:], root.level, logging.raiseExceptions
    # A line that cannot be written must not become another one.
    logging.raiseExceptions = False
    install(handler)
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
        """Log each line that is whole, and one that is too long in parts."""
        *lines, self._rest = (self._rest + text).split("\n")
        if len(self._rest) > MAX_TEXT:
            lines, self._rest = [*lines, self._rest], ""
        for line in lines:
            if line.strip():
                self._logger.warning("%s", plain(line))
        return len(text)

    def end(self) -> None:
        """Log a last line that has no end."""
        self.write("\n")


class FollowedFile:
    """Logs what another process appends to a file, each line as an entry.

    Parameters
    ----------
    name
        Logger of the entries.
    """

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)
        self._lines = _PlainText(self._logger)
        self._left = _MAX_FOLLOWED_BYTES
        self._path: Path | None = None
        self._position = 0
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, path: Path) -> None:
        """Begin behind what the file has already."""
        self._path = path
        with contextlib.suppress(OSError):
            self._position = path.stat().st_size
        self._thread = threading.Thread(target=self._follow, name="child-log", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Log what is left and end."""
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
