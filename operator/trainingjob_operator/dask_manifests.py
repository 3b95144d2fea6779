"""A job's Dask cluster: certificates, NetworkPolicy, and a scheduler and workers from the trainer's image."""

import base64
from datetime import timedelta
from typing import Any, Final

from trainingjob_certificates import Role, make
from trainingjob_operator.children import (
    DASK_CLUSTER_LABEL,
    DASK_COMPONENT_LABEL,
    UID_LABEL,
    Child,
    Owner,
    header,
    name_of,
)
from trainingjob_operator.job_view import Plan
from trainingjob_operator.pod_parts import (
    CONTAINER_SECURITY,
    Volume,
    environment,
    placement,
    pod_security,
    pull_policy,
    scheduler_resources,
    scratch,
    volume,
    worker_resources,
)
from trainingjob_operator.settings import Settings

PORT = 8786
FOREGROUND_FINALIZER = "foregroundDeletion"
TLS_DIR = "/var/run/trainingjob/dask-tls"
MARGIN = timedelta(hours=1)
"""A cluster may be made some time after its certificates, and clocks differ."""
_TLS_PREFIX = "DASK_DISTRIBUTED__COMM__TLS__"
_DNS = 53

SCHEDULER: Final = "scheduler"
WORKER: Final = "worker"
"""Names of the containers, and Dask's names of its components."""
COMM = "tcp-comm"
"""The scheduler's port by name: the Dask operator's definition takes no number where names are possible."""
DRAIN_SECONDS = 20
"""Seconds that a worker may finish its task after SIGTERM."""
_GRACE_SECONDS = {SCHEDULER: 10, WORKER: DRAIN_SECONDS + 10}
_TMP_SIZE = {SCHEDULER: "256Mi", WORKER: "8Gi"}
"""A worker memory-maps the table from there, and caches what pipelines do."""
LONGEST_START_SECONDS = 3600
"""No job waits longer for its cluster."""


def build_certificates(owner: Owner, plan: Plan, _: Settings) -> dict[str, Any]:
    """Return the Secret with ``ca.crt`` and each role's ``<role>.crt`` and ``<role>.key``.

    The authority's key is dropped: no other certificate can ever be signed. The certificates outlast
    the job's deadline; a resume gets new ones.
    """
    valid = timedelta(seconds=plan.run.active_deadline_seconds) + MARGIN
    files = make(valid=valid, hosts=_service_names(owner)).files
    return header(owner, Child.DASK_CERTIFICATES) | {
        "immutable": True,
        "type": "Opaque",
        "data": {name: base64.b64encode(content).decode() for name, content in files.items()},
    }


def build_network_policy(owner: Owner, _plan: Plan, _: Settings) -> dict[str, Any]:
    """Return the policy: the job's pods may talk to scheduler and workers, and these to each other and DNS.

    Any program that reaches a scheduler or worker can run code on it. Workers listen on ports that the
    system chooses, so the policy names none.
    """
    job = {UID_LABEL: owner.uid}
    roles = {"key": DASK_COMPONENT_LABEL, "operator": "In", "values": [SCHEDULER, WORKER]}
    dask = {"matchLabels": job, "matchExpressions": [roles]}
    return header(owner, Child.DASK_POLICY) | {
        "spec": {
            "podSelector": dask,
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": [{"podSelector": {"matchLabels": job}}]}],
            "egress": [
                {"to": [{"podSelector": dask}]},
                {"ports": [{"protocol": protocol, "port": _DNS} for protocol in ("UDP", "TCP")]},
            ],
        }
    }


def _service_names(owner: Owner) -> tuple[str, ...]:
    """Return the names of the Service that the Dask operator makes for the scheduler."""
    name = f"{name_of(owner, Child.DASK_CLUSTER)}-scheduler"
    return name, f"{name}.{owner.namespace}", f"{name}.{owner.namespace}.svc"


def scheduler_address(owner: Owner) -> str:
    """Return the scheduler's address within the cluster."""
    return f"tls://{_service_names(owner)[-1]}:{PORT}"


def tls_environment(role: Role) -> dict[str, str]:
    """Return the variables that point a role to its certificates.

    Dask's ``require-encryption`` is not among them: it would also apply to the trainer's own local worker,
    which no other process can reach. A missing file is an error to every role.
    """
    own = f"{_TLS_PREFIX}{role.upper()}__"
    return {
        f"{_TLS_PREFIX}CA_FILE": f"{TLS_DIR}/ca.crt",
        f"{own}CERT": f"{TLS_DIR}/{role}.crt",
        f"{own}KEY": f"{TLS_DIR}/{role}.key",
    }


def tls_volume(owner: Owner, role: Role, *, optional: bool) -> Volume:
    """Return the volume with the authority's certificate and the role's own pair, with its mount.

    *optional* lets the pod start without it: the trainer runs locally then, the other roles cannot.
    """
    names = ("ca.crt", f"{role}.crt", f"{role}.key")
    secret: dict[str, Any] = {
        "secretName": name_of(owner, Child.DASK_CERTIFICATES),
        "optional": optional,
        "defaultMode": 0o440,
        "items": [{"key": name, "path": name} for name in names],
    }
    return volume("dask-tls", TLS_DIR, {"secret": secret}, read_only=True)


def build_dask_cluster(owner: Owner, plan: Plan, settings: Settings) -> dict[str, Any]:
    """Return the DaskCluster.

    The finalizer makes every deletion a foreground deletion: scheduler and workers go first, even while the
    Dask operator, which has a finalizer of its own on the object, is down.
    """
    found = header(owner, Child.DASK_CLUSTER)
    name = found["metadata"]["name"]
    return found | {
        "metadata": found["metadata"] | {"finalizers": [FOREGROUND_FINALIZER]},
        "spec": {
            "scheduler": {
                "spec": _scheduler(owner, plan, settings),
                "service": {
                    "type": "ClusterIP",
                    "selector": {DASK_CLUSTER_LABEL: name, DASK_COMPONENT_LABEL: SCHEDULER},
                    "ports": [{"name": COMM, "protocol": "TCP", "port": PORT, "targetPort": COMM}],
                },
            },
            "worker": {"replicas": plan.run.dask.workers, "spec": _worker(owner, plan, settings)},
        },
    }


def _scheduler(owner: Owner, plan: Plan, settings: Settings) -> dict[str, Any]:
    arguments = ["--no-scheduler-file", "--host", "0.0.0.0", "--port", str(PORT)]  # noqa: S104  # its pod's own
    # A connection, not a command: a Python process that imports Dask takes a second of CPU time, which would
    # delay the start. The trainer itself leaves a scheduler that hangs.
    probe = {
        "tcpSocket": {"port": COMM},
        "periodSeconds": 1,
        "timeoutSeconds": 3,
        "failureThreshold": LONGEST_START_SECONDS,
    }
    own = {
        "ports": [{"name": COMM, "containerPort": PORT, "protocol": "TCP"}],
        "startupProbe": probe,
        "resources": scheduler_resources(plan.run),
    }
    return _pod(owner, plan, settings, SCHEDULER, arguments=arguments, own=own)


def _worker(owner: Owner, plan: Plan, settings: Settings) -> dict[str, Any]:
    arguments = ["--memory-limit-mb", str(plan.run.memory_limit_mb), "--drain-seconds", str(DRAIN_SECONDS)]
    # Only at the start: a check takes a second of the CPU time that the worker needs, and a worker that loses
    # its scheduler ends by itself.
    period = 10
    probe = {
        "exec": {"command": ["trainingjob", "worker", "--check"]},
        "initialDelaySeconds": period,
        "periodSeconds": period,
        "timeoutSeconds": period,
        "failureThreshold": LONGEST_START_SECONDS // period,
    }
    own = {"startupProbe": probe, "resources": worker_resources(plan.run)}
    return _pod(owner, plan, settings, WORKER, arguments=arguments, own=own)


def _pod(
    owner: Owner, plan: Plan, settings: Settings, role: Role, *, arguments: list[str], own: dict[str, Any]
) -> dict[str, Any]:
    """Return the pod of scheduler or worker; *own* is what only this role's container has."""
    volumes = (scratch("tmp", "/tmp", _TMP_SIZE[role]), tls_volume(owner, role, optional=False))  # noqa: S108
    variables = tls_environment(role) | {
        # What the lines of the log say of the job.
        "POD_NAMESPACE": owner.namespace,
        "TRAININGJOB_JOB_NAME": owner.name,
        "TRAININGJOB_JOB_UID": owner.uid,
    }
    if role == WORKER:
        # Set here, or the Dask operator sets one without TLS.
        variables["DASK_SCHEDULER_ADDRESS"] = scheduler_address(owner)
    container = {
        "name": role,
        "image": plan.image,
        "command": ["trainingjob", role, *arguments],
        "env": environment(variables),
        "securityContext": CONTAINER_SECURITY,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        **pull_policy(settings),
        **own,
        "volumeMounts": [mount for _, mount in volumes],
    }
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": _GRACE_SECONDS[role],
        "securityContext": pod_security(settings),
        "containers": [container],
        "volumes": [source for source, _ in volumes],
        **placement(plan.run.trainer, plan.run.dask.node_selector, plan.run.dask.tolerations),
    }
