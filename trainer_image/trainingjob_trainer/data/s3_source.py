"""Tables in S3."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from minio.error import S3Error

from trainingjob_api import Reason
from trainingjob_api.spec import Dataset
from trainingjob_api.uris import parse_uri
from trainingjob_trainer.data.files import CHUNK
from trainingjob_trainer.errors import DataError, RunFailed, SpecInvalid
from trainingjob_trainer.settings import TrainerSettings
from trainingjob_trainer.storage.client import endpoint_of, s3_client
from trainingjob_trainer.storage.errors import S3_FAILURES, brief, may_pass, s3_failure
from trainingjob_trainer.storage.retry import Again, RetryPolicy

__all__ = ["s3_chunks"]

_OPENING = RetryPolicy(attempts=3, deadline_seconds=60.0)


def _connect(dataset: Dataset, settings: TrainerSettings) -> Any:
    return s3_client(dataset.endpoint, settings.credentials_dir, settings, field="spec.dataset")


@contextmanager
def s3_chunks(
    dataset: Dataset,
    settings: TrainerSettings,
    *,
    connect: Callable[[Dataset, TrainerSettings], Any] = _connect,
    retry: RetryPolicy = _OPENING,
) -> Iterator[Iterator[bytes]]:
    """Yield the object's bytes, chunk by chunk.

    Parameters
    ----------
    dataset
        Its ``uri`` is ``s3://bucket/key``.
    settings
        Endpoint, credentials folder and time-out.
    connect
        Makes the client (:class:`minio.Minio`).
    retry
        How often the object is asked for.

    Raises
    ------
    SpecInvalid
        ``DatasetUriInvalid``, ``BucketNotFound``, ``CredentialsRefused`` and what
        :func:`trainingjob_trainer.storage.s3_client` raises. Messages hold no credentials.
    DataError
        ``DatasetNotFound``, or ``DatasetUnreachable`` if the storage answers that it will not serve this
        address.
    RunFailed
        ``DatasetUnreachable`` if the storage is away, or the connection breaks on the way.
    """
    _, bucket, key = parse_uri(dataset.uri)
    if not bucket or not key:
        raise SpecInvalid(Reason.DATASET_URI_INVALID, "spec.dataset.uri must be s3://bucket/key; correct it")
    endpoint = endpoint_of(dataset.endpoint, settings)
    client = connect(dataset, settings)
    try:
        response = retry.call(lambda: _get(client, bucket, key, endpoint))
    except Again as error:
        raise RunFailed(
            Reason.DATASET_UNREACHABLE,
            f"spec.dataset: bucket {bucket!r} at {endpoint} cannot be reached ({error}); if this goes on, "
            "check the endpoint and the network policy",
        ) from None
    try:
        yield response.stream(CHUNK)
    except S3_FAILURES as error:
        raise RunFailed(
            Reason.DATASET_UNREACHABLE, f"the connection broke while {dataset.uri} was read ({brief(error)})"
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
    except ValueError:  # the client checks names before it asks, and what it is answered
        raise SpecInvalid(
            Reason.DATASET_URI_INVALID,
            f"spec.dataset.uri: bucket {bucket!r} and key {key!r} are not names that S3 takes, or {endpoint} "
            "does not answer as S3 does; correct it",
        ) from None
