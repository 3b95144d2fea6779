"""What the processes of scheduler and worker have in common: their log, signals that end them, and files."""

import asyncio
import logging
import os
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from trainingjob_api.log_lines import JsonLines, install

__all__ = ["StopSignal", "log_to_stderr", "replace_file", "stop_signals"]

_UID_VARIABLE = "TRAININGJOB_JOB_UID"
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopSignal(asyncio.Event):
    """Set by the first signal; each further one sets `again`: its sender does not want to wait."""

    def __init__(self) -> None:
        super().__init__()
        self.name = ""
        self.again = asyncio.Event()

    def take(self, number: signal.Signals) -> None:
        """Note a signal."""
        if self.is_set():
            self.again.set()
        self.name = number.name
        self.set()


@contextmanager
def stop_signals() -> Iterator[StopSignal]:
    """Turn SIGTERM and SIGINT into an event of the running loop."""
    loop = asyncio.get_running_loop()
    stop = StopSignal()
    for number in _SIGNALS:
        loop.add_signal_handler(number, stop.take, number)
    try:
        yield stop
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


def log_to_stderr(environment: Mapping[str, str]) -> bool:
    """Log this project's messages and the warnings of others to standard error, one line each.

    In a pod of a job, by its environment, they are JSON lines with the keys of operator and trainer. Dask
    must have been imported: it sets up loggers.

    Returns
    -------
    bool
        Whether they are JSON lines.
    """
    uid = environment.get(_UID_VARIABLE, "")
    job = f"{environment.get('POD_NAMESPACE', '')}/{environment.get('TRAININGJOB_JOB_NAME', '')}"
    formatter: logging.Formatter
    if uid:
        formatter = JsonLines(lambda _record: {"job": job, "uid": uid})
    else:
        formatter = logging.Formatter("%(asctime)s %(levelname)s %(message)s", datefmt="%Y-%m-%dT%H:%M:%SZ")
        formatter.converter = time.gmtime
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    install(handler, logging.WARNING)
    logging.getLogger("trainingjob_trainer").setLevel(logging.INFO)
    logging.getLogger("distributed").setLevel(logging.WARNING)
    return bool(uid)


def replace_file(path: Path, content: bytes, mode: int) -> None:
    """Write a file atomically, as a new one: neither the mode nor the link of an old file is kept."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        try:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
