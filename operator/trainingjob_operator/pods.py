"""The pods of trainer and Dask cluster, and why they do not run: a cause has one reason and one way out."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from trainingjob_api import ResolvedRun, shorten
from trainingjob_api.reasons import Cause, Reason
from trainingjob_operator.children import (
    DASK_COMPONENT_LABEL,
    TRAINER_CONTAINER,
    Child,
    PodKey,
    trainer_container,
)
from trainingjob_operator.dask_manifests import FOREGROUND_FINALIZER
from trainingjob_operator.facts import DaskSeen, PodSeen, Snapshot
from trainingjob_operator.job_view import read_time
from trainingjob_operator.manifests import (
    DATASET_CREDENTIALS,
    EXIT_TERMINATED,
    OUTPUT_CREDENTIALS,
    required_keys,
)

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
_DASK_ROLES = {"scheduler": "the Dask scheduler", "worker": "a Dask worker"}


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
    """Return the facts about a pod; *secrets* maps each Secret to the field that names it."""
    meta, status = raw["metadata"], raw.get("status") or {}
    state: dict[str, Any] = _container_status(status, TRAINER_CONTAINER).get("state") or {}
    ended = state.get("terminated")
    finished = status.get("phase") in {"Succeeded", "Failed"}
    limit = ((trainer_container(raw).get("resources") or {}).get("limits") or {}).get("memory")
    smaller = "lower spec.nJobs, spec.memoryLimitMb or spec.trainer.resources"
    others = (
        str(container.get("name"))
        for container in status.get("containerStatuses") or []
        if container.get("name") != TRAINER_CONTAINER and "running" in (container.get("state") or {})
    )
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
        # The most specific cause first.
        trouble=_evicted(status)
        or _ended(ended, limit)
        or _cannot_start(state.get("waiting"), secrets, "the trainer")
        or _unscheduled(status, "the trainer", smaller),
        orphan=_is_orphan(raw),
        deleting=meta.get("deletionTimestamp") is not None,
        other_containers=tuple(sorted(others)) if ended else (),
    )


def mounts_since(raw: dict[str, Any], now: datetime) -> float:
    """Return for how many seconds a pod has been mounting its volumes; 0 if it is not."""
    status = raw.get("status") or {}
    ready = _condition(status, "PodReadyToStartContainers").get("status") == "True"
    state = _container_status(status, TRAINER_CONTAINER).get("state") or {}
    word = (state.get("waiting") or {}).get("reason")
    placed = status.get("phase") == "Pending" and (raw.get("spec") or {}).get("nodeName")
    if not placed or ready or word not in {None, "ContainerCreating"}:
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
            keys = required_keys(uri)
            text = (
                f"The trainer's pod waits for Secret {secret.name} ({field}.credentialsSecretRef) with the "
                f"{'keys' if len(keys) > 1 else 'key'} {' and '.join(keys)}: {short(detail)}; create it or "
                "add what is missing"
            )
            return Cause(Reason.CREDENTIALS_MISSING, text)
    what = f"Volume {volume}" if volume else "A volume"
    return Cause(Reason.VOLUME_NOT_MOUNTED, f"{what} of the trainer's pod cannot be mounted: {short(detail)}")


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


def not_admitted(what: str, message: str, fields: str = "") -> Cause:
    """Return why the API server does not admit an object; lower values of *fields* save quota."""
    if "exceeded quota" in message or "failed quota" in message:
        way_out = f"; raise it, or lower {fields}" if fields else ""
        text = f"The namespace's quota does not admit {what}{way_out}: {short(message)}"
        return Cause(Reason.QUOTA_EXCEEDED, text)
    return Cause(Reason.FORBIDDEN, f"The API server does not admit {what}: {short(message)}")


def _container_status(status: dict[str, Any], name: str) -> dict[str, Any]:
    containers = status.get("containerStatuses") or []
    return next((container for container in containers if container.get("name") == name), {})


def _evicted(status: dict[str, Any]) -> Cause | None:
    disrupted = _condition(status, "DisruptionTarget")
    left = status.get("reason") in {"Evicted", "NodeLost", "Shutdown", "Terminated"}
    if not left and disrupted.get("status") != "True":
        return None
    detail = disrupted.get("message") or status.get("message") or "requested by its node"
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


def _ended(ended: dict[str, Any] | None, limit: str | None) -> Cause | None:
    if not ended or ended.get("exitCode") == 0:
        return None
    if ended.get("reason") == "OOMKilled":
        words = f" of {limit}" if limit else ""
        return Cause(
            Reason.OUT_OF_MEMORY,
            f"The trainer exceeded its memory limit{words}; raise spec.memoryLimitMb or "
            "spec.trainer.resources.limits.memory, or lower spec.nJobs",
        )
    if ended.get("exitCode") == EXIT_TERMINATED:
        return Cause(Reason.TRAINER_EVICTED, "The trainer was told to stop and saved its work")
    return Cause(Reason.TRAINER_CRASHED, f"The trainer ended with exit code {_exit_words(ended)}")


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


def _exit_words(ended: dict[str, Any], what_follows: str = "") -> str:
    """Return a container's exit code and its last words; a kubelet does not always name memory for a kill."""
    code, words = ended.get("exitCode"), last_words(ended.get("message") or "")
    killed = " (killed, most often for exceeding its memory limit)" if code == EXIT_KILLED else ""
    return f"{code}{killed}{what_follows}" + (f": {words}" if words else "")


def _cannot_start(waiting: dict[str, Any] | None, secrets: Mapping[str, str], who: str) -> Cause | None:
    """Return why a container cannot start; *who* names it in the message."""
    word, text = (waiting or {}).get("reason"), str((waiting or {}).get("message") or "")
    if word in _IMAGE_WORDS:
        return Cause(Reason.IMAGE_UNAVAILABLE, f"The image of {who} cannot be pulled: {short(text)}")
    missing = _MISSING_SECRET.search(text) if word in _CONFIG_WORDS else None
    if missing:
        name = missing.group(1)
        asked = f" ({secrets[name]})" if name in secrets else ""
        return Cause(Reason.SECRET_NOT_FOUND, f"Secret {name}{asked} does not exist; create it")
    if word not in _CONFIG_WORDS:
        return None
    kind, space, _ = text.lower().partition(" ")
    kinds = {"secret ": Reason.SECRET_NOT_FOUND, "configmap ": Reason.CONFIG_MAP_NOT_FOUND}
    reason = kinds.get(kind + space, Reason.TRAINER_CRASHED)
    return Cause(reason, f"The container of {who} cannot be created: {short(text)}")


def _unscheduled(status: dict[str, Any], who: str, way_out: str = "") -> Cause | None:
    """Return why no node can run a pod; *way_out* names what makes it smaller."""
    scheduled = _condition(status, "PodScheduled")
    if scheduled.get("status") != "False":
        return None
    text = str(scheduled.get("message") or "")
    missing = _MISSING_CLAIM.search(text)
    if missing:
        return _no_claim(missing.group(1))
    if scheduled.get("reason") != "Unschedulable":
        return None
    smaller = f"; {way_out}, or add nodes" if way_out and "Insufficient" in text else ""
    return Cause(Reason.UNSCHEDULABLE, f"No node can run the pod of {who}: {short(text)}{smaller}")


def _condition(status: dict[str, Any], kind: str) -> dict[str, Any]:
    conditions = status.get("conditions") or []
    return next((condition for condition in conditions if condition.get("type") == kind), {})


def no_dask(refusal: str | None) -> Cause:
    """Return why DaskClusters cannot be read: by the API server's *refusal*, or the kind is not installed."""
    if refusal is not None:
        return Cause(Reason.FORBIDDEN, f"The operator may not list DaskClusters: {short(refusal)}")
    group = Child.DASK_CLUSTER.api_version.partition("/")[0]
    text = f"DaskClusters ({group}) are not installed; install the Dask operator, or use parallelMode: local"
    return Cause(Reason.DASK_UNAVAILABLE, text)


def read_dask(
    snapshot: Snapshot,
    owned: Mapping[Child, dict[str, Any]],
    secrets: Mapping[str, str],
    foreign: Cause | None,
) -> DaskSeen | None:
    """Return the facts about the Dask cluster, ``None`` if its objects were not read.

    *secrets* has the field that asks for each Secret; *foreign* says why the DaskCluster's name is taken. The
    cluster's own status is not read: its phase says that a Service exists, and not always that.
    """
    if Child.DASK_CLUSTER not in snapshot.looked_for:
        return None
    raw = owned.get(Child.DASK_CLUSTER)
    if raw is None:
        return DaskSeen(impossible=snapshot.dask_problem or foreign)
    meta, deployments = raw["metadata"], snapshot.dask_deployments
    # What may not be read counts as present.
    made = set(_DASK_ROLES) if deployments is None else {_component(deployment) for deployment in deployments}
    return DaskSeen(
        present=True,
        deleting=meta.get("deletionTimestamp") is not None,
        changed_at=max(_changes(raw, deployments or ()), default=None),
        has_finalizer=any(finalizer != FOREGROUND_FINALIZER for finalizer in meta.get("finalizers") or ()),
        scheduler="scheduler" in made,
        workers="worker" in made,
        trouble=next(_dask_troubles(snapshot, secrets), None),
    )


def _changes(cluster: dict[str, Any], deployments: tuple[dict[str, Any], ...]) -> Iterator[datetime]:
    """Yield when cluster and Deployments were created, and when the cluster was changed."""
    texts = [raw["metadata"].get("creationTimestamp") for raw in (cluster, *deployments)]
    texts += [entry.get("time") for entry in cluster["metadata"].get("managedFields") or ()]
    yield from (time for text in texts if (time := read_time(text)) is not None)


def _dask_troubles(snapshot: Snapshot, secrets: Mapping[str, str]) -> Iterator[Cause]:
    """Yield causes, the scheduler's first: no worker gets far without it."""
    for role, who in _DASK_ROLES.items():
        for deployment in snapshot.dask_deployments or ():
            if _component(deployment) == role:
                failure = _condition(deployment.get("status") or {}, "ReplicaFailure")
                if failure.get("status") == "True":
                    fields = "dask.workers, memoryLimitMb or dask.workerResources"
                    yield not_admitted(f"the pod of {who}", str(failure.get("message") or ""), fields)
        for pod in snapshot.dask_pods:
            if _component(pod) == role:
                yield from _not_running(pod.get("status") or {}, role, who, secrets)


def _not_running(status: dict[str, Any], role: str, who: str, secrets: Mapping[str, str]) -> Iterator[Cause]:
    container = _container_status(status, role)
    state = container.get("state") or {}
    waiting, ended = state.get("waiting"), state.get("terminated")
    last = ended or (container.get("lastState") or {}).get("terminated")
    found = _cannot_start(waiting, secrets, who) or _unscheduled(status, who)
    if found is not None:
        yield found
    elif last and not container.get("started"):
        subject = who[0].upper() + who[1:]
        if last.get("reason") == "OOMKilled":
            field = "memoryLimitMb" if role == "worker" else "dask.schedulerResources.limits.memory"
            yield Cause(Reason.OUT_OF_MEMORY, f"{subject} exceeded its memory limit; raise {field}")
        elif last.get("exitCode"):
            words = _exit_words(last, " and is restarted")
            yield Cause(Reason.DASK_CRASHED, f"{subject} ended with exit code {words}")


def _component(raw: dict[str, Any]) -> str:
    return str((raw["metadata"].get("labels") or {}).get(DASK_COMPONENT_LABEL) or "")


def short(text: str) -> str:
    """Return *text* on one line, bounded."""
    return shorten(" ".join(str(text).split()), MAX_TEXT)
