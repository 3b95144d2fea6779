"""Pods and what is wrong with them: each cause has one reason and one way out."""

import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from trainingjob_api import Reason, ResolvedRun
from trainingjob_api.text import shorten
from trainingjob_operator.desired.pod import (
    CONTAINER,
    DATASET_CREDENTIALS,
    OUTPUT_CREDENTIALS,
    REQUIRED_KEYS,
    trainer_container,
)
from trainingjob_operator.names import PodKey
from trainingjob_operator.observe.observed import PodSeen, Trouble
from trainingjob_operator.subject import read_time

__all__ = [
    "cannot_mount",
    "cannot_start",
    "container_status",
    "exit_words",
    "is_orphan",
    "mounts_since",
    "read_pod",
    "secrets_of",
    "short",
    "strays",
    "unscheduled",
    "waiting_for_pod",
]

MAX_TEXT = 400
EXIT_KILLED = 137
EXIT_TERMINATED = 143
_IMAGE_WORDS = frozenset(
    {"ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError"}
)
_CONFIG_WORDS = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
_MISSING_SECRET = re.compile(r'secret "([^"]+)" not found', re.IGNORECASE)
_OWN_STORAGE = re.compile(r"exceed(s|ed) (the|its) (total |local ephemeral storage )?limit")
"""Of an eviction for what the pod itself has written; a node that is full says otherwise."""
_VOLUME = re.compile(r'for volume "([^"]+)" : (.*)', re.DOTALL)
_MISSING_KEY = "non-existent secret key"
_MISSING_CLAIM = re.compile(r'persistentvolumeclaim "([^"]+)" (?:not found|is being deleted)')


def secrets_of(run: ResolvedRun | None) -> dict[str, str]:
    """Return the Secrets that a run names, each with the field or fields of the spec that do."""
    if run is None:
        return {}
    named = [
        ("spec.dataset.credentialsSecretRef", run.dataset.credentials_secret_ref),
        ("spec.output.credentialsSecretRef", run.output.credentials_secret_ref),
        *(("spec.trainer.imagePullSecrets", one) for one in run.trainer.image_pull_secrets or ()),
    ]
    found: dict[str, str] = {}
    for field, reference in named:
        if reference is not None:
            before = found.get(reference.name)
            found[reference.name] = f"{before} and {field}" if before else field
    return found


def read_pod(raw: dict[str, Any], secrets: Mapping[str, str]) -> PodSeen:
    """Return what matters of a pod; *secrets* says which field asks for which Secret."""
    meta, status = raw["metadata"], raw.get("status") or {}
    state: dict[str, Any] = container_status(status, CONTAINER).get("state") or {}
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
        orphan=is_orphan(raw),
        going=meta.get("deletionTimestamp") is not None,
        beside=_beside(status) if ended else (),
    )


def mounts_since(raw: dict[str, Any], now: datetime) -> float:
    """Return for how many seconds a pod has been mounting its volumes; 0 if it does not."""
    status = raw.get("status") or {}
    ready = _condition(status, "PodReadyToStartContainers") or {}
    word = ((container_status(status, CONTAINER).get("state") or {}).get("waiting") or {}).get("reason")
    placed = status.get("phase") == "Pending" and (raw.get("spec") or {}).get("nodeName")
    if not placed or ready.get("status") == "True" or word not in {None, "ContainerCreating"}:
        return 0.0
    since = read_time(status.get("startTime")) or read_time(raw["metadata"].get("creationTimestamp"))
    return (now - since).total_seconds() if since is not None else 0.0


def cannot_mount(messages: tuple[str, ...], run: ResolvedRun | None) -> Trouble | None:
    """Return why the volumes of a pod cannot be mounted, from its events, the newest last."""
    if not messages:
        return None
    # That volumes are still waited for comes in between, and says less.
    found = next((match for message in reversed(messages) if (match := _VOLUME.search(message))), None)
    volume, detail = found.groups() if found else ("", messages[-1])
    claim = _MISSING_CLAIM.search(detail)
    if claim:
        return _no_claim(claim.group(1))
    if run is not None and (_MISSING_SECRET.search(detail) or _MISSING_KEY in detail):
        asked = {
            DATASET_CREDENTIALS: ("spec.dataset.credentialsSecretRef", run.dataset.credentials_secret_ref),
            OUTPUT_CREDENTIALS: ("spec.output.credentialsSecretRef", run.output.credentials_secret_ref),
        }
        field, secret = asked.get(volume, ("", None))
        if secret is not None:
            return Trouble(
                Reason.CREDENTIALS_MISSING,
                f"the trainer's pod waits for Secret {secret.name}, which {field} names, with the keys "
                f"{' and '.join(REQUIRED_KEYS)} ({short(detail)}); create it or add what is missing",
            )
    what = f"volume {volume}" if volume else "a volume"
    return Trouble(Reason.VOLUME_NOT_MOUNTED, f"{what} of the trainer's pod is not mounted: {short(detail)}")


def _no_claim(name: str) -> Trouble:
    return Trouble(Reason.CLAIM_NOT_FOUND, f"there is no PersistentVolumeClaim {name}; create it")


def is_orphan(raw: dict[str, Any]) -> bool:
    """Return whether no Job controls a pod: its Job was deleted with ``--cascade=orphan``."""
    return not any(reference.get("controller") for reference in raw["metadata"].get("ownerReferences") or [])


def strays(pods: Iterable[dict[str, Any]]) -> tuple[PodKey, ...]:
    """Return those of *pods*, whose jobs are gone, that nothing else removes."""
    return tuple(
        PodKey(pod["metadata"]["name"], pod["metadata"]["uid"])
        for pod in pods
        if is_orphan(pod) and pod["metadata"].get("deletionTimestamp") is None
    )


def _beside(status: dict[str, Any]) -> tuple[str, ...]:
    """Return the containers that run beside the trainer and have not ended (a mesh, a policy adds them)."""
    others = (
        container for container in status.get("containerStatuses") or [] if container.get("name") != CONTAINER
    )
    return tuple(
        sorted(
            str(container.get("name")) for container in others if "running" in (container.get("state") or {})
        )
    )


def waiting_for_pod(messages: tuple[str, ...]) -> Trouble | None:
    """Return why a Job makes no pod, from its ``FailedCreate`` events, the newest last."""
    if not messages:
        return None
    text = messages[-1]
    if "exceeded quota" in text or "failed quota" in text:
        return Trouble(
            Reason.QUOTA_EXCEEDED,
            f"the quota of the namespace does not admit the trainer's pod; raise it, or lower nJobs or "
            f"memoryLimitMb ({short(text)})",
        )
    return Trouble(Reason.FORBIDDEN, f"the trainer's pod is not admitted: {short(text)}")


def container_status(status: dict[str, Any], name: str) -> dict[str, Any]:
    """Return what a pod's status says of a container."""
    found = (one for one in status.get("containerStatuses") or [] if one.get("name") == name)
    return next(found, {})


def _memory_limit(raw: dict[str, Any]) -> str:
    """Return the trainer's limit in words, empty if it has none."""
    limit = ((trainer_container(raw).get("resources") or {}).get("limits") or {}).get("memory")
    return f" (limit {limit})" if limit else ""


def _trouble(
    status: dict[str, Any], state: dict[str, Any], secrets: Mapping[str, str], limit: str
) -> Trouble | None:
    """Return the cause, the most telling one first."""
    return (
        _evicted(status)
        or _ended(state.get("terminated"), limit)
        or cannot_start(state.get("waiting"), secrets, "the trainer")
        or unscheduled(
            status, "the trainer", "lower spec.nJobs, spec.memoryLimitMb or spec.trainer.resources"
        )
    )


def _evicted(status: dict[str, Any]) -> Trouble | None:
    disrupted = _condition(status, "DisruptionTarget")
    if status.get("reason") not in {"Evicted", "NodeLost", "Shutdown", "Terminated"} and not (
        disrupted and disrupted.get("status") == "True"
    ):
        return None
    detail = (disrupted or {}).get("message") or status.get("message") or "its node asked it to go"
    if _OWN_STORAGE.search(detail):
        return Trouble(
            Reason.OUT_OF_STORAGE,
            f"the trainer's pod was evicted for its own storage: {short(detail)}; raise ephemeral-storage in "
            "spec.trainer.resources.limits, or make the table smaller",
        )
    return Trouble(
        Reason.TRAINER_EVICTED,
        f"the trainer's pod was evicted, which is not counted as a failure: {short(detail)}",
    )


def _ended(ended: dict[str, Any] | None, limit: str) -> Trouble | None:
    if not ended or ended.get("exitCode") == 0:
        return None
    if ended.get("reason") == "OOMKilled":
        return Trouble(
            Reason.OUT_OF_MEMORY,
            f"the trainer was killed for its memory{limit}; raise spec.memoryLimitMb or "
            "spec.trainer.resources.limits.memory, or lower spec.nJobs",
        )
    code = ended.get("exitCode")
    if code == EXIT_TERMINATED:
        return Trouble(Reason.TRAINER_EVICTED, "the trainer was asked to stop and saved its work")
    words = _last_words(ended.get("message") or "")
    detail = f": {words}" if words else ""
    return Trouble(Reason.TRAINER_CRASHED, f"the trainer ended with exit status {exit_words(code)}{detail}")


def _last_words(message: str) -> str:
    """Return what a termination message says; of a trainer that was killed it is the tail of its log."""
    *_, last = message.strip().splitlines() or [""]
    try:
        line = json.loads(last)
    except (ValueError, RecursionError):
        return short(last)
    if not isinstance(line, dict):
        return short(last)
    return short(": ".join(str(line[key]) for key in ("event", "message", "detail") if line.get(key)))


def exit_words(code: int | None) -> str:
    """Return an exit status in words; a kill is not always said to be one for memory."""
    return f"{code} (it was killed, most often for its memory)" if code == EXIT_KILLED else str(code)


def cannot_start(waiting: dict[str, Any] | None, secrets: Mapping[str, str], who: str) -> Trouble | None:
    """Return why a container cannot start; *who* it is, in words."""
    word, text = (waiting or {}).get("reason"), str((waiting or {}).get("message") or "")
    if word in _IMAGE_WORDS:
        return Trouble(Reason.IMAGE_UNAVAILABLE, f"{who}'s image cannot be pulled: {short(text)}")
    missing = _MISSING_SECRET.search(text) if word in _CONFIG_WORDS else None
    if missing:
        name = missing.group(1)
        asked = f", which {secrets[name]} names" if name in secrets else ""
        return Trouble(Reason.SECRET_NOT_FOUND, f"there is no Secret {name}{asked}; create it")
    if word in _CONFIG_WORDS:
        lower = text.lower()
        reason = (
            Reason.SECRET_NOT_FOUND
            if lower.startswith("secret ")
            else Reason.CONFIG_MAP_NOT_FOUND
            if lower.startswith("configmap ")
            else Reason.TRAINER_CRASHED
        )
        return Trouble(reason, f"{who}'s container cannot be made: {short(text)}")
    return None


def unscheduled(status: dict[str, Any], who: str, way_out: str = "") -> Trouble | None:
    """Return why no node takes a pod; *who* it is of, and what makes it smaller, in words."""
    scheduled = _condition(status, "PodScheduled")
    if not scheduled or scheduled.get("status") != "False":
        return None
    text = str(scheduled.get("message") or "")
    missing = _MISSING_CLAIM.search(text)
    if missing:
        return _no_claim(missing.group(1))
    if scheduled.get("reason") != "Unschedulable":
        return None
    return Trouble(Reason.UNSCHEDULABLE, f"no node takes {who}'s pod: {short(text)}{_smaller(text, way_out)}")


def _smaller(text: str, way_out: str) -> str:
    """Return which fields make a pod smaller, where it is its size that no node has left."""
    return f"; {way_out}, or add nodes" if way_out and "Insufficient" in text else ""


def _condition(status: dict[str, Any], kind: str) -> dict[str, Any] | None:
    return next((one for one in status.get("conditions") or [] if one.get("type") == kind), None)


def short(text: str) -> str:
    """Return *text* on one line, bounded."""
    return shorten(" ".join(str(text).split()), MAX_TEXT)
