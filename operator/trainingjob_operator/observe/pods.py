"""The trainer's pods, and why they do not run: each cause has one reason and one way out."""

import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from trainingjob_api import ResolvedRun
from trainingjob_api.reasons import Cause, Reason
from trainingjob_api.text import shorten
from trainingjob_operator.children import TRAINER_CONTAINER, PodKey, trainer_container
from trainingjob_operator.job_view import read_time
from trainingjob_operator.manifests.trainer import (
    DATASET_CREDENTIALS,
    EXIT_TERMINATED,
    OUTPUT_CREDENTIALS,
    required_keys,
)
from trainingjob_operator.observe.facts import PodSeen

MAX_TEXT = 400
EXIT_KILLED = 137
_IMAGE_WORDS = frozenset(
    {"ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError"}
)
_CONFIG_WORDS = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
_MISSING_SECRET = re.compile(r'secret "([^"]+)" not found', re.IGNORECASE)
_OWN_STORAGE = re.compile(r"exceed(s|ed) (the|its) (total |local ephemeral storage )?limit")
"""Matches an eviction for what the pod itself has written, as opposed to a full node."""
_VOLUME = re.compile(r'for volume "([^"]+)" : (.*)', re.DOTALL)
_MISSING_KEY = "non-existent secret key"
_MISSING_CLAIM = re.compile(r'persistentvolumeclaim "([^"]+)" (?:not found|is being deleted)')


def secrets_of(run: ResolvedRun | None) -> dict[str, str]:
    """Return the Secrets that a run names, each with the fields of the spec that name it."""
    if run is None:
        return {}
    named = [
        ("spec.dataset.credentialsSecretRef", run.dataset.credentials_secret_ref),
        ("spec.output.credentialsSecretRef", run.output.credentials_secret_ref),
        *(("spec.trainer.imagePullSecrets", secret) for secret in run.trainer.image_pull_secrets or ()),
    ]
    found: dict[str, str] = {}
    for field, reference in named:
        if reference is not None:
            before = found.get(reference.name)
            found[reference.name] = f"{before} and {field}" if before else field
    return found


def read_pod(raw: dict[str, Any], secrets: Mapping[str, str]) -> PodSeen:
    """Return what matters of a pod; *secrets* has the field that asks for each Secret."""
    meta, status = raw["metadata"], raw.get("status") or {}
    state: dict[str, Any] = container_status(status, TRAINER_CONTAINER).get("state") or {}
    ended = state.get("terminated")
    finished = status.get("phase") in {"Succeeded", "Failed"}
    limit = _memory_limit(raw)
    return PodSeen(
        uid=meta["uid"],
        name=str(meta.get("name") or ""),
        node=str((raw.get("spec") or {}).get("nodeName") or ""),
        created=read_time(meta.get("creationTimestamp")) or datetime.min.replace(tzinfo=UTC),
        running="running" in state and not finished,
        finished=finished,
        exit_code=ended.get("exitCode") if ended else None,
        started=read_time((state.get("running") or {}).get("startedAt")),
        ended=read_time(ended.get("finishedAt")) if ended else None,
        trouble=_trouble(status, state, secrets, limit),
        orphan=_is_orphan(raw),
        going=meta.get("deletionTimestamp") is not None,
        beside=_beside(status) if ended else (),
    )


def mounts_since(raw: dict[str, Any], now: datetime) -> float:
    """Return for how many seconds a pod has been mounting its volumes; 0 if it is not."""
    status = raw.get("status") or {}
    ready = _condition(status, "PodReadyToStartContainers") or {}
    word = ((container_status(status, TRAINER_CONTAINER).get("state") or {}).get("waiting") or {}).get(
        "reason"
    )
    placed = status.get("phase") == "Pending" and (raw.get("spec") or {}).get("nodeName")
    if not placed or ready.get("status") == "True" or word not in {None, "ContainerCreating"}:
        return 0.0
    since = read_time(status.get("startTime")) or read_time(raw["metadata"].get("creationTimestamp"))
    return (now - since).total_seconds() if since is not None else 0.0


def cannot_mount(messages: tuple[str, ...], run: ResolvedRun | None) -> Cause | None:
    """Return why a pod's volumes cannot be mounted, from the messages of its events, the newest last."""
    if not messages:
        return None
    # Messages that volumes are still awaited come in between and say less.
    found = next((match for message in reversed(messages) if (match := _VOLUME.search(message))), None)
    volume, detail = found.groups() if found else ("", messages[-1])
    claim = _MISSING_CLAIM.search(detail)
    if claim:
        return _no_claim(claim.group(1))
    if run is not None and (_MISSING_SECRET.search(detail) or _MISSING_KEY in detail):
        data, output = run.dataset, run.output
        asked = {
            DATASET_CREDENTIALS: ("spec.dataset", data.credentials_secret_ref, data.uri),
            OUTPUT_CREDENTIALS: ("spec.output", output.credentials_secret_ref, output.uri),
        }
        field, secret, uri = asked.get(volume, ("", None, ""))
        if secret is not None:
            return Cause(
                Reason.CREDENTIALS_MISSING,
                f"The trainer's pod waits for Secret {secret.name} ({field}.credentialsSecretRef) with the "
                f"{_key_words(uri)}: {short(detail)}; create it or add what is missing",
            )
    what = f"Volume {volume}" if volume else "A volume"
    return Cause(Reason.VOLUME_NOT_MOUNTED, f"{what} of the trainer's pod cannot be mounted: {short(detail)}")


def _key_words(uri: str) -> str:
    keys = required_keys(uri)
    return f"{'keys' if len(keys) > 1 else 'key'} {' and '.join(keys)}"


def _no_claim(name: str) -> Cause:
    return Cause(Reason.CLAIM_NOT_FOUND, f"PersistentVolumeClaim {name} does not exist; create it")


def _is_orphan(raw: dict[str, Any]) -> bool:
    """Return whether no Job controls a pod: its Job was deleted with ``--cascade=orphan``."""
    return not any(reference.get("controller") for reference in raw["metadata"].get("ownerReferences") or [])


def strays(pods: Iterable[dict[str, Any]]) -> tuple[PodKey, ...]:
    """Return the pods of deleted jobs that no Job controls: the operator has to delete them."""
    return tuple(
        PodKey(pod["metadata"]["name"], pod["metadata"]["uid"])
        for pod in pods
        if _is_orphan(pod) and pod["metadata"].get("deletionTimestamp") is None
    )


def _beside(status: dict[str, Any]) -> tuple[str, ...]:
    """Return the names of other containers that still run, such as a service mesh's."""
    return tuple(
        sorted(
            str(container.get("name"))
            for container in status.get("containerStatuses") or []
            if container.get("name") != TRAINER_CONTAINER and "running" in (container.get("state") or {})
        )
    )


def waiting_for_pod(messages: tuple[str, ...]) -> Cause | None:
    """Return why a Job creates no pod, from the messages of its ``FailedCreate`` events, the newest last."""
    return not_admitted("the trainer's pod", messages[-1], "nJobs or memoryLimitMb") if messages else None


def not_admitted(what: str, message: str, fields: str = "") -> Cause:
    """Return why the API server does not admit an object; lower values of *fields* save quota."""
    if "exceeded quota" in message or "failed quota" in message:
        way_out = f"; raise it, or lower {fields}" if fields else ""
        text = f"The namespace's quota does not admit {what}{way_out}: {short(message)}"
        return Cause(Reason.QUOTA_EXCEEDED, text)
    return Cause(Reason.FORBIDDEN, f"The API server does not admit {what}: {short(message)}")


def container_status(status: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the status of a container of a pod; empty if there is none."""
    found = (
        container for container in status.get("containerStatuses") or [] if container.get("name") == name
    )
    return next(found, {})


def _memory_limit(raw: dict[str, Any]) -> str:
    """Return the trainer's memory limit in words; empty if it has none."""
    limit = ((trainer_container(raw).get("resources") or {}).get("limits") or {}).get("memory")
    return f" of {limit}" if limit else ""


def _trouble(
    status: dict[str, Any], state: dict[str, Any], secrets: Mapping[str, str], limit: str
) -> Cause | None:
    """Return why a pod does not run, the most specific cause first."""
    return (
        _evicted(status)
        or _ended(state.get("terminated"), limit)
        or cannot_start(state.get("waiting"), secrets, "the trainer")
        or unscheduled(
            status, "the trainer", "lower spec.nJobs, spec.memoryLimitMb or spec.trainer.resources"
        )
    )


def _evicted(status: dict[str, Any]) -> Cause | None:
    disrupted = _condition(status, "DisruptionTarget")
    if status.get("reason") not in {"Evicted", "NodeLost", "Shutdown", "Terminated"} and not (
        disrupted and disrupted.get("status") == "True"
    ):
        return None
    detail = (disrupted or {}).get("message") or status.get("message") or "requested by its node"
    if _OWN_STORAGE.search(detail):
        return Cause(
            Reason.OUT_OF_STORAGE,
            f"The trainer's pod was evicted because it exceeded its storage limit: {short(detail)}; raise "
            "ephemeral-storage in spec.trainer.resources.limits, or use a smaller table",
        )
    return Cause(
        Reason.TRAINER_EVICTED,
        f"The trainer's pod was evicted, which does not count as a failure: {short(detail)}",
    )


def _ended(ended: dict[str, Any] | None, limit: str) -> Cause | None:
    if not ended or ended.get("exitCode") == 0:
        return None
    if ended.get("reason") == "OOMKilled":
        return Cause(
            Reason.OUT_OF_MEMORY,
            f"The trainer exceeded its memory limit{limit}; raise spec.memoryLimitMb or "
            "spec.trainer.resources.limits.memory, or lower spec.nJobs",
        )
    code = ended.get("exitCode")
    if code == EXIT_TERMINATED:
        return Cause(Reason.TRAINER_EVICTED, "The trainer was told to stop and saved its work")
    words = last_words(ended.get("message") or "")
    detail = f": {words}" if words else ""
    return Cause(Reason.TRAINER_CRASHED, f"The trainer ended with exit code {exit_words(code)}{detail}")


def last_words(message: str) -> str:
    """Return the text of a termination message, which is the tail of the log if the trainer was killed."""
    *_, last = message.strip().splitlines() or [""]
    try:
        line = json.loads(last)
    except (ValueError, RecursionError):
        # A kubelet keeps 2 KiB: of a line with a long traceback only the end, which names the error.
        return short(last.removesuffix('"}').rpartition(r"\n")[2])
    if not isinstance(line, dict):
        return short(last)
    words = [str(line[key]) for key in ("event", "message", "detail") if line.get(key)]
    if len(words) == 1 and line.get("traceback"):
        words += str(line["traceback"]).strip().splitlines()[-1:]
    return short(": ".join(words))


def exit_words(code: int | None) -> str:
    """Return an exit code, explained where it is that of a kill: a kubelet does not always name memory."""
    return f"{code} (killed, most often for exceeding its memory limit)" if code == EXIT_KILLED else str(code)


def cannot_start(waiting: dict[str, Any] | None, secrets: Mapping[str, str], who: str) -> Cause | None:
    """Return why a container cannot start; *who* names it in the message."""
    word, text = (waiting or {}).get("reason"), str((waiting or {}).get("message") or "")
    if word in _IMAGE_WORDS:
        return Cause(Reason.IMAGE_UNAVAILABLE, f"The image of {who} cannot be pulled: {short(text)}")
    missing = _MISSING_SECRET.search(text) if word in _CONFIG_WORDS else None
    if missing:
        name = missing.group(1)
        asked = f" ({secrets[name]})" if name in secrets else ""
        return Cause(Reason.SECRET_NOT_FOUND, f"Secret {name}{asked} does not exist; create it")
    if word in _CONFIG_WORDS:
        lower = text.lower()
        reason = (
            Reason.SECRET_NOT_FOUND
            if lower.startswith("secret ")
            else Reason.CONFIG_MAP_NOT_FOUND
            if lower.startswith("configmap ")
            else Reason.TRAINER_CRASHED
        )
        return Cause(reason, f"The container of {who} cannot be created: {short(text)}")
    return None


def unscheduled(status: dict[str, Any], who: str, way_out: str = "") -> Cause | None:
    """Return why no node can run a pod; *way_out* names what makes it smaller."""
    scheduled = _condition(status, "PodScheduled")
    if not scheduled or scheduled.get("status") != "False":
        return None
    text = str(scheduled.get("message") or "")
    missing = _MISSING_CLAIM.search(text)
    if missing:
        return _no_claim(missing.group(1))
    if scheduled.get("reason") != "Unschedulable":
        return None
    smaller = f"; {way_out}, or add nodes" if way_out and "Insufficient" in text else ""
    return Cause(Reason.UNSCHEDULABLE, f"No node can run the pod of {who}: {short(text)}{smaller}")


def _condition(status: dict[str, Any], kind: str) -> dict[str, Any] | None:
    return next(
        (condition for condition in status.get("conditions") or [] if condition.get("type") == kind), None
    )


def short(text: str) -> str:
    """Return *text* on one line, bounded."""
    return shorten(" ".join(str(text).split()), MAX_TEXT)
