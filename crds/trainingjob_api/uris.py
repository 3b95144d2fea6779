"""Addresses of datasets and outputs: their forms, types and one parser.

Nothing in ``s3://`` and ``pvc://`` is decoded, so that a rule about the beginning of an address holds for the
object or file behind it.
"""

import re
from typing import Annotated, NamedTuple

from pydantic import StringConstraints

from trainingjob_api.rules import Rule, matches, starts_with, unset

__all__ = [
    "BUCKET_PATTERN",
    "DATASET_FORMS",
    "DATASET_URI_PATTERN",
    "OUTPUT_FORMS",
    "OUTPUT_URI_PATTERN",
    "DatasetUri",
    "OutputUri",
    "Place",
    "claim_of",
    "parse_uri",
    "public_uri",
    "uri_rules",
]

BUCKET_PATTERN = r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"
_CLAIM = r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?"
_PATH = r"[^\x00-\x1f\x7f]+"
# No "user:password@": an address is shown in status and logs.
_HOST = r"([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?"

DATASET_FORMS = "s3://bucket/key, pvc://claim/path, https://host/path, sample://name or file://path"
DATASET_URI_PATTERN = (
    rf"^(s3://{BUCKET_PATTERN}/{_PATH}|pvc://{_CLAIM}/{_PATH}|https://{_HOST}/[^\x00-\x20\x7f]*"
    rf"|sample://[a-z0-9_]+|file://{_PATH})$"
)
OUTPUT_FORMS = "s3://bucket, s3://bucket/prefix, pvc://claim, pvc://claim/path or file://path"
OUTPUT_URI_PATTERN = rf"^(s3://{BUCKET_PATTERN}(/{_PATH})?/?|pvc://{_CLAIM}(/{_PATH})?/?|file://{_PATH})$"

DatasetUri = Annotated[str, StringConstraints(min_length=1, max_length=1024, pattern=DATASET_URI_PATTERN)]
OutputUri = Annotated[str, StringConstraints(min_length=1, max_length=512, pattern=OUTPUT_URI_PATTERN)]

_DOTS = "(^|/)[.][.](/|$)"
_ESCAPES = "^https://[^?#]*%(2[eEfF]|5[cC])|^s3://.*%(2[eEfF]|5[cC])|^pvc://.*%[0-9A-Fa-f]{2}"
_FORBIDDEN = (
    (_DOTS, "the path must not hold '..'", "write the path without it"),
    (
        _ESCAPES,
        "the path must not hold escaped dots or slashes, and in pvc:// no escapes such as %20 at all",
        "write the characters themselves",
    ),
)


class Place(NamedTuple):
    """A parsed address: scheme; bucket, claim or host; and the path below it."""

    scheme: str
    root: str
    path: str


def parse_uri(uri: str) -> Place:
    """Return the parts of an address.

    Raises
    ------
    ValueError
        If it has no scheme, or a path in a bucket, a claim or on a host that may leave its folder.
    """
    scheme, mark, rest = uri.partition("://")
    if not mark:
        raise ValueError("the address has no scheme such as s3://")
    # A local path is the user's own.
    if scheme != "file":
        for pattern, message, hint in _FORBIDDEN:
            if re.search(pattern, uri):
                raise ValueError(f"{message}; {hint}")
    root, _, path = rest.partition("/")
    return Place(scheme, root, path)


def claim_of(uri: str) -> str | None:
    """Return the claim of a ``pvc://claim/path`` address, ``None`` for any other."""
    place = parse_uri(uri)
    return place.root if place.scheme == "pvc" else None


def public_uri(uri: str) -> str:
    """Return *uri* without what may be secret: user and password, query and fragment of a web address."""
    scheme, mark, rest = uri.partition("://")
    if not mark or scheme == "file":
        return uri
    if scheme in {"http", "https"}:
        rest = re.split(r"[?#]", rest, maxsplit=1)[0]
    host, slash, path = rest.partition("/")
    host = host.rpartition("@")[2]
    if host.startswith("[") and "]" not in host:
        return f"{scheme}://…"
    return f"{scheme}://{host}{slash}{path}"


def uri_rules(*, local_instead: str) -> tuple[Rule, ...]:
    """Return the rules of a field ``uri``: those of :func:`parse_uri`, and no local path in a cluster."""
    is_local = starts_with("uri", "file://")
    return (
        Rule(
            check=unset("uri") | ~is_local,
            message=f"file:// is for local runs (trainingjob run) only; use {local_instead}",
            in_cluster_only=True,
        ),
        *(
            Rule(
                check=unset("uri") | is_local | ~matches("uri", pattern),
                message=message,
                hint=hint,
                field="uri",
            )
            for pattern, message, hint in _FORBIDDEN
        ),
    )
