"""A store in an S3 bucket, and what a failure of S3 means for the user."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree as ET

from minio import Minio
from minio.error import InvalidResponseError, S3Error, ServerError
from urllib3.exceptions import HTTPError, MaxRetryError

from trainingjob_trainer.errors import TrainingError
from trainingjob_trainer.settings import TrainerSettings
from trainingjob_trainer.storage.access import endpoint_of, s3_client
from trainingjob_trainer.storage.store import (
    PROBE,
    Again,
    BucketStore,
    Hidden,
    Missing,
    Readable,
    RetryPolicy,
    StoreError,
    content_type,
    status_may_pass,
)

_PART = 16 * 1024 * 1024
_FAILURES = (S3Error, ServerError, InvalidResponseError, HTTPError, OSError, ET.ParseError)
"""Everything that the client raises when a request fails."""
_MISSING = re.compile("NoSuchKey|NoSuchObject")
_REFUSED = re.compile(
    "AccessDenied|AccountProblem|AllAccessDisabled|AuthorizationHeaderMalformed|ExpiredToken|Forbidden|"
    "InvalidAccessKeyId|InvalidToken|SignatureDoesNotMatch|TokenRefreshRequired|UnauthorizedAccess"
)
_PASSING = re.compile("InternalError|RequestTimeout|ServiceUnavailable|SlowDown|OperationAborted")
_KNOWN = re.compile(
    f"{_MISSING.pattern}|{_REFUSED.pattern}|{_PASSING.pattern}|BadDigest|BucketAlreadyExists|EntityTooLarge|"
    "EntityTooSmall|IncompleteBody|InvalidArgument|InvalidBucketName|InvalidDigest|InvalidObjectState|"
    "InvalidPart|InvalidRange|InvalidRequest|KeyTooLongError|MalformedXML|MethodNotAllowed|"
    "MissingContentLength|NoSuchBucket|NoSuchUpload|NotImplemented|PermanentRedirect|PreconditionFailed|"
    "QuotaExceeded|RequestTimeTooSkewed|XMinioStorageFull"
)
"""Codes that are shown. Any other text in their place is the answer of who knows what server."""
_FORBIDDEN = frozenset({401, 403})


class S3Store(BucketStore):
    """Objects in a bucket below a prefix; `client` is from `s3_client`."""

    def __init__(
        self,
        client: Minio,
        bucket: str,
        prefix: str,
        *,
        endpoint: str,
        field: str = "spec.output",
        retry: RetryPolicy | None = None,
    ) -> None:
        super().__init__("s3", bucket, prefix, host=endpoint, field=field, retry=retry)
        self._client = client

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
                raise self._no_bucket()
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
                stream, size = io.BytesIO(content), len(content)
                self._client.put_object(
                    self._bucket, target, stream, size, content_type=kind, metadata=labels
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
            code = _code(error)
            if _MISSING.fullmatch(code):
                raise Missing(code) from None
            known = self._refusal(error)
            if known is not None:
                raise (Hidden(known) if code == "AccessDenied" else known) from None
            raise (Again if may_pass(error) else StoreError)(brief(error)) from None

    def _refusal(self, error: Exception) -> TrainingError | None:
        """Return the user's error behind a failure, or None if it may pass or is of another kind."""
        code = _code(error)
        status = getattr(error, "_code", None) if isinstance(error, InvalidResponseError) else None
        if code == "NoSuchBucket":
            return self._no_bucket()
        if _REFUSED.fullmatch(code) or status in _FORBIDDEN:
            return self._access_refused(code or str(status))
        return None


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


def _code(error: BaseException) -> str:
    """Return the code that the server gave an error, or ""."""
    return str(error.code or "") if isinstance(error, S3Error) else ""


def brief(error: BaseException) -> str:
    """Return the kind of a failure in a few words, without anything that the server or the user wrote."""
    if isinstance(error, S3Error):
        return _code(error) if _KNOWN.fullmatch(_code(error)) else f"HTTP status {error.response.status}"
    if isinstance(error, ServerError):
        return f"HTTP status {error.status_code}"
    if isinstance(error, MaxRetryError) and error.reason is not None:
        return type(error.reason).__name__
    return type(error).__name__


def may_pass(error: BaseException) -> bool:
    """Return whether a failure may be gone at the next attempt."""
    if isinstance(error, S3Error):
        return bool(_PASSING.fullmatch(_code(error))) or status_may_pass(error.response.status)
    if isinstance(error, InvalidResponseError):
        return status_may_pass(int(getattr(error, "_code", 0)))
    return True
