"""Tables in S3."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import urllib3
from minio.error import MinioException, S3Error

from trainingjob_api.spec import Dataset
from trainingjob_trainer.dataset.files import CHUNK
from trainingjob_trainer.errors import DataError, SpecInvalid
from trainingjob_trainer.settings import TrainerSettings

__all__ = ["s3_chunks"]

_CREDENTIALS = frozenset({"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken"})
_MISSING_KEY = frozenset({"NoSuchKey", "NoSuchVersion"})


def _connect(dataset: Dataset, settings: TrainerSettings) -> Any:
    from trainingjob_trainer.storage import s3_client  # noqa: PLC0415  (only s3:// needs the storage room)

    return s3_client(dataset.endpoint, settings.credentials_dir, settings)


@contextmanager
def s3_chunks(
    dataset: Dataset,
    settings: TrainerSettings,
    *,
    connect: Callable[[Dataset, TrainerSettings], Any] = _connect,
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

    Raises
    ------
    SpecInvalid
        ``DatasetUriInvalid``.
    DataError
        ``DatasetNotFound``, ``BucketNotFound``, ``CredentialsRefused``, ``AccessDenied`` or
        ``StorageUnreachable``. Messages hold no credentials.
    """
    bucket, _, key = dataset.uri.removeprefix("s3://").partition("/")
    if not bucket or not key:
        raise SpecInvalid("DatasetUriInvalid", "spec.dataset.uri must be s3://bucket/key")
    client = connect(dataset, settings)
    response = None
    try:
        response = client.get_object(bucket, key)
        yield response.stream(CHUNK)
    except S3Error as error:
        raise _refused(error, dataset.uri, bucket) from error
    except (MinioException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        raise DataError(
            "StorageUnreachable",
            f"{dataset.uri} cannot be read ({type(error).__name__}); check spec.dataset.endpoint, the "
            "bucket's name "
            "and the network policy",
        ) from error
    finally:
        if response is not None:
            response.close()
            response.release_conn()


def _refused(error: S3Error, uri: str, bucket: str) -> DataError:
    code = str(error.code)
    if code in _MISSING_KEY:
        return DataError("DatasetNotFound", f"{uri} does not exist; correct spec.dataset.uri")
    if code == "NoSuchBucket":
        return DataError(
            "BucketNotFound", f"the bucket {bucket!r} of spec.dataset.uri does not exist; correct its name"
        )
    if code in _CREDENTIALS:
        return DataError(
            "CredentialsRefused",
            f"the S3 endpoint refused the credentials for {uri} ({code}); correct the Secret of "
            "spec.dataset.credentialsSecretRef (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)",
        )
    if code in {"AccessDenied", "AllAccessDisabled"}:
        return DataError(
            "AccessDenied",
            f"the credentials may not read {uri}; give them s3:GetObject on it, or name another Secret in "
            "spec.dataset.credentialsSecretRef",
        )
    return DataError(
        "StorageUnreachable", f"{uri} cannot be read: the S3 endpoint answered {code}; try again later"
    )
