"""Parts that the pods of trainer, scheduler and workers share: security, placement, volumes, resources."""

from decimal import Decimal
from typing import Any

from trainingjob_api import ParallelMode, ResolvedRun, Resources, Toleration, Trainer
from trainingjob_operator.settings import Settings

Volume = tuple[dict[str, Any], dict[str, Any]]
"""A volume and its mount."""
HEADROOM_MB = 1536
"""MiB for parent, search process, Dask's scheduler and the table, on top of the workers."""
DASK_HEADROOM_MB = 768
"""MiB for nanny and fork server of a worker's pod, on top of the worker."""
WORK_SIZE = "20Gi"
"""Limit of the scratch volume: the table, the journal, the artifacts."""
_UNITS = {
    "m": Decimal("0.001"),
    **{unit: Decimal(1000) ** power for power, unit in enumerate(("k", "M", "G", "T", "P", "E"), 1)},
    **{unit: Decimal(1024) ** power for power, unit in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)},
}
CONTAINER_SECURITY: dict[str, Any] = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
}


def pod_security(settings: Settings) -> dict[str, Any]:
    """Return the security context of a pod."""
    context: dict[str, Any] = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    if settings.run_as_user:
        user = settings.run_as_user
        context |= {"runAsUser": user, "runAsGroup": user}
        # A claim is writable by its group only, and a Secret readable.
        context |= {"fsGroup": user, "fsGroupChangePolicy": "OnRootMismatch"}
    return context


def placement(
    trainer: Trainer, node_selector: dict[str, str] | None, tolerations: tuple[Toleration, ...] | None
) -> dict[str, Any]:
    """Return node selector, tolerations, priority and pull secrets of a pod, as far as the spec has any."""
    found: dict[str, Any] = {}
    if node_selector:
        found["nodeSelector"] = dict(node_selector)
    if tolerations:
        found["tolerations"] = [
            toleration.model_dump(mode="json", by_alias=True, exclude_none=True) for toleration in tolerations
        ]
    if trainer.priority_class_name:
        found["priorityClassName"] = trainer.priority_class_name
    if trainer.image_pull_secrets:
        found["imagePullSecrets"] = [{"name": secret.name} for secret in trainer.image_pull_secrets]
    return found


def environment(values: dict[str, str]) -> list[dict[str, Any]]:
    """Return *values* as the variables of a container whose only writable home is ``/tmp``."""
    values = values | {"HOME": "/tmp", "MPLCONFIGDIR": "/tmp"}  # noqa: S108  # a volume of the pod's own
    return [{"name": name, "value": value} for name, value in sorted(values.items())]


def pull_policy(settings: Settings) -> dict[str, str]:
    """Return the pull policy of a container; unset leaves it to Kubernetes."""
    return {"imagePullPolicy": settings.image_pull_policy} if settings.image_pull_policy else {}


def scratch(name: str, path: str, size: str) -> Volume:
    """Return an empty volume with its mount."""
    return volume(name, path, {"emptyDir": {"sizeLimit": size}})


def volume(name: str, path: str, source: dict[str, Any], *, read_only: bool = False) -> Volume:
    """Return a volume with its mount."""
    mount = {"name": name, "mountPath": path} | ({"readOnly": True} if read_only else {})
    return {"name": name} | source, mount


def trainer_resources(run: ResolvedRun, settings: Settings) -> dict[str, Any]:
    """Return requests and limits; values of ``spec.trainer.resources`` win, key by key.

    Each worker is single-threaded and gets one core; parent and search share one more. A worker is killed at
    ``memoryLimitMb``; the container's limit leaves headroom above all workers, so that the kernel never kills
    the wrong process. Half of both is requested: workers seldom use all they may, and a first job has to fit
    a machine of two cores beside what already runs there.
    """
    local = run.automl_enabled and run.parallel_mode is not ParallelMode.DISTRIBUTED
    workers = (run.n_jobs or settings.default_workers) if local else 1
    memory = workers * run.memory_limit_mb + HEADROOM_MB
    return _merged(
        run.trainer.resources,
        limits={"cpu": str(workers + 1), "memory": f"{memory}Mi"},
        requests={"cpu": f"{workers * 500}m", "memory": f"{memory // 2}Mi"},
    )


def scheduler_resources(run: ResolvedRun) -> dict[str, Any]:
    """Return the resources of a Dask scheduler; the table, at most 1 GiB, passes through it."""
    return _merged(
        run.dask.scheduler_resources,
        limits={"cpu": "1", "memory": "3Gi"},
        requests={"cpu": "250m", "memory": "512Mi"},
    )


def worker_resources(run: ResolvedRun) -> dict[str, Any]:
    """Return the resources of a Dask worker: one core, and a second one for a quick start."""
    memory = run.memory_limit_mb + DASK_HEADROOM_MB
    return _merged(
        run.dask.worker_resources,
        limits={"cpu": "2", "memory": f"{memory}Mi"},
        requests={"cpu": "1", "memory": f"{memory // 2}Mi"},
    )


def _merged(asked: Resources | None, *, limits: dict[str, str], requests: dict[str, str]) -> dict[str, Any]:
    """Return the spec's values over the defaults, key by key.

    A lone limit is also the request, as in Kubernetes. A lone request raises the limit only if it is above
    it: a lower limit than the workers need would kill them.
    """
    limits = limits | dict((asked and asked.limits) or {})
    requests = requests | dict((asked and asked.requests) or {})
    for name in ("cpu", "memory"):
        limited = asked is not None and name in (asked.limits or {})
        requested = asked is not None and name in (asked.requests or {})
        if limited and not requested:
            requests[name] = limits[name]
        elif requested and not limited and amount(requests[name]) > amount(limits[name]):
            limits[name] = requests[name]
    return {"requests": requests, "limits": limits}


def amount(quantity: str) -> Decimal:
    """Return a quantity such as ``500m`` or ``4Gi`` in cores or bytes."""
    number = quantity.rstrip("mkKMGTPEi")
    return Decimal(number) * _UNITS.get(quantity[len(number) :], Decimal(1))
