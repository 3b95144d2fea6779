"""Errors of the control plane.

::

    OperatorError
    ├── SettingsError   the operator's own environment is wrong: it does not start
    └── ApiFault        the API server refused or failed: the pass is retried after a delay

What is wrong with a job is no exception but a :class:`trainingjob_api.reasons.Cause`.
"""

from http import HTTPStatus
from typing import Any


class OperatorError(Exception):
    """Base of all errors of the operator."""


class SettingsError(OperatorError):
    """A variable of the operator's environment cannot be read; the message names it."""


class ApiFault(OperatorError):  # noqa: N818  # a fault is what it is called throughout
    """A call to the API server did not succeed.

    Parameters
    ----------
    status
        HTTP status; 0 where there was no answer (time-out, connection).
    message
        The server's own message, bounded.
    retry_after
        Seconds that the server asks to wait, if it does.
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
        return self.status == HTTPStatus.NOT_FOUND

    @property
    def forbidden(self) -> bool:
        """Whether RBAC, a quota or an admission plugin does not allow it."""
        return self.status == HTTPStatus.FORBIDDEN

    @property
    def too_large(self) -> bool:
        """Whether the answer is larger than the operator reads."""
        return self.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE

    @property
    def conflict(self) -> bool:
        """Whether an object of the name exists, or has changed since it was read."""
        return self.status == HTTPStatus.CONFLICT

    @property
    def refusal(self) -> bool:
        """Whether the server understood and refused (RBAC, quota, admission, validation)."""
        return self.forbidden or self.status in {HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY}
