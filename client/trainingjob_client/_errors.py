"""The errors that a caller of the client meets."""

from typing import ClassVar

from trainingjob_api import Reason

__all__ = ["ClientError", "InvalidRequest", "JobFailed", "ServiceUnavailable"]


class ClientError(Exception):
    """Base of all errors of the client.

    Parameters
    ----------
    reason
        Why, in one word that programs can compare.
    message
        What happened and what to do.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class InvalidRequest(ClientError):  # noqa: N818 - reads like HTTP's 4xx
    """The request cannot succeed as it is; no retry helps."""

    exit_code = 2


class ServiceUnavailable(ClientError):  # noqa: N818 - reads like HTTP's 503
    """The backend cannot answer now."""


class JobFailed(ClientError):  # noqa: N818 - the name of the condition
    """The job has ended without a model; `reason` and `message` are those of its Failed condition."""
