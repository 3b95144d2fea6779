"""One call to the API server: plain objects in and out, one kind of error, always a time-out."""

import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from importlib.metadata import version
from typing import Any, Final

import aiohttp
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.client.exceptions import ApiException
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config

from trainingjob_api import shorten
from trainingjob_operator.children import MANAGED_BY

MAX_ANSWER_TEXT: Final = 500
MAX_ANSWER_BYTES: Final = 4 * 1024 * 1024
"""An object is limited to 1.5 MiB. Parsing blocks the event loop, so larger pages are read in parts."""
MOST_SKEW: Final = timedelta(seconds=5)
"""Clocks that differ by less count as equal: the header of an answer has whole seconds."""

_log = logging.getLogger(__name__)


class NoClusterError(Exception):
    """The process has neither a service account nor a kubeconfig."""


class ApiFault(Exception):  # noqa: N818  # a fault is what it is called throughout
    """A call to the API server did not succeed: the pass is retried after a delay.

    *status* is 0 where there was no answer (time-out, connection); *message* is the server's own, bounded;
    *retry_after* is how many seconds the server asks to wait; *request* is method and path.
    """

    def __init__(
        self, status: int, message: str, retry_after: float | None = None, request: tuple[str, str] = ("", "")
    ) -> None:
        super().__init__(f"{status or 'no answer'}: {message}")
        self.status = status
        self.message = message
        self.retry_after = retry_after
        method, path = request
        self.fields: dict[str, Any] = {"method": method, "path": path, "code": status, "detail": message}
        """For a log line."""

    @property
    def not_found(self) -> bool:
        """Whether the object, or its kind, does not exist."""
        return self.status == HTTPStatus.NOT_FOUND

    @property
    def forbidden(self) -> bool:
        """Whether RBAC, a quota or an admission plugin does not allow it."""
        return self.status == HTTPStatus.FORBIDDEN

    @property
    def conflict(self) -> bool:
        """Whether an object of the name exists, or has changed since it was read."""
        return self.status == HTTPStatus.CONFLICT

    @property
    def refusal(self) -> bool:
        """Whether the server understood and refused (RBAC, quota, admission, validation)."""
        return self.forbidden or self.status in {HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY}


async def connect() -> ApiClient:
    """Return a client for the cluster that the process runs in, or that the kubeconfig names."""
    configuration = Configuration()
    try:
        load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
    except ConfigException:
        try:
            await load_kube_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        except ConfigException as error:
            text = f"No cluster: found neither a service account nor a kubeconfig ({error})"
            raise NoClusterError(text) from error
    client = ApiClient(configuration)
    client.user_agent = f"{MANAGED_BY}/{version('trainingjob')}"
    return client


class Transport:
    """One call at a time to the API server, with the library's client, which knows addresses and tokens."""

    def __init__(self, client: ApiClient, *, timeout_seconds: float) -> None:
        self._client = client
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._skew = timedelta()

    def now(self) -> datetime:
        """Return the API server's time; timestamps of its objects are compared with it."""
        return datetime.now(UTC) + self._skew

    async def find(self, path: str, method: str = "GET", **options: Any) -> dict[str, Any] | None:
        """Return the result of :meth:`call`, ``None`` if the object does not exist."""
        try:
            return await self.call(method, path, **options)
        except ApiFault as fault:
            if fault.not_found:
                return None
            raise

    async def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Call and return the answer; every failure becomes an :class:`ApiFault`."""
        request = (method, path)
        content = "application/merge-patch+json" if method == "PATCH" else "application/json"
        query = {**(query or {}), **({"fieldManager": MANAGED_BY} if method in {"POST", "PATCH"} else {})}
        sent = datetime.now(UTC)
        try:
            _, url, headers, _, _ = await self._client.param_serialize(
                method,
                path,
                query_params=list(query.items()),
                header_params={"Content-Type": content, "Accept": "application/json"},
                auth_settings=["BearerToken"],
            )
            answer = await self._client.call_api(
                method, url, header_params=headers, body=body, _request_timeout=self._timeout
            )
            data = await answer.response.read()
        except (aiohttp.ClientError, ApiException, ConfigException, OSError) as error:
            # A time-out is an OSError, whose text may be empty.
            text = shorten(f"{type(error).__name__}: {error}", MAX_ANSWER_TEXT)
            raise ApiFault(0, text, request=request) from error
        self._compare(answer.headers.get("Date"), sent)
        if len(data) > MAX_ANSWER_BYTES:
            text = f"The answer has {len(data):,} bytes, more than {MAX_ANSWER_BYTES:,}"
            raise ApiFault(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, text, request=request)
        return _checked(request, answer.status, data, answer.headers.get("Retry-After"))

    def _compare(self, date: str | None, sent: datetime) -> None:
        """Measure how far the server's clock is ahead; log a change.

        The server wrote *date* between *sent* and now, so any skew within these bounds is kept.
        """
        try:
            stated = parsedate_to_datetime(date or "")
        except (TypeError, ValueError):
            return
        now = datetime.now(UTC)
        if not stated - now - MOST_SKEW < self._skew < stated - sent + MOST_SKEW:
            self._skew = stated - now
            ahead = round(self._skew.total_seconds())
            _log.warning("the API server's clock differs; using its time", extra={"aheadSeconds": ahead})


def path_of(api_version: str, plural: str, namespace: str | None, name: str = "") -> str:
    """Return the path of a kind of objects, or of one object."""
    root = f"/api/{api_version}" if "/" not in api_version else f"/apis/{api_version}"
    scope = f"/namespaces/{namespace}" if namespace else ""
    return f"{root}{scope}/{plural}" + (f"/{name}" if name else "")


def _checked(request: tuple[str, str], status: int, data: bytes, retry: str | None) -> dict[str, Any]:
    """Return the object in *data*, or raise what the status says."""
    try:
        parsed = json.loads(data) if data else {}
    except ValueError:
        parsed = None
    if not isinstance(parsed, dict):
        parsed = {"message": data[: 4 * MAX_ANSWER_TEXT].decode(errors="replace")}
        status = status if status >= HTTPStatus.BAD_REQUEST else 0
    elif status < HTTPStatus.BAD_REQUEST:
        return parsed
    seconds = (parsed.get("details") or {}).get("retryAfterSeconds") or retry
    try:
        wait = float(seconds) if seconds else None
    except (TypeError, ValueError):
        wait = None
    message = shorten(str(parsed.get("message") or "no message"), MAX_ANSWER_TEXT)
    raise ApiFault(status, message, wait, request)
