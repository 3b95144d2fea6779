"""The objects that the operator makes for a job: their kinds, names, labels and owner."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

from trainingjob_api import API_VERSION, GROUP, KIND

MANAGED_BY = "trainingjob-operator"
JOB_LABEL = f"{GROUP}/job"
UID_LABEL = f"{GROUP}/job-uid"
CLASS_LABEL = f"{GROUP}/operator-class"
USER_LABEL = f"{GROUP}/user"
JOB_ANNOTATION = f"{GROUP}/job-name"
"""The job's full name: a label value is limited to 63 characters."""
PLAN_ANNOTATION = f"{GROUP}/run"
"""A copy of the plan on the Job, from which a deleted fence is made again."""

COMPONENT_LABEL = "app.kubernetes.io/component"
TRAINER = "trainer"
DASK = "dask"
"""Components. Dask's own labels distinguish the pods of a Dask cluster."""
DASK_COMPONENT_LABEL = "dask.org/component"
DASK_CLUSTER_LABEL = "dask.org/cluster-name"

TRAINER_CONTAINER = "trainer"
LABEL_SELECTOR = f"app.kubernetes.io/managed-by={MANAGED_BY}"
TRAINER_SELECTOR = f"{LABEL_SELECTOR},{COMPONENT_LABEL}={TRAINER}"
MAX_NAME = 63
"""Limit of a label value and of a DNS label; pods and Services are named after the children."""
MAX_CLUSTER_NAME = 53
"""Limit of the Dask operator, which appends to the name for a Service."""

_HASH_LENGTH = 10
_UID_HASH_LENGTH = 8
_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")


class Unique(Enum):
    """The part of a child's name that makes it unique, beside the job's name."""

    NAME = "name"
    """Nothing: a later job of the same name has a child of the same name."""
    UID = "uid"
    """The job's uid."""
    CLUSTER = "cluster"
    """The job's uid, too, in a name that all parts of its Dask cluster share."""
    KEY = "key"
    """The job's uid and the public half of a key."""


class Child(Enum):
    """Every kind of object that the operator makes for a job, in the order of creation.

    The fence comes first and what runs comes last: the trainer's pod after the certificates that it mounts,
    and Dask's workers after the trainer, since they could take the quota that it needs.
    """

    REPORT_KEY = ("Secret", "secrets", "v1", "-key", Unique.KEY)
    # A kubelet serves the ConfigMap that it knows under a name while the pod of an earlier job uses it: a job
    # that is deleted and created again could run the old plan.
    RUN = ("ConfigMap", "configmaps", "v1", "-run", Unique.UID)
    SERVICE_ACCOUNT = ("ServiceAccount", "serviceaccounts", "v1", "-trainer", Unique.NAME)
    ROLE = ("Role", "roles", "rbac.authorization.k8s.io/v1", "-trainer", Unique.NAME)
    ROLE_BINDING = ("RoleBinding", "rolebindings", "rbac.authorization.k8s.io/v1", "-trainer", Unique.NAME)
    REPORT = ("ConfigMap", "configmaps", "v1", "-report", Unique.UID)
    # No job ever has the cluster or the certificates of an earlier job of the same name.
    DASK_CERTIFICATES = ("Secret", "secrets", "v1", "", Unique.CLUSTER)
    DASK_POLICY = ("NetworkPolicy", "networkpolicies", "networking.k8s.io/v1", "", Unique.CLUSTER)
    JOB = ("Job", "jobs", "batch/v1", "-trainer", Unique.NAME)
    DASK_CLUSTER = ("DaskCluster", "daskclusters", "kubernetes.dask.org/v1", "", Unique.CLUSTER)

    def __init__(self, kind: str, plural: str, api_version: str, suffix: str, unique: Unique) -> None:
        self.kind = kind
        self.plural = plural
        self.api_version = api_version
        self.suffix = suffix
        self.unique = unique

    @property
    def dask(self) -> bool:
        """Whether it is part of the job's Dask cluster, which a job can run without."""
        return self.unique is Unique.CLUSTER

    @property
    def readable(self) -> bool:
        """Whether the operator may read it; its RBAC never covers Secrets and NetworkPolicies."""
        return self.kind not in {"Secret", "NetworkPolicy"}


DASK_CHILDREN = tuple(child for child in Child if child.dask)
TRAINER_CHILDREN = tuple(child for child in Child if not child.dask and child is not Child.REPORT_KEY)
"""Children without which a job cannot run; the operator recreates them."""
ACCESS_CHILDREN = (Child.SERVICE_ACCOUNT, Child.ROLE, Child.ROLE_BINDING)


@dataclass(frozen=True, slots=True)
class Owner:
    """The job as its children refer to it."""

    name: str
    namespace: str
    uid: str


class JobKey(NamedTuple):
    """Namespace and name of a job."""

    namespace: str
    name: str

    def __str__(self) -> str:
        """Return it as the log shows it."""
        return f"{self.namespace}/{self.name}"


class PodKey(NamedTuple):
    """Name and uid of a pod; the uid distinguishes it from a later pod of the same name."""

    name: str
    uid: str


def in_order(children: Iterable[Child]) -> tuple[Child, ...]:
    """Return *children* in the order of creation."""
    wanted = set(children)
    return tuple(child for child in Child if child in wanted)


def child_name(job: str, suffix: str, limit: int = MAX_NAME) -> str:
    """Return ``<job><suffix>`` as a DNS label of at most *limit* characters.

    A job name that is too long or has dots is shortened and gets a hash, so that different jobs never share a
    name.
    """
    plain = f"{job}{suffix}"
    if len(plain) <= limit and _DNS_LABEL.fullmatch(plain):
        return plain
    digest = _digest(job, _HASH_LENGTH)
    room = limit - len(suffix) - _HASH_LENGTH - 1
    head = re.sub(r"[^a-z0-9]+", "-", job)[:room].strip("-")
    return f"{head}-{digest}{suffix}" if head else f"{digest}{suffix}"


def labels(owner: Owner) -> dict[str, str]:
    """Return the labels of every child of *owner*."""
    return {
        "app.kubernetes.io/name": "trainingjob",
        "app.kubernetes.io/managed-by": MANAGED_BY,
        JOB_LABEL: job_label(owner.name),
        UID_LABEL: owner.uid,
    }


def job_label(job: str) -> str:
    """Return the label value that all children of jobs with this name share."""
    return job if len(job) <= MAX_NAME else child_name(job, "")


def name_of(owner: Owner, child: Child, key: str = "") -> str:
    """Return the name of *child*; that of a report key is made from its public half, *key*."""
    match child.unique:
        case Unique.NAME:
            mark = ""
        case Unique.UID | Unique.CLUSTER:
            mark = "-" + _digest(owner.uid, _UID_HASH_LENGTH)
        case Unique.KEY:
            mark = "-" + _digest(f"{owner.uid}\n{key}", _HASH_LENGTH)
    return child_name(owner.name, mark + child.suffix, MAX_CLUSTER_NAME if child.dask else MAX_NAME)


def metadata(owner: Owner, child: Child, key: str = "") -> dict[str, Any]:
    """Return the metadata of a child: name, labels, and the owner reference that deletes it with the job."""
    found = labels(owner)
    return {
        "name": name_of(owner, child, key),
        "namespace": owner.namespace,
        # The Dask operator copies labels and annotations to what it makes.
        "labels": found | {COMPONENT_LABEL: DASK} if child.dask else found,
        "annotations": {JOB_ANNOTATION: owner.name},
        "ownerReferences": [
            {
                "apiVersion": API_VERSION,
                "kind": KIND,
                "name": owner.name,
                "uid": owner.uid,
                "controller": True,
                # True would need a right on finalizers, and nothing waits for the children.
                "blockOwnerDeletion": False,
            }
        ],
    }


def header(owner: Owner, child: Child, key: str = "") -> dict[str, Any]:
    """Return API version, kind and metadata of a manifest."""
    return {"apiVersion": child.api_version, "kind": child.kind, "metadata": metadata(owner, child, key)}


def owned_by(raw: Mapping[str, Any], uid: str) -> bool:
    """Return whether the job with *uid* controls the object *raw*."""
    references = raw.get("metadata", {}).get("ownerReferences") or []
    return any(reference.get("uid") == uid and reference.get("controller") for reference in references)


def trainer_container(raw: dict[str, Any]) -> dict[str, Any]:
    """Return the trainer's container of a pod or template, whatever a webhook has added; empty if none."""
    containers: list[dict[str, Any]] = (raw.get("spec") or {}).get("containers") or []
    return next((container for container in containers if container.get("name") == TRAINER_CONTAINER), {})


def _digest(text: str, length: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:length]
