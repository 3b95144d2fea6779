"""Where artifacts go: `open_output` returns the output behind a URI.

There is a byte store behind each scheme, and what is written once above all of them.
"""

import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote

from trainingjob_api import CLUSTER_SCHEMES, OBJECT_STORAGE, Place, Reason, parse_uri
from trainingjob_trainer.errors import SpecInvalid
from trainingjob_trainer.settings import TrainerSettings
from trainingjob_trainer.storage.output import MANIFEST, Manifest, Output, folder_name
from trainingjob_trainer.storage.s3 import S3Store, open_s3
from trainingjob_trainer.storage.store import FolderStore, RetryPolicy, StateStore, Store, write_text

__all__ = [
    "MANIFEST",
    "OBJECT_STORES",
    "FolderStore",
    "Manifest",
    "Output",
    "RetryPolicy",
    "S3Store",
    "StateStore",
    "Store",
    "folder_name",
    "open_output",
    "write_text",
]


def open_output(
    uri: str, *, endpoint: str | None, credentials_dir: Path | None, settings: TrainerSettings
) -> Output:
    """Return the output behind a URI; nothing is read or written yet.

    Parameters
    ----------
    uri
        ``s3://bucket/prefix``, ``gs://bucket/prefix``, ``az://container/prefix``, ``pvc://claim/path``,
        ``file://path`` (of this machine, relative to the working directory without a leading slash) or a
        plain path.
    endpoint, credentials_dir
        See `access.s3_client`.

    Raises
    ------
    SpecInvalid
        With reason ``InvalidOutput`` if the URI is of another kind; as `access.s3_client` for S3.
    """
    return Output(_open_store(uri, endpoint, credentials_dir, settings))


def _open_store(
    uri: str, endpoint: str | None, credentials_dir: Path | None, settings: TrainerSettings
) -> Store:
    if "://" not in uri:
        return FolderStore(Path(uri))
    try:
        place = parse_uri(uri)
    except ValueError as error:
        raise _invalid(uri, str(error)) from error
    match place.scheme:
        case "file":
            return FolderStore(Path(unquote(uri.removeprefix("file://"))))
        case "pvc":
            claim, path = _two_parts(uri, place, "pvc://claim/path")
            mount = settings.pvc_root / claim
            return FolderStore(mount / path, uri=uri, mount=mount)
        case scheme if scheme in OBJECT_STORES:
            kind = OBJECT_STORAGE[scheme]
            bucket, prefix = _two_parts(uri, place, f"{scheme}://{kind.noun}/prefix")
            if not re.fullmatch(kind.bucket, bucket):
                raise _invalid(uri, f"a {kind.noun}'s name has {kind.rule}")
            try:
                return OBJECT_STORES[scheme](
                    bucket,
                    prefix,
                    endpoint=endpoint,
                    credentials_dir=credentials_dir,
                    settings=settings,
                    field="spec.output",
                )
            except ValueError as error:
                raise _invalid(uri, str(error)) from None
        case _:
            raise _invalid(uri, f"it must begin with {CLUSTER_SCHEMES} or file://, or be a plain path")


def _open_cloud(scheme: str, *place: str, field: str, **access: Any) -> Store:
    try:
        from trainingjob_trainer.storage.cloud import open_cloud  # noqa: PLC0415 - it needs an extra
    except ModuleNotFoundError as error:
        raise SpecInvalid(
            Reason.INVALID_ENVIRONMENT,
            f"{field}.uri: {scheme}:// needs the package {error.name}; install trainingjob[cloud]",
        ) from None
    return open_cloud(scheme, *place, field=field, **access)


OBJECT_STORES: Mapping[str, Callable[..., Store]] = MappingProxyType(
    {"s3": open_s3, "gs": partial(_open_cloud, "gs"), "az": partial(_open_cloud, "az")}
)
"""The function that opens a bucket for datasets and outputs, for each scheme of `OBJECT_STORAGE`."""


def _two_parts(uri: str, place: Place, shape: str) -> tuple[str, str]:
    """Return bucket or claim, and the path below it without slashes at its ends."""
    first, path = place.root, place.path.strip("/")
    if not first or "@" in first or first.startswith("."):
        raise _invalid(uri, f"it must look like {shape}")
    return first, path


def _invalid(uri: str, cause: str) -> SpecInvalid:
    shown = uri if "@" not in uri else uri.split("://", 1)[0] + "://…"
    return SpecInvalid(Reason.INVALID_OUTPUT, f"spec.output.uri: {shown!r} cannot hold artifacts; {cause}")
