"""``trainingjob submit``, ``watch`` and ``logs``: a job in a cluster."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from trainingjob_api import Reason, TrainingJobStatus, load_job
from trainingjob_trainer.cli.text import plain
from trainingjob_trainer.errors import RunFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from trainingjob_trainer.cli.cluster import Cluster
    from trainingjob_trainer.cli.desk import Desk

__all__ = ["logs", "submit", "watch"]

_POLL_SECONDS = 2.0


def submit(
    desk: Desk, cluster: Cluster, file: Path, overrides: Sequence[str], *, follow: bool
) -> dict[str, Any]:
    """Create a TrainingJob, and follow it if that is wanted.

    Raises
    ------
    SpecInvalid, RunFailed
        If the cluster does not take it, or the job fails while it is followed.
    """
    job = load_job(file, overrides)
    spec = job.spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    made = cluster.create(job.metadata.name, spec)
    name = made["metadata"]["name"]
    _say(desk, f"{name} created in namespace {cluster.namespace}; trainingjob watch {name} follows it")
    if follow:
        return watch(desk, cluster, name)
    return {"name": name, "namespace": cluster.namespace, "uid": made["metadata"].get("uid")}


def watch(
    desk: Desk, cluster: Cluster, name: str, *, sleep: Callable[[float], None] = time.sleep
) -> dict[str, Any]:
    """Tell what becomes of a job until it has ended.

    Returns
    -------
    dict
        Its name, phase and status.

    Raises
    ------
    SpecInvalid, RunFailed
        If it has failed: its own reason and message.
    """
    told = ""
    while True:
        found = cluster.get(name)
        status = TrainingJobStatus.model_validate(found.get("status") or {})
        line = _line(status)
        if line != told:
            told = line
            _say(desk, line)
        if status.phase is not None and status.phase.terminal:
            break
        sleep(_POLL_SECONDS)
    if status.phase is not None and status.phase.value == "Failed":
        raise _failure(status)
    for artifact in status.artifacts or ():
        _say(desk, f"  {artifact.name}: {artifact.uri}")
    return {"name": name, "namespace": cluster.namespace, "status": found.get("status")}


def logs(desk: Desk, cluster: Cluster, name: str, *, follow: bool) -> dict[str, Any]:
    """Print the log of a job's newest trainer pod.

    Raises
    ------
    RunFailed
        With reason ``NoPod`` if it has none.
    """
    uid = cluster.get(name)["metadata"]["uid"]
    pods = cluster.pods(uid)
    if not pods:
        raise RunFailed(Reason.NO_POD, f"{name} has no pod: it has not started, or its TTL has removed them")
    for line in cluster.log(pods[-1], follow=follow):
        if not desk.as_json:
            sys.stdout.write(plain(line) + "\n")
    return {"name": name, "pod": pods[-1]}


def _line(status: TrainingJobStatus) -> str:
    if status.phase is None:
        return "waiting for the operator"
    parts = [status.phase.value]
    if status.backend is not None:
        parts.append(f"on {status.backend.value}")
    if (progress := status.progress) is not None:
        parts.append(f"generation {progress.generation}/{progress.generations}")
        parts.append(f"{progress.evaluated} evaluated")
    if status.best is not None and status.best.score is not None:
        parts.append(f"best {status.best.score} (baseline {status.best.baseline_score or '-'})")
    parts.extend(
        f"degraded: {condition.reason}"
        for condition in status.conditions or ()
        if condition.type.value == "Degraded" and condition.status.value == "True"
    )
    return plain(", ".join(parts))


def _failure(status: TrainingJobStatus) -> RunFailed:
    for condition in status.conditions or ():
        if condition.type.value == "Failed" and condition.status.value == "True":
            try:
                return RunFailed(Reason(condition.reason), condition.message)
            except ValueError:  # of a newer operator
                return RunFailed(Reason.FAILED, f"{condition.reason}: {condition.message}")
    return RunFailed(Reason.FAILED, "the job has failed and does not say why")


def _say(desk: Desk, line: str) -> None:
    if not desk.as_json and not desk.quiet:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
