"""The pointer ``<output>/<name>/latest.json`` to the newest finished run."""

import json
from datetime import UTC, datetime

from trainingjob_trainer.storage.manifest import SCHEMA_VERSION
from trainingjob_trainer.storage.names import folder_name

__all__ = ["latest_bytes"]


def latest_bytes(job: str, uid8: str, *, uri: str, manifest_sha256: str, now: datetime) -> bytes:
    """Return the content of ``latest.json``.

    Parameters
    ----------
    job, uid8
        The run.
    uri
        Where its folder is.
    manifest_sha256
        Digest of its manifest, so that who trusts the pointer can trust the whole folder.
    now
        Aware time of publication.
    """
    content = {
        "schemaVersion": SCHEMA_VERSION,
        "kind": "Latest",
        "job": {"name": job, "uid8": uid8},
        "folder": folder_name(job, uid8),
        "uri": uri,
        "manifestSha256": manifest_sha256,
        "publishedAt": now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    return (json.dumps(content, indent=2) + "\n").encode()
