"""Errors of the control plane.

::

    OperatorError
    ├── SettingsError   the operator's own environment is wrong: it does not start
    ├── Refused         a job cannot run here: the user must act, one condition says why
    └── ApiFault        the API server refused or failed: tried again after a delay
"""

from typing import Any, Final

__all__ = ["ApiFault", "OperatorError", "Refused", "SettingsError"]

STATUS_NOT_FOUND: Final = 404
STATUS_CONFLICT: Final = 409
STATUS_TOO_LARGE: Final = 413


class OperatorError(Exception):
    """Base of all errors of the operator."""


class SettingsError(OperatorError):
    """A variable of the operator's environment cannot be read; the message names it."""


class Refused(OperatorError):  # noqa: N818  # reads like the condition that it becomes
    """A job cannot run as it is.

    Parameters
    ----------
    reason
        Reason of the condition, from :mod:`trainingjob_api.reasons`.
    message
        The field, the cause and the way out.
    final
        Whether only another spec helps: the job fails. Otherwise it waits.
    """

    def __init__(self, reason: str, message: str, *, final: bool = True) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.final = final


class ApiFault(OperatorError):  # noqa: N818  # a fault is what it is called throughout
    """A call to the API server did not succeed.

    Parameters
    ----------
    status
        HTTP status; 0 where there was no answer (time-out, connection).
    message
        The server's own words, bounded.
    retry_after
        Seconds that the server asks to wait, if it does.

    Attributes
    ----------
    request : tuple of str
        Method and path of the call, once they are known.
    """

    def __init__(self, status: int, message: str, retry_after: float | None = None) -> None:
        super().__init__(f"{status or 'no answer'}: {message}")
        self.status = status
        self.message = message
        self.retry_after = retry_after
        self.request: tuple[str, str] = ("", "")

    @property
    def fields(self) -> dict[str, Any]:
        """Fields for a log line."""
        method, path = self.request
        return {"method": method, "path": path, "code": self.status, "detail": self.message}

    @property
    def not_found(self) -> bool:
        """Whether the object does not exist."""
        return self.status == STATUS_NOT_FOUND

    @property
    def too_large(self) -> bool:
        """Whether the answer is larger than the operator reads."""
        return self.status == STATUS_TOO_LARGE

    @property
    def conflict(self) -> bool:
        """Whether an object of the name exists, or has changed since it was read."""
        return self.status == STATUS_CONFLICT

    @property
    def refusal(self) -> bool:
        """Whether the server understood and does not want it (RBAC, quota, admission, validation)."""
        return self.status in {400, 403, 422}
