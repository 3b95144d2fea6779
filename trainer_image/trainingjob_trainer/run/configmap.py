"""The report's ConfigMap: the one object of the API server that a trainer may read and change."""

import ssl
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

import httpx

from trainingjob_api import Reason, Report, ReportError, dump_report, parse_report
from trainingjob_certificates.signatures import ReportKey, is_signed
from trainingjob_trainer.errors import RunFailed, SpecInvalid
from trainingjob_trainer.storage import RetryPolicy

__all__ = ["REPORT_KEY", "SIGNATURE_KEY", "ReportMap"]

REPORT_KEY = "report.json"
MANAGER = "trainingjob-trainer"
"""The name under which the API server keeps who has written what."""
SIGNATURE_KEY = "report.sig"
_KEY_VARIABLE = "TRAININGJOB_REPORT_KEY_FILE"
_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_TIMEOUT_SECONDS = 10.0
_RETRY = RetryPolicy(attempts=4, first_delay_seconds=1.0)
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})


def _read_key(path: str | None) -> ReportKey | None:
    if not path:
        return None
    try:
        return ReportKey.from_pem(Path(path).read_bytes())
    except (OSError, ValueError) as error:
        raise RunFailed(
            Reason.REPORT_KEY_MISSING,
            f"the key of this run's reports cannot be read from {path} ({type(error).__name__}); "
            "recreate the job",
        ) from None


class ReportMap:
    """Reads and patches the report in its ConfigMap.

    Parameters
    ----------
    client, path
        HTTP client whose base is the API server, and the ConfigMap's path.
    key
        Signs reports; None where the operator asks for no signature.
    account
        Folder of the service account.
    retry
        How often a request is sent that the API server does not answer or cannot take now.
    """

    def __init__(
        self,
        client: httpx.Client,
        path: str,
        *,
        key: ReportKey | None = None,
        account: Path = _ACCOUNT,
        retry: RetryPolicy = _RETRY,
    ) -> None:
        self._client = client
        self._path = path
        self.key = key
        self._account = account
        self._retry = retry

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], *, account: Path = _ACCOUNT) -> Self:
        """Return the map that a pod's environment names.

        Raises
        ------
        SpecInvalid
            With reason ``InvalidEnvironment`` if a variable is missing.
        RunFailed
            With reason ``ReportKeyMissing`` if the key cannot be read.
        """
        names = (
            "KUBERNETES_SERVICE_HOST",
            "KUBERNETES_SERVICE_PORT",
            "POD_NAMESPACE",
            "TRAININGJOB_REPORT_CONFIGMAP",
        )
        missing = [name for name in names if not environment.get(name)]
        if missing:
            raise SpecInvalid(
                Reason.INVALID_ENVIRONMENT, f"{', '.join(missing)} must be set in a trainer's pod"
            )
        host, port, namespace, name = (environment[variable] for variable in names)
        shown = f"[{host}]" if ":" in host else host
        client = httpx.Client(
            base_url=f"https://{shown}:{port}",
            verify=ssl.create_default_context(cafile=str(account / "ca.crt")),
            timeout=_TIMEOUT_SECONDS,
            headers={"User-Agent": f"{MANAGER}/{version('trainingjob')}"},
            trust_env=False,
        )
        path = f"/api/v1/namespaces/{namespace}/configmaps/{name}"
        return cls(client, path, key=_read_key(environment.get(_KEY_VARIABLE)), account=account)

    def read(self) -> Report | None:
        """Return the last report, or None if there is none that this run wrote and can read."""
        data = self._request("GET", None).json().get("data") or {}
        text = data.get(REPORT_KEY)
        if not text:
            return None
        if self.key is not None and not is_signed(self.key.public, text, data.get(SIGNATURE_KEY) or ""):
            return None
        try:
            return parse_report(text)
        except ReportError:
            return None

    def write(self, report: Report) -> None:
        """Replace the report.

        Raises
        ------
        httpx.HTTPError
            If the API server does not take it after some attempts.
        """
        text = dump_report(report)
        signature = {SIGNATURE_KEY: self.key.sign(text)} if self.key is not None else {}
        # In one request: a reader never sees a report with the signature of another.
        self._request("PATCH", {"data": {REPORT_KEY: text, **signature}})

    def _authorization(self) -> dict[str, str]:
        # The token is rotated.
        token = (self._account / "token").read_text().strip()
        return {"Authorization": f"Bearer {token}"}

    def _request(self, method: str, body: Mapping[str, Any] | None) -> httpx.Response:
        headers = {"Content-Type": "application/merge-patch+json"} if body is not None else {}
        params = {"fieldManager": MANAGER} if body is not None else {}

        def send() -> httpx.Response:
            response = self._client.request(
                method, self._path, params=params, json=body, headers={**headers, **self._authorization()}
            )
            return response.raise_for_status()

        return self._retry.call(send, _may_pass)


def _may_pass(error: Exception) -> bool:
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code in _PASSING
    return isinstance(error, httpx.TransportError)
