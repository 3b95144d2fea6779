"""TrainingJobs on this machine: each is a ``trainingjob run`` process of the trainer."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from trainingjob_api import ConditionStatus, ConditionType, Phase, Progress, Reason, Stage
from trainingjob_client._client import InvalidRequest, JobLog, ServiceUnavailable

_COMMAND = (sys.executable, "-P", "-c", "from trainingjob_trainer.cli import main; main()")
_SAVING = frozenset({Stage.SAVING, Stage.UPLOADING, Stage.FINISHED})
_STATUS_FIELDS = ("modelSource", "best", "paretoFront", "artifacts", "fallbacks", "progress", "resolved")
_POLL_SECONDS = 0.5


class LocalBackend:
    """Runs each job in a process of its own; the jobs are known to this object only.

    A run continues when the program ends that started it. Its model, report and journal are in its output.

    Parameters
    ----------
    output
        Folder or URI in place of ``spec.output.uri``; None for that of the spec.
    environment
        Environment of the runs; None for that of this process.
    command
        Program that takes the arguments of ``trainingjob``; None for the installed trainer.
    grace_seconds
        Time that a deleted run has to end before it is killed.

    Raises
    ------
    ServiceUnavailable
        If the trainer is not installed.
    """

    namespace = "local"

    def __init__(
        self,
        *,
        output: Path | str | None = None,
        environment: Mapping[str, str] | None = None,
        command: Sequence[str] | None = None,
        grace_seconds: float = 30.0,
    ) -> None:
        if command is None and find_spec("trainingjob_trainer") is None:
            raise ServiceUnavailable(
                Reason.CLIENT_MISSING, "the trainer is not installed; pip install 'trainingjob[trainer]'"
            )
        self._command = tuple(command or _COMMAND)
        self._options = () if output is None else ("--output", str(output))
        self._environment = environment
        self._grace_seconds = grace_seconds
        self._folder = Path(tempfile.mkdtemp(prefix="trainingjob-client-"))
        self._runs: dict[str, _Run] = {}

    def create(self, manifest: Mapping[str, Any]) -> Mapping[str, Any]:
        """Start a run and return its job."""
        name = manifest["metadata"]["name"]
        if name in self._runs:
            raise InvalidRequest(
                Reason.ALREADY_EXISTS, f"job {name!r} exists already; delete it or choose another name"
            )
        uid = str(uuid.uuid4())
        folder = self._folder / uid
        folder.mkdir()
        (folder / "job.json").write_text(json.dumps(manifest), encoding="utf-8")
        arguments = ("run", str(folder / "job.json"), "--json", "--log-format", "json", *self._options)
        with (folder / "result.json").open("wb") as result, (folder / "log.jsonl").open("wb") as log:
            process = subprocess.Popen(
                [*self._command, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=result,
                stderr=log,
                env=None if self._environment is None else dict(self._environment),
                start_new_session=True,
            )
        metadata = {
            **manifest["metadata"],
            "namespace": self.namespace,
            "uid": uid,
            "creationTimestamp": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        self._runs[name] = _Run({**manifest, "metadata": metadata}, folder, process)
        return self.get(name)

    def get(self, name: str) -> Mapping[str, Any]:
        """Return a job, its status read from the log and the result of its run."""
        run = self._run(name)
        return {**run.manifest, "status": run.status()}

    def list(self) -> list[Mapping[str, Any]]:
        """Return the jobs that this object has started."""
        return [self.get(name) for name in self._runs]

    def delete(self, name: str) -> None:
        """Stop a run and forget its job; what the run has written to its output stays."""
        run = self._run(name)
        end = time.monotonic() + self._grace_seconds
        while run.process.poll() is None and time.monotonic() < end:
            run.process.terminate()  # the first signal saves the best model so far, the second ends the run
            with suppress(subprocess.TimeoutExpired):
                run.process.wait(timeout=_POLL_SECONDS)
        if run.process.poll() is None:
            os.killpg(run.process.pid, signal.SIGKILL)
            run.process.wait()
        del self._runs[name]
        shutil.rmtree(run.folder)

    def logs(self, name: str, *, follow: bool) -> JobLog:
        """Return the log of a run; with `follow` it continues until the run has ended."""
        run = self._run(name)
        return JobLog(str(run.log_file), run.lines(follow=follow))

    def _run(self, name: str) -> "_Run":
        try:
            return self._runs[name]
        except KeyError:
            raise InvalidRequest(Reason.NOT_FOUND, f"no job {name!r} was created by this client") from None


@dataclass(frozen=True, slots=True)
class _Run:
    """A process, and the files that its output goes to."""

    manifest: Mapping[str, Any]
    folder: Path
    process: "subprocess.Popen[bytes]"

    @property
    def log_file(self) -> Path:
        return self.folder / "log.jsonl"

    def status(self) -> dict[str, Any]:
        """Return the status as an operator would write it."""
        if self.process.poll() is None:
            return self._progress()
        try:
            result = json.loads((self.folder / "result.json").read_bytes())
        except ValueError:
            last = next(reversed(list(self.lines(follow=False))), "")
            message = f"the run ended with status {self.process.returncode} and no result: {last}"
            return _failed(Reason.UNEXPECTED_ERROR, message)
        if not result["ok"]:
            return _failed(result["error"]["reason"], result["error"]["message"])
        fields = {name: result[name] for name in _STATUS_FIELDS if result.get(name)}
        return {"phase": Phase.SUCCEEDED.value, **fields, "leaderboard": result["leaderboard"][:10]}

    def _progress(self) -> dict[str, Any]:
        status: dict[str, Any] = {"phase": Phase.PENDING.value}
        for line in self.lines(follow=False):
            with suppress(ValueError, KeyError):  # a line that is not whole yet, or a library's
                entry = json.loads(line)
                match entry["event"]:
                    case "stage_changed":
                        phase = Phase.SAVING if entry["stage"] in _SAVING else Phase.SEARCHING
                        status["phase"] = phase.value
                    case "progress":
                        progress = Progress.model_validate(entry)
                        status["progress"] = progress.model_dump(
                            mode="json", by_alias=True, exclude_none=True
                        )
        return status

    def lines(self, *, follow: bool) -> Iterator[str]:
        rest = ""
        with self.log_file.open(encoding="utf-8", errors="replace") as file:
            while True:
                ended = self.process.poll() is not None
                while line := file.readline():
                    rest += line
                    if rest.endswith("\n"):
                        yield rest.rstrip("\n")
                        rest = ""
                if ended or not follow:
                    break
                time.sleep(_POLL_SECONDS)
        if rest:
            yield rest


def _failed(reason: str, message: str) -> dict[str, Any]:
    condition = {
        "type": ConditionType.FAILED.value,
        "status": ConditionStatus.TRUE.value,
        "reason": reason,
        "message": message[:1000],
        "lastTransitionTime": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    return {"phase": Phase.FAILED.value, "conditions": [condition]}
