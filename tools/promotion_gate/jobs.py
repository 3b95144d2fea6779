"""Evidence from the TrainingJobs themselves, where there is no Prometheus.

A job counts for the release that its class label names. What was deleted meanwhile is not counted.
"""

import json
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from promotion_gate.evidence import Evidence, GateError

__all__ = ["evidence", "list_jobs", "read_jobs"]

CLASS_LABEL = "automl.trainingjob.dev/operator-class"
STABLE = "stable"
OVERRUN_FRACTION = 0.05
OVERRUN_SECONDS = 5
UNMINDED_AFTER = timedelta(minutes=10)
"""An operator that is up writes conditions within seconds."""

_TERMINAL = ("Succeeded", "Failed")
_PLURAL = "trainingjobs.automl.trainingjob.dev"

Job = Mapping[str, Any]


def list_jobs(kubeconfig: str | None, context: str | None, *, timeout: float = 120.0) -> list[Job]:
    """Ask kubectl for the jobs of all namespaces.

    Raises
    ------
    GateError
        If there is no kubectl, or it fails.
    """
    options = [f"--kubeconfig={kubeconfig}"] if kubeconfig else []
    options += [f"--context={context}"] if context else []
    command = ["kubectl", *options, "get", _PLURAL, "--all-namespaces", "--output=json"]
    try:
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=timeout)
    except FileNotFoundError as error:
        raise GateError("kubectl is not installed; give the list with --jobs FILE") from error
    except subprocess.TimeoutExpired as error:
        raise GateError(f"kubectl did not answer within {timeout:.0f} s") from error
    except subprocess.CalledProcessError as error:
        raise GateError(f"kubectl fails: {str(error.stderr).strip()[:300]}") from error
    return read_jobs(done.stdout)


def read_jobs(text: str) -> list[Job]:
    """Parse ``kubectl get trainingjobs --output=json``.

    Raises
    ------
    GateError
        If *text* is no such list.
    """
    try:
        items = json.loads(text)["items"]
        found = [item for item in items if item["kind"] == "TrainingJob" and item["metadata"]["uid"]]
    except (ValueError, KeyError, TypeError) as error:
        raise GateError("--jobs: this is not what `kubectl get trainingjobs -A -o json` prints") from error
    if len(found) != len(items):
        raise GateError("--jobs: the list holds other things than TrainingJobs")
    return found


def evidence(
    jobs: Iterable[Job],
    operator_class: str,
    *,
    searches: bool | None = None,
    now: datetime,
    window: timedelta,
) -> Evidence:
    """Return what the release of *operator_class* did within *window* before *now*.

    Parameters
    ----------
    jobs
        All jobs.
    operator_class
        Whose are counted.
    searches
        Count only jobs that search (True), or that train the baseline alone (False): the two sides of a
        share. What has not been resolved stands on neither.
    now, window
        What is counted: jobs that ended this long before *now*.
    """
    mine = [job for job in jobs if (_labels(job).get(CLASS_LABEL) or STABLE) == operator_class]
    ended = [job for job in mine if _ended_since(job, now - window)]
    if searches is not None:
        ended = [job for job in ended if _searches(job) is searches]
    return Evidence(
        ended=len(ended),
        failed=sum(job["status"]["phase"] == "Failed" for job in ended),
        fallbacks=sum(len(_fallbacks(job)) for job in ended),
        overruns=sum(map(_overran, ended)),
        unhandled=sum(_is_unhandled(job, now) for job in mine),
    )


def _labels(job: Job) -> Mapping[str, str]:
    return job["metadata"].get("labels") or {}


def _status(job: Job) -> Mapping[str, Any]:
    return job.get("status") or {}


def _ended_since(job: Job, start: datetime) -> bool:
    status = _status(job)
    if status.get("phase") not in _TERMINAL:
        return False
    return datetime.fromisoformat(str(status["completionTime"])) >= start


def _fallbacks(job: Job) -> Sequence[Mapping[str, Any]]:
    # The step to the baseline is a failure of the search, not of its parallelism.
    return [fallback for fallback in _status(job).get("fallbacks") or () if fallback.get("to") != "baseline"]


def _overran(job: Job) -> bool:
    status = _status(job)
    budget = (status.get("resolved") or {}).get("timeLeftSeconds")
    spent = (status.get("progress") or {}).get("elapsedSeconds") or 0
    if not budget:
        return False
    return bool(spent > budget + max(OVERRUN_SECONDS, budget * OVERRUN_FRACTION))


def _searches(job: Job) -> bool | None:
    return (_status(job).get("resolved") or {}).get("automlEnabled")


def _is_unhandled(job: Job, now: datetime) -> bool:
    age = now - datetime.fromisoformat(job["metadata"]["creationTimestamp"])
    return not _status(job).get("conditions") and age > UNMINDED_AFTER
