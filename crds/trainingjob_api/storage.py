"""Where tables come from and models go: addresses, their one parser, and the spec's dataset and output.

Nothing in the addresses of buckets and claims is decoded, so that a rule about the beginning of an address
holds for the object or file behind it.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, NamedTuple

from pydantic import Field, StrictInt

from trainingjob_api.types import (
    PLAIN,
    SEARCH,
    SEARCH_ONLY,
    SHOWN,
    Bool,
    Digest,
    ObjectName,
    Rule,
    SpecModel,
    UriOrigin,
    characters,
    compare,
    matches,
    optional,
    starts_with,
    unset,
)
from trainingjob_api.vocabulary import DatasetFormat, DecimalMark, Encoding, ThousandsMark


class ObjectStorage(NamedTuple):
    """A kind of object storage, as both planes see it."""

    bucket: str
    """Pattern of a bucket's name."""
    rule: str
    """The pattern in words."""
    required: tuple[str, ...]
    """Keys of the Secret that ``credentialsSecretRef`` names, which a pod waits for."""
    optional: tuple[str, ...] = ()
    """Further keys of that Secret."""
    host: str | None = None
    """Where the buckets are, or the end of that host's name; None if ``endpoint`` says it."""
    noun: str = "bucket"
    """The service's word for a bucket."""

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

_SECRET_KEYS = "; ".join(
    f"for {scheme}://, {' and '.join(kind.required)}"
    + (f" and optionally {' or '.join(kind.optional)}" if kind.optional else "")
    for scheme, kind in OBJECT_STORAGE.items()
)

DatasetUri = Annotated[str, characters(1024, least=1, pattern=DATASET_URI_PATTERN)]
OutputUri = Annotated[str, characters(512, least=1, pattern=OUTPUT_URI_PATTERN)]

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


class ObjectRef(SpecModel):
    """A reference to an object in the job's own namespace, by name."""

    name: ObjectName = Field(description="Name of the object, in the namespace of the job.")


class SecretRef(ObjectRef):
    """A reference to a Secret in the job's own namespace."""

    name: ObjectName = Field(
        description=f"Name of the Secret, in the namespace of the job. Its keys: {_SECRET_KEYS}."
    )


class Csv(SpecModel):
    """How values are written as text; unset fields are detected in the file and reported.

    Separator and encoding apply to CSV files; all other fields also apply to text columns in Parquet.
    """

    rules = (
        Rule(
            check=unset("decimal") | unset("thousands") | compare("decimal", "!=", "thousands"),
            message="decimal and thousands must differ",
            hint="change or remove one of them",
        ),
    )

    separator: Annotated[str, characters(1, least=1, pattern=r"^[^\"\r\n]$")] | None = optional(
        "Character between the fields of a CSV file, such as ';' or a tab."
    )
    encoding: Encoding | None = optional(
        "Encoding of a CSV file; default utf-8, with or without a byte order mark."
    )
    decimal: DecimalMark | None = optional("Decimal mark of numbers: '.' or ','.")
    thousands: ThousandsMark | None = optional(
        "Thousands separator: '.', ',', an apostrophe, space (any kind), or none, which never "
        "reads 1.234 or 1,234 as a thousand."
    )
    missing_values: Annotated[list[Annotated[str, characters(64)]], Field(max_length=32)] | None = optional(
        "Texts that count as missing in every column, in addition to empty cells; [] for none. "
        "Default: NA, NaN, null, None, N/A and similar, and in numeric columns also placeholders such as "
        "'?' and '-'."
    )
    day_first: Bool | None = optional(
        "Whether the day comes before the month in ambiguous dates such as 03/04/2025."
    )
    time_zone: Annotated[str, characters(64, least=1, pattern=r"^[A-Za-z0-9_+/-]+$")] | None = optional(
        "Time zone in which hours and weekdays of timestamps with an offset are read, such as "
        "Europe/Berlin; default: the zone of the Parquet column, else UTC."
    )


class Dataset(SpecModel):
    """The table to learn from."""

    rules = uri_rules(local_instead=f"{CLUSTER_SCHEMES}, https:// or sample://")

    uri: Annotated[DatasetUri, SEARCH] = Field(
        description="Address of the table: s3://bucket/key, gs://bucket/key, az://container/key, "
        "pvc://claim/path, https://host/path (where the operator allows it), sample://name (breast_cancer, "
        "iris, wine, digits, diabetes, messy_churn, messy_prices), or file://path (local runs only)."
    )
    endpoint: Annotated[UriOrigin | None, SEARCH_ONLY] = optional(
        "S3 endpoint of an s3:// dataset, such as https://minio.example; unset uses the default endpoint."
    )
    format: Annotated[DatasetFormat | None, SEARCH] = optional(
        "Format of the table; default auto, which looks at its name and first bytes."
    )
    csv: Annotated[Csv | None, SEARCH_ONLY] = optional(
        "How the file writes its values, where automatic detection is wrong."
    )
    credentials_secret_ref: Annotated[SecretRef | None, PLAIN] = optional(
        "Secret with the credentials for reading the dataset."
    )
    sha256: Annotated[Digest | None, SEARCH] = optional(
        "Expected SHA-256 digest of the file (64 hex digits); a different file fails the job."
    )


class Output(SpecModel):
    """Where the model and its reports are stored."""

    rules = uri_rules(local_instead=CLUSTER_SCHEMES)

    uri: Annotated[OutputUri, SHOWN] = Field(
        default="file://./runs",
        description="Folder for all runs: s3://bucket/prefix, gs://bucket/prefix, az://container/prefix, "
        "pvc://claim/path, or file://path (local runs only).",
    )
    endpoint: Annotated[UriOrigin | None, PLAIN] = optional(
        "S3 endpoint of an s3:// output; unset uses the default endpoint."
    )
    credentials_secret_ref: Annotated[SecretRef | None, PLAIN] = optional(
        "Secret with the credentials for writing the output."
    )
    leaderboard_top_k: Annotated[StrictInt, Field(ge=1, le=100), SHOWN] = Field(
        default=10, description="Rows in the leaderboard (at most 10 in the status); default 10."
    )
