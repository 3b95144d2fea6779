"""The DaskCluster: a scheduler and workers from the trainer's image, for one job alone."""

from typing import Any

from trainingjob_operator.desired.certificates import PORT, scheduler_address, tls_environment, tls_volume
from trainingjob_operator.desired.parts import CONTAINER_SECURITY, placement, pod_security, scratch
from trainingjob_operator.desired.resources import scheduler_resources, worker_resources
from trainingjob_operator.names import (
    DASK_CLUSTER_LABEL,
    DASK_COMPONENT_LABEL,
    DaskPart,
    Owner,
    dask_metadata,
    dask_name,
)
from trainingjob_operator.resolution import Plan
from trainingjob_operator.settings import Settings

__all__ = ["SCHEDULER", "WORKER", "build_dask_cluster"]

SCHEDULER = "scheduler"
WORKER = "worker"
"""Names of the containers, and Dask's names of its components."""

COMM = "tcp-comm"
"""The scheduler's port by name: the Dask operator's definition takes no number where names are possible."""
DRAIN_SECONDS = 20
"""How long a worker that is told to go may finish what it computes."""
WORKER_GRACE_SECONDS = DRAIN_SECONDS + 10
SCHEDULER_GRACE_SECONDS = 10
SCHEDULER_TMP = "256Mi"
WORKER_TMP = "8Gi"
"""The table, which workers map from there, and what pipelines cache."""
LONGEST_START_SECONDS = 3600
"""No job waits longer for its cluster."""


def build_dask_cluster(owner: Owner, plan: Plan, settings: Settings) -> dict[str, Any]:
    """Return the DaskCluster.

    The finalizer makes every deletion one in the foreground: scheduler and workers go first, and even
    while the Dask operator is down, which has a finalizer of its own on the object.
    """
    name = dask_name(owner)
    run = plan.run
    return {
        "apiVersion": DaskPart.CLUSTER.api_version,
        "kind": DaskPart.CLUSTER.kind,
        "metadata": dask_metadata(owner) | {"finalizers": ["foregroundDeletion"]},
        "spec": {
            "scheduler": {
                "spec": _pod(owner, plan, settings, _scheduler(plan, settings)),
                "service": {
                    "type": "ClusterIP",
                    "selector": {DASK_CLUSTER_LABEL: name, DASK_COMPONENT_LABEL: SCHEDULER},
                    "ports": [{"name": COMM, "protocol": "TCP", "port": PORT, "targetPort": COMM}],
                },
            },
            "worker": {
                "replicas": run.dask.workers,
                "spec": _pod(owner, plan, settings, _worker(owner, plan, settings)),
            },
        },
    }


def _pod(owner: Owner, plan: Plan, settings: Settings, container: dict[str, Any]) -> dict[str, Any]:
    dask, name = plan.run.dask, container["name"]
    size = SCHEDULER_TMP if name == SCHEDULER else WORKER_TMP
    volumes = (scratch("tmp", "/tmp", size), tls_volume(owner, name, optional=False))  # noqa: S108
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": SCHEDULER_GRACE_SECONDS
        if name == SCHEDULER
        else WORKER_GRACE_SECONDS,
        "securityContext": pod_security(settings),
        "containers": [container | {"volumeMounts": [mount for _, mount in volumes]}],
        "volumes": [volume for volume, _ in volumes],
        **placement(plan.run.trainer, dask.node_selector, dask.tolerations),
    }


def _scheduler(plan: Plan, settings: Settings) -> dict[str, Any]:
    command = ["trainingjob", "scheduler", "--no-scheduler-file", "--host", "0.0.0.0", "--port", str(PORT)]  # noqa: S104  # its pod's own
    # Asked by a connection, not by a command: a Python that imports Dask takes a second of processor time,
    # and everybody would wait for it. A scheduler that hangs is the trainer's business, which leaves it.
    probe = {
        "tcpSocket": {"port": COMM},
        "periodSeconds": 1,
        "timeoutSeconds": 3,
        "failureThreshold": LONGEST_START_SECONDS,
    }
    return _container(SCHEDULER, command, plan, settings, {}) | {
        "ports": [{"name": COMM, "containerPort": PORT, "protocol": "TCP"}],
        "startupProbe": probe,
        "resources": scheduler_resources(plan.run),
    }


def _worker(owner: Owner, plan: Plan, settings: Settings) -> dict[str, Any]:
    run = plan.run
    command = ["trainingjob", "worker", "--memory-limit-mb", str(run.memory_limit_mb)]
    command += ["--drain-seconds", str(DRAIN_SECONDS)]
    # Only at its start: a check takes a second of the processor that the worker needs, and a worker that
    # loses its scheduler ends by itself.
    period = 10
    probe = {
        "exec": {"command": ["trainingjob", "worker", "--check"]},
        "initialDelaySeconds": period,
        "periodSeconds": period,
        "timeoutSeconds": period,
        "failureThreshold": LONGEST_START_SECONDS // period,
    }
    # Named here, so that the Dask operator does not name one without TLS.
    address = {"DASK_SCHEDULER_ADDRESS": scheduler_address(owner)}
    return _container(WORKER, command, plan, settings, address) | {
        "startupProbe": probe,
        "resources": worker_resources(run),
    }


def _container(
    name: str, command: list[str], plan: Plan, settings: Settings, environment: dict[str, str]
) -> dict[str, Any]:
    values = environment | tls_environment("scheduler" if name == SCHEDULER else "worker")
    values |= {"HOME": "/tmp", "MPLCONFIGDIR": "/tmp"}  # noqa: S108  # a volume of the pod's own
    container: dict[str, Any] = {
        "name": name,
        "image": plan.image,
        "command": command,
        "env": [{"name": key, "value": value} for key, value in sorted(values.items())],
        "securityContext": CONTAINER_SECURITY,
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    if settings.image_pull_policy:
        container["imagePullPolicy"] = settings.image_pull_policy
    return container
