"""Addresses of datasets and outputs: their forms, types and one parser.

Nothing in the addresses of buckets and claims is decoded, so that a rule about the beginning of an address
holds for the object or file behind it.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, NamedTuple

from pydantic import StringConstraints

from trainingjob_api.rules import Rule, matches, starts_with, unset

__all__ = [
    "CLUSTER_SCHEMES",
    "DATASET_FORMS",
    "DATASET_URI_PATTERN",
    "OBJECT_STORAGE",
    "OUTPUT_FORMS",
    "OUTPUT_URI_PATTERN",
    "DatasetUri",
    "ObjectStorage",
    "OutputUri",
    "Place",
    "claim_of",
    "parse_uri",
    "public_uri",
    "secret_keys",
    "storage_of",
    "uri_rules",
]


class ObjectStorage(NamedTuple):
    """A kind of object storage, as both planes see it.

    Parameters
    ----------
    bucket
        Pattern of a bucket's name; what the service calls it is in `noun`.
    rule
        The pattern in words.
    required, optional
        Keys of the Secret that ``credentialsSecretRef`` names; a pod waits for the required ones.
    host
        Where the buckets are, or the end of that host's name; None if ``endpoint`` says it.
    """

    bucket: str
    rule: str
    required: tuple[str, ...]
    optional: tuple[str, ...] = ()
    host: str | None = None
    noun: str = "bucket"

    def is_host(self, host: str) -> bool:
        """Return whether *host* may serve buckets."""
        return self.host is not None and (host == self.host or host.endswith(f".{self.host}"))


OBJECT_STORAGE: Mapping[str, ObjectStorage] = MappingProxyType(
    {
        "s3": ObjectStorage(
            bucket=r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]",
            rule="3 to 63 lower-case letters, digits, dots and hyphens",
            required=("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
            optional=("AWS_SESSION_TOKEN",),
        ),
        "gs": ObjectStorage(
            bucket=r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]",
            rule="3 to 222 lower-case letters, digits, dots, hyphens and underscores",
            required=("GOOGLE_SERVICE_ACCOUNT_KEY",),
            host="storage.googleapis.com",
        ),
        "az": ObjectStorage(
            bucket=r"[a-z0-9](-?[a-z0-9]){2,62}",
            rule="3 to 63 lower-case letters, digits and single hyphens",
            required=("AZURE_STORAGE_ACCOUNT_NAME",),
            optional=("AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_SAS_TOKEN"),
            host="blob.core.windows.net",
            noun="container",
        ),
    }
)
"""Kinds of object storage by scheme. What opens a bucket is in ``OBJECT_STORES`` of the trainer."""
_FIXED = "|".join(scheme for scheme, kind in OBJECT_STORAGE.items() if kind.host is not None)

CLUSTER_SCHEMES = ", ".join(f"{scheme}://" for scheme in OBJECT_STORAGE) + " or pvc://"
"""Schemes of datasets and outputs that an operator always allows, in words."""

_CLAIM = r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?"
_PATH = r"[^\x00-\x1f\x7f]+"
# No "user:password@": an address is shown in status and logs.
_HOST = r"([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?"

_OBJECTS = "|".join(f"{scheme}://{kind.bucket}/{_PATH}" for scheme, kind in OBJECT_STORAGE.items())
_FOLDERS = "|".join(f"{scheme}://{kind.bucket}(/{_PATH})?/?" for scheme, kind in OBJECT_STORAGE.items())
_KEYS = ", ".join(f"{scheme}://{kind.noun}/key" for scheme, kind in OBJECT_STORAGE.items())
_PREFIXES = ", ".join(f"{scheme}://{kind.noun}/prefix" for scheme, kind in OBJECT_STORAGE.items())

DATASET_FORMS = f"{_KEYS}, pvc://claim/path, https://host/path, sample://name or file://path"
DATASET_URI_PATTERN = (
    rf"^({_OBJECTS}|pvc://{_CLAIM}/{_PATH}|https://{_HOST}/[^\x00-\x20\x7f]*"
    rf"|sample://[a-z0-9_]+|file://{_PATH})$"
)
OUTPUT_FORMS = f"{_PREFIXES} (the prefix may be omitted), pvc://claim, pvc://claim/path or file://path"
OUTPUT_URI_PATTERN = rf"^({_FOLDERS}|pvc://{_CLAIM}(/{_PATH})?/?|file://{_PATH})$"

DatasetUri = Annotated[str, StringConstraints(min_length=1, max_length=1024, pattern=DATASET_URI_PATTERN)]
OutputUri = Annotated[str, StringConstraints(min_length=1, max_length=512, pattern=OUTPUT_URI_PATTERN)]

_DOTS = "(^|/)[.][.](/|$)"
_ESCAPES = (
    f"^https://[^?#]*%(2[eEfF]|5[cC])|^({'|'.join(OBJECT_STORAGE)})://.*%(2[eEfF]|5[cC])"
    "|^pvc://.*%[0-9A-Fa-f]{2}"
)
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


def storage_of(uri: str) -> ObjectStorage | None:
    """Return the kind of object storage that an address is of, ``None`` for any other."""
    return OBJECT_STORAGE.get(uri.partition("://")[0])


def secret_keys() -> str:
    """Return the keys of a Secret with credentials, for each kind of object storage, in words."""
    return "; ".join(
        f"for {scheme}://, {' and '.join(kind.required)}"
        + (f" and optionally {' or '.join(kind.optional)}" if kind.optional else "")
        for scheme, kind in OBJECT_STORAGE.items()
    )


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
    """Return the rules of ``uri`` and ``endpoint``: those of :func:`parse_uri`, and of their combination."""
    is_local = starts_with("uri", "file://")
    return (
        Rule(
            check=unset("uri") | ~is_local,
            message=f"file:// is for local runs (trainingjob run) only; use {local_instead}",
            in_cluster_only=True,
        ),
        Rule(
            check=unset("endpoint") | unset("uri") | ~matches("uri", f"^({_FIXED})://"),
            message="endpoint is of s3:// only",
            hint="remove it, since gs:// and az:// have fixed hosts",
            field="endpoint",
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
