"""Names, labels and annotations of a job's children; the one place that makes them."""

import hashlib
import re
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

from trainingjob_api import API_VERSION, GROUP, KIND

__all__ = [
    "CLASS_LABEL",
    "COMPONENT_LABEL",
    "DASK_CLUSTER_LABEL",
    "DASK_COMPONENT_LABEL",
    "JOB_ANNOTATION",
    "JOB_LABEL",
    "LABEL_SELECTOR",
    "MANAGED_BY",
    "PLAN_ANNOTATION",
    "TRAINER",
    "TRAINER_SELECTOR",
    "UID_LABEL",
    "USER_LABEL",
    "Child",
    "DaskPart",
    "Owner",
    "PodKey",
    "child_name",
    "dask_metadata",
    "dask_name",
    "job_label",
    "key_metadata",
    "key_name",
    "labels",
    "metadata",
    "name_of",
    "owned_by",
]

MANAGED_BY = "trainingjob-operator"
JOB_LABEL = f"{GROUP}/job"
UID_LABEL = f"{GROUP}/job-uid"
CLASS_LABEL = f"{GROUP}/operator-class"
USER_LABEL = f"{GROUP}/user"
JOB_ANNOTATION = f"{GROUP}/job-name"
"""The job's full name: a label has room for 63 characters only."""
PLAN_ANNOTATION = f"{GROUP}/run"
"""The plan, once more, on the Job: what a fence that was deleted by hand is made from again."""

COMPONENT_LABEL = "app.kubernetes.io/component"
TRAINER = "trainer"
DASK = "dask"
"""Components. The pods of a Dask cluster are told apart by Dask's own labels."""
DASK_COMPONENT_LABEL = "dask.org/component"
DASK_CLUSTER_LABEL = "dask.org/cluster-name"

LABEL_SELECTOR = f"app.kubernetes.io/managed-by={MANAGED_BY}"
TRAINER_SELECTOR = f"{LABEL_SELECTOR},{COMPONENT_LABEL}={TRAINER}"
MAX_NAME = 63
"""A label value and a DNS label end here; pods and Services are made from these names."""
MAX_CLUSTER_NAME = 53
"""The Dask operator takes no longer ones: it makes the name of a Service of them."""

_HASH_LENGTH = 10
_UID_HASH_LENGTH = 8
_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")


class Child(Enum):
    """What the operator makes for a job: kind, plural, API version and the ending of its name.

    The order is the order of creation: the fence comes first, what runs comes last.
    """

    RUN = ("ConfigMap", "configmaps", "v1", "-run")
    SERVICE_ACCOUNT = ("ServiceAccount", "serviceaccounts", "v1", "-trainer")
    ROLE = ("Role", "roles", "rbac.authorization.k8s.io/v1", "-trainer")
    ROLE_BINDING = ("RoleBinding", "rolebindings", "rbac.authorization.k8s.io/v1", "-trainer")
    REPORT = ("ConfigMap", "configmaps", "v1", "-report")
    JOB = ("Job", "jobs", "batch/v1", "-trainer")

    def __init__(self, kind: str, plural: str, api_version: str, suffix: str) -> None:
        self.kind = kind
        self.plural = plural
        self.api_version = api_version
        self.suffix = suffix


_PER_UID = frozenset({Child.RUN, Child.REPORT})


class DaskPart(Enum):
    """What the operator makes for a job's Dask cluster: kind, plural and API version.

    All have one name. The order is the order of creation.
    """

    SECRET = ("Secret", "secrets", "v1")
    POLICY = ("NetworkPolicy", "networkpolicies", "networking.k8s.io/v1")
    CLUSTER = ("DaskCluster", "daskclusters", "kubernetes.dask.org/v1")

    def __init__(self, kind: str, plural: str, api_version: str) -> None:
        self.kind = kind
        self.plural = plural
        self.api_version = api_version


@dataclass(frozen=True, slots=True)
class Owner:
    """The job as its children refer to it."""

    name: str
    namespace: str
    uid: str


class PodKey(NamedTuple):
    """Name and uid of a pod; the uid distinguishes it from a later pod of the same name."""

    name: str
    uid: str


def child_name(job: str, suffix: str, limit: int = MAX_NAME) -> str:
    """Return the name of a child: ``<job><suffix>``, or cut and told apart by a hash.

    Parameters
    ----------
    job
        Name of the job, up to 253 characters, dots included.
    suffix
        Ending, such as ``-run``.
    limit
        Most characters of the name.

    Returns
    -------
    str
        A DNS label. Equal names give equal results; different names of jobs give different ones.
    """
    plain = f"{job}{suffix}"
    if len(plain) <= limit and _DNS_LABEL.fullmatch(plain):
        return plain
    digest = hashlib.sha256(job.encode()).hexdigest()[:_HASH_LENGTH]
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
    """Return the value of the label that all children of jobs of this name have."""
    return job if len(job) <= MAX_NAME else child_name(job, "")


def dask_name(owner: Owner) -> str:
    """Return the name of all parts of a job's Dask cluster.

    It is made from the uid, too: no job ever has the cluster or the certificates of a namesake before it.
    """
    return child_name(owner.name, _uid_mark(owner), MAX_CLUSTER_NAME)


def name_of(owner: Owner, child: Child) -> str:
    """Return the name of *child*.

    The ConfigMaps carry the uid, too. A kubelet serves the object that it knows under a name for as long as
    the pod of an earlier job uses it: a job that is deleted and created again would run the old plan.
    """
    mark = _uid_mark(owner) if child in _PER_UID else ""
    return child_name(owner.name, mark + child.suffix)


def key_name(owner: Owner, public: str) -> str:
    """Return the name of the Secret with the key whose public half is *public*."""
    digest = hashlib.sha256(f"{owner.uid}\n{public}".encode()).hexdigest()[:_HASH_LENGTH]
    return child_name(owner.name, f"-{digest}-key")


def key_metadata(owner: Owner, public: str) -> dict[str, Any]:
    """Return the metadata of that Secret."""
    return _metadata(owner, key_name(owner, public))


def _uid_mark(owner: Owner) -> str:
    return f"-{hashlib.sha256(owner.uid.encode()).hexdigest()[:_UID_HASH_LENGTH]}"


def dask_metadata(owner: Owner) -> dict[str, Any]:
    """Return the metadata of a part of the Dask cluster; the Dask operator copies labels and annotations."""
    found = _metadata(owner, dask_name(owner))
    return found | {"labels": found["labels"] | {COMPONENT_LABEL: DASK}}


def metadata(owner: Owner, child: Child) -> dict[str, Any]:
    """Return the metadata of a child: name, labels, and the owner that takes it away when it goes."""
    return _metadata(owner, name_of(owner, child))


def _metadata(owner: Owner, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "namespace": owner.namespace,
        "labels": labels(owner),
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


def owned_by(raw: dict[str, Any], uid: str) -> bool:
    """Return whether the object *raw* is controlled by the job with *uid*."""
    references = raw.get("metadata", {}).get("ownerReferences") or []
    return any(one.get("uid") == uid and one.get("controller") for one in references)
