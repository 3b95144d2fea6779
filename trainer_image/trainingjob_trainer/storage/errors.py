"""What an S3 failure means for the user; messages carry codes and names, never credentials."""

from xml.etree import ElementTree as ET

from minio.error import InvalidResponseError, S3Error, ServerError
from urllib3.exceptions import HTTPError, MaxRetryError

from trainingjob_api import Reason
from trainingjob_trainer.errors import SpecInvalid, TrainingError

__all__ = ["S3_FAILURES", "brief", "s3_failure"]

S3_FAILURES = (S3Error, ServerError, InvalidResponseError, HTTPError, OSError, ET.ParseError)
"""Everything that the client raises when a request fails."""

_REFUSED = frozenset(
    {
        "AccessDenied",
        "AccountProblem",
        "AllAccessDisabled",
        "AuthorizationHeaderMalformed",
        "ExpiredToken",
        Reason.FORBIDDEN,
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
            Reason.QUOTA_EXCEEDED,
            "RequestTimeTooSkewed",
            "XMinioStorageFull",
        }
    )
)
"""Codes that are shown. Any other text in their place is the answer of who knows what server."""
_FORBIDDEN = frozenset({401, 403})
_BUSY = frozenset({408, 429})
_SERVER_FAULT = 500
_NOT_IMPLEMENTED = 501


def brief(error: BaseException) -> str:
    """Return the kind of a failure in a few words, without anything the server or the user wrote."""
    if isinstance(error, S3Error):
        return error.code if error.code in _KNOWN else f"HTTP status {error.response.status}"
    if isinstance(error, ServerError):
        return f"HTTP status {error.status_code}"
    if isinstance(error, MaxRetryError) and error.reason is not None:
        return type(error.reason).__name__
    return type(error).__name__


def s3_failure(error: BaseException, *, field: str, bucket: str, endpoint: str) -> TrainingError | None:
    """Return the user's error behind an S3 failure, or None if the failure may pass or is of another kind.

    Parameters
    ----------
    error
        What the client raised.
    field
        The field to correct, such as ``spec.output``.
    bucket, endpoint
        Where the request went.

    Returns
    -------
    TrainingError or None
        `SpecInvalid` with reason ``BucketNotFound`` or ``CredentialsRefused``, or None.
    """
    code = error.code if isinstance(error, S3Error) else None
    status = getattr(error, "_code", None) if isinstance(error, InvalidResponseError) else None
    if code == "NoSuchBucket":
        return SpecInvalid(
            Reason.BUCKET_NOT_FOUND,
            f"{field}.uri: there is no bucket {bucket!r} at {endpoint}; create it or correct the name",
        )
    if code in _REFUSED or status in _FORBIDDEN:
        return SpecInvalid(
            Reason.CREDENTIALS_REFUSED,
            f"{field}: {endpoint} refuses access to bucket {bucket!r} ({code or status}); check "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the referenced Secret or the environment, "
            "or the role of the service account, and the rights that they have",
        )
    return None


def may_pass(error: BaseException) -> bool:
    """Tell whether a failure may be gone at the next attempt."""
    if isinstance(error, S3Error):
        return error.code in _PASSING or _passing(error.response.status)
    if isinstance(error, InvalidResponseError):
        return _passing(int(getattr(error, "_code", 0)))
    return True


def _passing(status: int) -> bool:
    return status in _BUSY or (status >= _SERVER_FAULT and status != _NOT_IMPLEMENTED)
