"""What the recovery benchmark breaks: a run, its Dask cluster, and the network between the two."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import joblib
import psutil
from sklearn.datasets import load_breast_cancer

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests")]

from support.clusters import Cluster  # noqa: E402  # no package, found by its path
from support.runs import COMMAND, KEPT, Runs, until  # noqa: E402  # as the line above

__all__ = ["Cluster", "Network", "Run", "network", "until"]

IP = "ip"
_NAME = "lost"
_GOOD_ACCURACY = 0.85
_CLUSTER_ADDRESS, _TRAINER_ADDRESS = "10.213.77.1", "10.213.77.2"


@dataclass(frozen=True, slots=True)
class Network:
    """Where cluster and trainer are: on this machine, or in two namespaces with a cable between them.

    Parameters
    ----------
    host
        Address of the cluster.
    cluster, trainer
        What their command lines begin with.
    """

    host: str = "127.0.0.1"
    cluster: tuple[str, ...] = ()
    trainer: tuple[str, ...] = ()

    def cut(self) -> None:
        """Take the cable's end at the cluster down: what is sent is lost, and nobody says so."""
        _ip("-n", self.cluster[-1], "link", "set", "cable0", "down")


@contextmanager
def network(*, namespaces: bool) -> Iterator[Network]:
    """Yield this machine, or two namespaces of it.

    Raises
    ------
    PermissionError
        If namespaces cannot be made here; it says why.
    """
    if not namespaces:
        yield Network()
        return
    cluster, trainer = f"tj-cluster-{os.getpid()}", f"tj-trainer-{os.getpid()}"
    try:
        for name in (cluster, trainer):
            _ip("netns", "add", name)
        _ip("-n", cluster, "link", "add", "cable0", "type", "veth", "peer", "name", "cable1")
        _ip("-n", cluster, "link", "set", "cable1", "netns", trainer)
        for name, cable, address in (
            (cluster, "cable0", _CLUSTER_ADDRESS),
            (trainer, "cable1", _TRAINER_ADDRESS),
        ):
            _ip("-n", name, "address", "add", f"{address}/30", "dev", cable)
            for link in (cable, "lo"):
                _ip("-n", name, "link", "set", link, "up")
        enter = (IP, "netns", "exec")
        yield Network(_CLUSTER_ADDRESS, (*enter, cluster), (*enter, trainer))
    finally:
        for name in (cluster, trainer):
            subprocess.run([IP, "netns", "delete", name], capture_output=True, check=False)


def _ip(*arguments: str) -> None:
    if not shutil.which(IP):
        raise PermissionError("there is no `ip` command")
    done = subprocess.run([IP, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise PermissionError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


@dataclass(slots=True)
class Run:
    """A distributed run that is under way.

    Parameters
    ----------
    folder
        Of the job, the run and its output.
    spec
        The job's.
    environment
        Names the cluster.
    prefix
        What the command line begins with.

    Attributes
    ----------
    seen : dict of str to float
        When each stage was first seen; monotonic.
    """

    folder: Path
    spec: dict[str, Any]
    environment: dict[str, str]
    prefix: tuple[str, ...] = ()
    seen: dict[str, float] = field(default_factory=dict)
    _process: subprocess.Popen[bytes] = field(init=False)
    _runs: Runs = field(init=False)

    def __post_init__(self) -> None:
        self._runs = Runs(self.folder)
        job = self._runs.job(_NAME, **self.spec)
        kept = {name: os.environ[name] for name in KEPT if name in os.environ}
        with (self.folder / "out").open("wb") as out, (self.folder / "err").open("wb") as err:
            self._process = subprocess.Popen(
                [*self.prefix, *COMMAND, "run", str(job), "--json"],
                cwd=self.folder,
                env={**kept, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )

    def report(self) -> dict[str, Any]:
        """Return the run's report as it stands; empty before the first one."""
        for path in self._runs.output.glob(f"{_NAME}-*/.work/report.json"):
            report = dict(json.loads(path.read_text()))
            self.seen.setdefault(str(report.get("stage")).lower(), time.monotonic())
            return report
        return {}

    def stage(self) -> str:
        """Return the stage that it reports, in small letters."""
        return str(self.report().get("stage")).lower()

    def clock(self) -> float:
        """Return the reading of its clock at the last evaluation that it finished; 0 before the first."""
        return max((float(line["elapsedSeconds"]) for line in self.journal()), default=0.0)

    def journal(self) -> list[dict[str, Any]]:
        """Return every finished evaluation."""
        return self._runs.journal(_NAME)

    def reach(self, condition: Callable[[], Any], what: str, seconds: float) -> None:
        """Wait for something while the run is under way."""

        def met() -> Any:
            if self._process.poll() is not None:
                raise AssertionError(f"the run ended before {what}: {self.errors()}")
            return condition()

        until(met, seconds=seconds, what=what)

    def over(self) -> bool:
        """Return whether it has ended."""
        self.report()
        return self._process.poll() is not None

    @property
    def status(self) -> int | None:
        """Its exit status."""
        return self._process.returncode

    def document(self) -> dict[str, Any]:
        """Return what it printed at its end; empty if it is no document."""
        try:
            return dict(json.loads((self.folder / "out").read_text()))
        except ValueError:
            return {}

    def errors(self) -> str:
        """Return the end of what it wrote to standard error."""
        return (self.folder / "err").read_text()[-2000:]

    def accuracy(self) -> float:
        """Return the model's accuracy on the whole table; raises if there is no model that predicts."""
        table = load_breast_cancer(as_frame=True)
        model = joblib.load(self._runs.home(_NAME) / "model.joblib")
        names = table.target_names[table.target]  # the sample's labels are words
        return float((model.predict(table.data) == names).mean())

    def predicts(self) -> bool:
        """Return whether there is a model that predicts well."""
        try:
            return self.accuracy() >= _GOOD_ACCURACY
        except Exception as error:  # noqa: BLE001 - whatever it is, the promise of a model is broken
            print(f"the model: {type(error).__name__}: {error}")
            return False

    def close(self) -> None:
        """End what is left of it."""
        if self._process.poll() is None:
            family = psutil.Process(self._process.pid).children(recursive=True)
            self._process.kill()
            self._process.wait()
            for process in family:
                try:
                    process.kill()
                except psutil.NoSuchProcess:
                    continue
