"""A store in an S3 bucket, and what a failure of S3 means for the user."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree as ET

from minio import Minio
from minio.error import InvalidResponseError, S3Error, ServerError
from urllib3.exceptions import HTTPError, MaxRetryError

from trainingjob_trainer.errors import TrainingError
from trainingjob_trainer.settings import TrainerSettings
from trainingjob_trainer.storage.client import endpoint_of, s3_client
from trainingjob_trainer.storage.store import (
    CHECK_RETRY,
    PROBE,
    Again,
    Hidden,
    Missing,
    Readable,
    RetryPolicy,
    StoreError,
    access_refused,
    content_type,
    no_bucket,
    status_may_pass,
)

__all__ = ["S3Store", "brief", "may_pass", "open_s3", "s3_failure"]

_PART = 16 * 1024 * 1024
_MISSING = frozenset({"NoSuchKey", "NoSuchObject"})

_FAILURES = (S3Error, ServerError, InvalidResponseError, HTTPError, OSError, ET.ParseError)
"""Everything that the client raises when a request fails."""

_REFUSED = frozenset(
    {
        "AccessDenied",
        "AccountProblem",
        "AllAccessDisabled",
        "AuthorizationHeaderMalformed",
        "ExpiredToken",
        "Forbidden",
        "InvalidAccessKeyId",
        "InvalidToken",
        "SignatureDoesNotMatch",
        "TokenRefreshRequired",
        "UnauthorizedAccess",
    }
)
_PASSING = frozenset(
    {"InternalError", "RequestTimeout", "ServiceUnavailable", "SlowDown", "OperationAborted"}
)
_KNOWN = (
    _REFUSED
    | _PASSING
    | frozenset(
        {
            "BadDigest",
            "BucketAlreadyExists",
            "EntityTooLarge",
            "EntityTooSmall",
            "IncompleteBody",
            "InvalidArgument",
            "InvalidBucketName",
            "InvalidDigest",
            "InvalidObjectState",
            "InvalidPart",
            "InvalidRange",
            "InvalidRequest",
            "KeyTooLongError",
            "MalformedXML",
            "MethodNotAllowed",
            "MissingContentLength",
            "NoSuchBucket",
            "NoSuchKey",
            "NoSuchObject",
            "NoSuchUpload",
            "NotImplemented",
            "PermanentRedirect",
            "PreconditionFailed",
            "QuotaExceeded",
            "RequestTimeTooSkewed",
            "XMinioStorageFull",
        }
    )
)
"""Codes that are shown. Any other text in their place is the answer of who knows what server."""
_FORBIDDEN = frozenset({401, 403})


class S3Store:
    """Objects in a bucket below a prefix.

    Parameters
    ----------
    client
        From `s3_client`.
    bucket, prefix
        Where; the prefix has no slash at either end and may be empty.
    endpoint, field
        For messages: where requests go, and the part of the spec that asks.
    retry, check_retry
        See `Store`.
    """

    def __init__(
        self,
        client: Minio,
        bucket: str,
        prefix: str,
        *,
        endpoint: str,
        field: str = "spec.output",
        retry: RetryPolicy | None = None,
        check_retry: RetryPolicy = CHECK_RETRY,
    ) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._endpoint = endpoint
        self._field = field
        self.uri = f"s3://{bucket}/{prefix}".rstrip("/")
        self.where = f"bucket {bucket!r} at {endpoint}"
        self.retry = retry or RetryPolicy()
        self.check_retry = check_retry

    def check(self) -> None:
        """Prove that objects can be written here; see `Store.check`."""
        with self._translated():
            try:
                exists = self._client.bucket_exists(self._bucket)
            except S3Error as error:
                if error.code != "AccessDenied":
                    raise
                # Keys that may write need not be able to look at the bucket.
                exists = True
            if not exists:
                raise no_bucket("s3", self._bucket, self._endpoint, self._field)
            key = self._prefix + PROBE
            self._client.put_object(self._bucket, key, io.BytesIO(b""), 0)
            try:
                self._client.remove_object(self._bucket, key)
            except S3Error as error:
                if error.code != "AccessDenied":
                    raise

    def stat(self, key: str) -> int:
        """Return the size of an object."""
        with self._translated():
            return int(self._client.stat_object(self._bucket, self._prefix + key).size or 0)

    @contextmanager
    def get(self, key: str) -> Iterator[Readable]:
        """Open an object."""
        with self._translated():
            response = self._client.get_object(self._bucket, self._prefix + key)
            try:
                yield response
            finally:
                response.close()
                response.release_conn()

    def put(self, key: str, content: Path | bytes, *, sha256: str | None = None) -> None:
        """Write an object, a large file in parts; its digest is noted in its metadata."""
        kind = content_type(key)
        labels: dict[str, str | list[str] | tuple[str]] = {"sha256": sha256} if sha256 else {}
        target = self._prefix + key
        with self._translated():
            if isinstance(content, Path):
                self._client.fput_object(
                    self._bucket, target, str(content), content_type=kind, metadata=labels, part_size=_PART
                )
            else:
                self._client.put_object(
                    self._bucket,
                    target,
                    io.BytesIO(content),
                    len(content),
                    content_type=kind,
                    metadata=labels,
                )

    def delete(self, key: str) -> None:
        """Remove an object, if it exists."""
        with self._translated():
            self._client.remove_object(self._bucket, self._prefix + key)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Translate what the client raises into the errors of a store and of the user."""
        try:
            yield
        except _FAILURES as error:
            code = error.code if isinstance(error, S3Error) else None
            if code in _MISSING:
                raise Missing(str(code)) from None
            known = s3_failure(error, field=self._field, bucket=self._bucket, endpoint=self._endpoint)
            if known is not None:
                raise (Hidden(known) if code == "AccessDenied" else known) from None
            raise (Again if may_pass(error) else StoreError)(brief(error)) from None


def open_s3(
    bucket: str,
    prefix: str,
    *,
    endpoint: str | None,
    credentials_dir: Path | None,
    settings: TrainerSettings,
    field: str,
) -> S3Store:
    """Return the store of a bucket; parameters and errors are those of `s3_client`."""
    client = s3_client(endpoint, credentials_dir, settings, field=field)
    return S3Store(client, bucket, prefix, endpoint=endpoint_of(endpoint, settings), field=field)


def brief(error: BaseException) -> str:
    """Return the kind of a failure in a few words, without anything that the server or the user wrote."""
    if isinstance(error, S3Error):
        return error.code if error.code in _KNOWN else f"HTTP status {error.response.status}"
    if isinstance(error, ServerError):
        return f"HTTP status {error.status_code}"
    if isinstance(error, MaxRetryError) and error.reason is not None:
        return type(error.reason).__name__
    return type(error).__name__


def s3_failure(error: BaseException, *, field: str, bucket: str, endpoint: str) -> TrainingError | None:
    """Return the user's error behind an S3 failure, or None if it may pass or is of another kind.

    The error names `field`, such as ``spec.output``; it has the reason ``BucketNotFound`` or
    ``CredentialsRefused``.
    """
    code = error.code if isinstance(error, S3Error) else None
    status = getattr(error, "_code", None) if isinstance(error, InvalidResponseError) else None
    if code == "NoSuchBucket":
        return no_bucket("s3", bucket, endpoint, field)
    if code in _REFUSED or status in _FORBIDDEN:
        return access_refused("s3", bucket, endpoint, field, str(code or status))
    return None


def may_pass(error: BaseException) -> bool:
    """Return whether a failure may be gone at the next attempt."""
    if isinstance(error, S3Error):
        return error.code in _PASSING or status_may_pass(error.response.status)
    if isinstance(error, InvalidResponseError):
        return status_may_pass(int(getattr(error, "_code", 0)))
    return True
