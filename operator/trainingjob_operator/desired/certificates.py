"""Certificates of a job's Dask cluster: the Secret, and how each role is given its own part of it."""

import base64
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from trainingjob_api import ResolvedRun
from trainingjob_certificates import Role
from trainingjob_operator.desired.parts import volume
from trainingjob_operator.names import DaskPart, Owner, dask_metadata, dask_name

__all__ = ["build_secret", "scheduler_address", "service_names", "tls_environment", "tls_volume", "validity"]

PORT = 8786
TLS_DIR = "/var/run/trainingjob/dask-tls"
MARGIN = timedelta(hours=1)
"""A cluster may be made some time after its certificates, and clocks differ."""
_PREFIX = "DASK_DISTRIBUTED__COMM__TLS__"


def validity(run: ResolvedRun) -> timedelta:
    """Return how long certificates have to be valid: a resume gets new ones."""
    return timedelta(seconds=run.active_deadline_seconds) + MARGIN


def service_names(owner: Owner) -> tuple[str, ...]:
    """Return the names of the Service that the Dask operator makes for the scheduler."""
    name = f"{dask_name(owner)}-scheduler"
    return name, f"{name}.{owner.namespace}", f"{name}.{owner.namespace}.svc"


def scheduler_address(owner: Owner) -> str:
    """Return the scheduler's address within the cluster."""
    return f"tls://{service_names(owner)[-1]}:{PORT}"


def build_secret(owner: Owner, files: Mapping[str, bytes]) -> dict[str, Any]:
    """Return the Secret.

    Parameters
    ----------
    owner
        The job.
    files
        ``ca.crt``, and for each role ``<role>.crt`` and ``<role>.key``. The authority's key is not among
        them: nobody can ever sign another certificate.
    """
    return {
        "apiVersion": DaskPart.SECRET.api_version,
        "kind": DaskPart.SECRET.kind,
        "metadata": dask_metadata(owner),
        "immutable": True,
        "type": "Opaque",
        "data": {name: base64.b64encode(content).decode() for name, content in files.items()},
    }


def tls_environment(role: Role) -> dict[str, str]:
    """Return the variables by which a role knows its certificates.

    What is missing is an error to all three. That everybody has to encrypt is not said: the trainer's own
    worker, whom nobody else can reach, would be meant, too.
    """
    own = f"{_PREFIX}{role.upper()}__"
    return {
        f"{_PREFIX}CA_FILE": f"{TLS_DIR}/ca.crt",
        f"{own}CERT": f"{TLS_DIR}/{role}.crt",
        f"{own}KEY": f"{TLS_DIR}/{role}.key",
    }


def tls_volume(owner: Owner, role: Role, *, optional: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the volume with the authority's certificate and the role's own pair, and its mount.

    Parameters
    ----------
    owner
        The job.
    role
        Whose.
    optional
        Whether the pod starts without them: the trainer goes on alone, the others have nothing to do.
    """
    names = ("ca.crt", f"{role}.crt", f"{role}.key")
    secret: dict[str, Any] = {
        "secretName": dask_name(owner),
        "optional": optional,
        "defaultMode": 0o440,
        "items": [{"key": name, "path": name} for name in names],
    }
    return volume("dask-tls", TLS_DIR, {"secret": secret}, read_only=True)
