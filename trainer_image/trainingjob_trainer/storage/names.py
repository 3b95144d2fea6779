"""The names that a run's folder and files have, wherever they are kept."""

import hashlib
import re

__all__ = ["LATEST", "MANIFEST", "STATE", "checked_key", "folder_name", "is_artifact_name"]

MANIFEST = "manifest.json"
LATEST = "latest.json"
STATE = ".state"

_JOB = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_LONGEST_JOB = 246
"""With the uid behind it a longer name has no room in a file name, which ends at 255 bytes."""
_DIGEST_CHARS = 10
_UID = re.compile(r"[A-Za-z0-9]{1,16}")
_ARTIFACT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


def folder_name(name: str, uid8: str) -> str:
    """Return ``<name>-<uid8>``, the folder of one run.

    A name of more than 246 characters is cut, and told from others that begin with the same ones by a part
    of its digest.

    Raises
    ------
    ValueError
        If either part could leave the output.
    """
    if not _JOB.fullmatch(name) or ".." in name:
        raise ValueError(f"{name!r} is not the name of a TrainingJob")
    if not _UID.fullmatch(uid8):
        raise ValueError(f"{uid8!r} is not the beginning of a uid")
    if len(name) > _LONGEST_JOB:
        digest = hashlib.sha256(name.encode()).hexdigest()[:_DIGEST_CHARS]
        name = f"{name[: _LONGEST_JOB - _DIGEST_CHARS - 1]}-{digest}"
    return f"{name}-{uid8}"


def is_artifact_name(name: str) -> bool:
    """Tell whether a file of a run's folder may be an artifact: a plain name that is not hidden."""
    return bool(_ARTIFACT.fullmatch(name)) and name not in {MANIFEST, LATEST}


def checked_key(key: str) -> str:
    """Return the key of a state object.

    Raises
    ------
    ValueError
        If it is no plain name.
    """
    if not _ARTIFACT.fullmatch(key):
        raise ValueError(f"{key!r} is not a plain name")
    return key
