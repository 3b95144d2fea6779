"""The bytes of a dataset, by the scheme of its address: file, claim, S3 or HTTPS."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from minio.error import S3Error

from trainingjob_api import Reason
from trainingjob_api.spec import Dataset
from trainingjob_api.uris import Place, parse_uri
from trainingjob_trainer.data.https_guard import https_chunks
from trainingjob_trainer.data.scratch import CHUNK
from trainingjob_trainer.errors import DataError, RunFailed, SpecInvalid
from trainingjob_trainer.settings import TrainerSettings
from trainingjob_trainer.storage.client import endpoint_of, s3_client
from trainingjob_trainer.storage.s3 import S3_FAILURES, brief, may_pass, s3_failure
from trainingjob_trainer.storage.store import Again, RetryPolicy

__all__ = ["open_source", "s3_chunks"]

_S3_RETRY = RetryPolicy(attempts=3, deadline_seconds=60.0)


def open_source(dataset: Dataset, settings: TrainerSettings) -> AbstractContextManager[Iterator[bytes]]:
    """Return a context that yields the bytes of the file, chunk by chunk.

    Raises
    ------
    SpecInvalid
        ``DatasetUriInvalid`` or ``HttpsNotAllowed``.
    DataError
        On entry or while iterating, if the file cannot be had.
    """
    try:
        place = parse_uri(dataset.uri)
    except ValueError as error:
        raise _uri_invalid(f": {error}") from error
    match place.scheme:
        case "file":
            return _file_chunks(Path(unquote(dataset.uri.removeprefix("file://"))), dataset.uri)
        case "pvc":
            return _file_chunks(_claim_path(place, settings.pvc_root), dataset.uri)
        case "s3":
            return s3_chunks(dataset, settings)
        case "https":
            return https_chunks(dataset.uri, settings)
        case "http":
            raise _uri_invalid(": http:// is not encrypted; use https://")
        case _:
            raise _uri_invalid(
                f" {dataset.uri!r} has none of the schemes file://, pvc://, s3://, https://, sample://"
            )


def _uri_invalid(what: str) -> SpecInvalid:
    return SpecInvalid(Reason.DATASET_URI_INVALID, f"spec.dataset.uri{what}")


def _claim_path(place: Place, root: Path) -> Path:
    claim, inside = place.root, place.path.lstrip("/")
    base = (root / claim).resolve()
    path = (base / inside).resolve()
    if not claim or not inside or base.parent != root.resolve() or not path.is_relative_to(base):
        raise _uri_invalid(" must be pvc://claim/path, with a path that stays inside the claim")
    return path


@contextmanager
def _file_chunks(path: Path, uri: str) -> Iterator[Iterator[bytes]]:
    try:
        if not path.exists():
            raise DataError(Reason.DATASET_NOT_FOUND, f"{uri} does not exist; correct spec.dataset.uri")
        if not path.is_file():
            raise DataError(
                Reason.DATASET_NOT_FOUND, f"{uri} is not a regular file; name a CSV or Parquet file"
            )
        with path.open("rb") as file:
            yield iter(lambda: file.read(CHUNK), b"")
    except OSError as error:
        raise DataError(
            Reason.DATASET_UNREADABLE,
            f"{uri} cannot be read ({error.strerror}); check the file and its permissions",
        ) from error


def _connect(dataset: Dataset, settings: TrainerSettings) -> Any:
    return s3_client(dataset.endpoint, settings.credentials_dir, settings, field="spec.dataset")


@contextmanager
def s3_chunks(
    dataset: Dataset,
    settings: TrainerSettings,
    *,
    connect: Callable[[Dataset, TrainerSettings], Any] = _connect,
    retry: RetryPolicy = _S3_RETRY,
) -> Iterator[Iterator[bytes]]:
    """Yield the bytes of the object ``s3://bucket/key``, chunk by chunk.

    Parameters
    ----------
    connect
        Makes the client (:class:`minio.Minio`).

    Raises
    ------
    SpecInvalid
        ``DatasetUriInvalid``, ``BucketNotFound``, ``CredentialsRefused`` and what
        :func:`trainingjob_trainer.storage.s3_client` raises. Messages hold no credentials.
    DataError
        ``DatasetNotFound``, or ``DatasetUnreachable`` if the storage answers that it does not serve this
        address.
    RunFailed
        ``DatasetUnreachable`` if the storage does not answer, or the connection breaks.
    """
    _, bucket, key = parse_uri(dataset.uri)
    if not bucket or not key:
        raise _uri_invalid(" must be s3://bucket/key; correct it")
    endpoint = endpoint_of(dataset.endpoint, settings)
    client = connect(dataset, settings)
    try:
        response = retry.call(lambda: _get(client, bucket, key, endpoint))
    except Again as error:
        raise RunFailed(
            Reason.DATASET_UNREACHABLE,
            f"spec.dataset: bucket {bucket!r} at {endpoint} cannot be reached ({error}); if this persists, "
            "check the endpoint and the network policy",
        ) from None
    try:
        yield response.stream(CHUNK)
    except S3_FAILURES as error:
        raise RunFailed(
            Reason.DATASET_UNREACHABLE, f"The connection broke while {dataset.uri} was read ({brief(error)})"
        ) from None
    finally:
        response.close()
        response.release_conn()


def _get(client: Any, bucket: str, key: str, endpoint: str) -> Any:
    try:
        return client.get_object(bucket, key)
    except S3_FAILURES as error:
        if isinstance(error, S3Error) and error.code == "NoSuchKey":
            raise DataError(
                Reason.DATASET_NOT_FOUND,
                f"spec.dataset.uri: bucket {bucket!r} at {endpoint} holds no object {key!r}; correct the key",
            ) from None
        failure = s3_failure(error, field="spec.dataset", bucket=bucket, endpoint=endpoint)
        if failure is not None:
            raise failure from error
        if not may_pass(error):
            raise DataError(
                Reason.DATASET_UNREACHABLE,
                f"spec.dataset.uri: {endpoint} answers {brief(error)} for {key!r} in bucket {bucket!r}; "
                "correct the address",
            ) from None
        raise Again(brief(error)) from None
    except ValueError:  # the client checks names before it sends, and the answer after it
        raise _uri_invalid(
            f": bucket {bucket!r} and key {key!r} are not valid S3 names, or {endpoint} does not answer "
            "as S3 does; correct it"
        ) from None
