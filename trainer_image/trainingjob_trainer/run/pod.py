"""A run as the only container of a Kubernetes pod: the job from a ConfigMap, the report into another one.

Exit status: 0 a model is published; 1 the run failed; 2 the spec or the data is wrong; 143 the pod was told
to stop, and what has been evaluated is kept for the next one.
"""

import logging
import ssl
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx
from pydantic import ValidationError

from trainingjob_api import (
    Failure,
    Reason,
    Report,
    ReportError,
    ResolvedRun,
    Stage,
    dump_report,
    parse_report,
    plan_digest,
)
from trainingjob_api.report import MAX_ATTEMPT
from trainingjob_certificates import ReportKey, is_signed
from trainingjob_trainer.errors import RunFailed, SpecInvalid, TrainingError
from trainingjob_trainer.run.publish import REFUSAL_SECONDS
from trainingjob_trainer.run.state import Interrupted, Listener, RunOptions
from trainingjob_trainer.run.supervisor import supervise
from trainingjob_trainer.settings import TrainerSettings
from trainingjob_trainer.storage import RetryPolicy

EXIT_STOPPED = 143
RUN_FILE = Path("/etc/trainingjob/run.json")
_UID = "TRAININGJOB_JOB_UID"
_DIGEST = "TRAININGJOB_PLAN_DIGEST"
_WORK_DIR = "/var/run/trainingjob/work"
_REPORT_SECONDS = 15.0
_FIRST_WORD_SECONDS = 120.0
_PAUSE_SECONDS = 2.0
_LAST_WORD_SECONDS = 180.0
"""The operator makes a deleted ConfigMap or Role again about a minute after reports fall silent."""
_UPLOAD_PATIENCE_SECONDS = 480.0
"""Less than the grace of the default deadline. What is saved is lost with the pod."""

REPORT_KEY = "report.json"
MANAGER = "trainingjob-trainer"
"""The name under which the API server keeps who has written what."""
SIGNATURE_KEY = "report.sig"
_KEY_VARIABLE = "TRAININGJOB_REPORT_KEY_FILE"
_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_TIMEOUT_SECONDS = 10.0
_RETRY = RetryPolicy(attempts=4, first_delay_seconds=1.0)
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})

T = TypeVar("T")

log = logging.getLogger(__name__)


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
    key
        Signs reports; None where the operator asks for no signature.
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


def run_pod(
    environment: Mapping[str, str],
    *,
    run_file: Path = RUN_FILE,
    reports: ReportMap | None = None,
    on_event: Listener = lambda _event, _state: None,
    on_attempt: Callable[[int], None] = lambda _number: None,
    on_failure: Callable[[TrainingError], None] = lambda _error: None,
) -> int:
    """Run a pod's job to its end and return the exit status.

    Parameters
    ----------
    run_file
        The resolved job; its image is in a file beside it.
    reports
        Where the report is; by default what the environment names.
    on_event
        Called with each event and the state after it.
    on_attempt
        Called with the number of the attempt, once it is known.
    on_failure
        Called with why the run failed, before that is reported.
    """
    reports = reports or ReportMap.from_environment(environment)
    before = _last_report(reports)
    writer = _Writer(reports, before)
    options = RunOptions(
        work_dir=Path(environment.get("TRAININGJOB_WORK_DIR", _WORK_DIR)),
        environment=dict(environment),
        attempt=_attempt(before, environment.get("POD_UID")),
        pod_uid=environment.get("POD_UID") or None,
        save_on_signal=False,
        report_seconds=_REPORT_SECONDS,
        upload_patience_seconds=_UPLOAD_PATIENCE_SECONDS,
        refusal_patience_seconds=REFUSAL_SECONDS,
        report_key=reports.key,
    )
    on_attempt(options.attempt)
    uid = environment.get(_UID, "")
    try:
        run = _read_run(run_file, environment)
        uid = run.uid or uid
        settings = TrainerSettings.from_environment(environment)
        supervise(run, options, settings, on_event, sink=writer.write)
    except Interrupted:
        return EXIT_STOPPED
    except TrainingError as error:
        on_failure(error)
        writer.last_word(uid, options, error)
        return error.exit_code
    return 0


def _last_report(reports: ReportMap) -> Report | None:
    """Return the last report; wait while the operator restores the right to read it.

    Raises `RunFailed` with ``ReportNotRead`` if the API server refuses it, or does not answer, all that time.
    """
    try:
        return _patiently(reports.read, _FIRST_WORD_SECONDS, "report not read")
    except (httpx.HTTPError, OSError) as error:
        why = type(error).__name__
        if isinstance(error, httpx.HTTPStatusError):
            why = f"HTTP status {error.response.status_code}"
        raise RunFailed(
            Reason.REPORT_NOT_READ,
            f"the API server returned no report within {_FIRST_WORD_SECONDS:.0f} s ({why}); "
            "check that the job's Role, RoleBinding and report ConfigMap exist",
        ) from error


def _patiently(request: Callable[[], T], seconds: float, failed: str) -> T:
    """Return the answer of the API server, asked every 2 s for this long; log each failure."""

    def may_pass(error: Exception) -> bool:
        passing = isinstance(error, httpx.HTTPError | OSError)
        if passing:
            log.warning(failed, extra={"detail": type(error).__name__})
        return passing

    pause = _PAUSE_SECONDS
    retry = RetryPolicy(
        attempts=None, first_delay_seconds=pause, longest_delay_seconds=pause, deadline_seconds=seconds
    )
    return retry.call(request, may_pass)


def _read_run(path: Path, environment: Mapping[str, str]) -> ResolvedRun:
    """Return the mounted run, if this pod was made for it; else raise `RunFailed` with ``RunRefused``.

    The pod's environment names it: unlike a ConfigMap, the template of a Job never changes.
    """
    uid, digest = environment.get(_UID), environment.get(_DIGEST)
    try:
        text = path.read_bytes().decode()
        image = path.with_name("image").read_bytes().decode() if digest else ""
        if digest and plan_digest(text, image) != digest:
            raise _refused("is not the plan that status.plan.digest of the job records")
        run = ResolvedRun.model_validate_json(text)
    except ValidationError as error:
        raise _refused(f"cannot be read ({error.error_count()} fields do not fit)") from None
    except (OSError, UnicodeDecodeError) as error:
        raise _refused(f"cannot be read ({type(error).__name__})") from None
    if uid and run.uid != uid:
        raise _refused("is of another job")
    return run


def _refused(why: str) -> RunFailed:
    return RunFailed(
        Reason.RUN_REFUSED,
        f"the run that is mounted at {RUN_FILE.parent} {why}; delete the ConfigMap that holds it, and the "
        "operator makes it again",
    )


def _attempt(before: Report | None, pod_uid: str | None) -> int:
    if before is None:
        return 1
    return before.attempt if before.pod_uid == pod_uid else min(before.attempt + 1, MAX_ATTEMPT)


class _Writer:
    """Writes reports. One that cannot be written is passed over, unless it is the last one."""

    def __init__(self, reports: ReportMap, before: Report | None) -> None:
        self._reports = reports
        self._sequence = 0 if before is None else before.sequence
        self._last: Report | None = None

    def write(self, report: Report) -> None:
        self._sequence += 1
        numbered = report.model_copy(update={"sequence": self._sequence})
        self._last = numbered
        seconds = _LAST_WORD_SECONDS if report.final else 0.0
        try:
            _patiently(lambda: self._reports.write(numbered), seconds, "report not written")
        except (httpx.HTTPError, OSError) as error:
            if report.final and report.failure is None:
                raise RunFailed(
                    Reason.REPORT_NOT_WRITTEN,
                    "the model is published, but the API server did not accept its report",
                ) from error

    def last_word(self, uid: str, options: RunOptions, error: TrainingError) -> None:
        """Report a failure that came before the run had a report of its own."""
        if self._last is not None and self._last.failure is not None:
            return
        if not uid:
            return
        failure = Failure(reason=error.reason, message=error.message[:1000], exit_code=error.exit_code)
        self.write(
            Report(
                job_uid=uid,
                attempt=options.attempt,
                pod_uid=options.pod_uid,
                final=True,
                stage=Stage.STARTING,
                written_at=datetime.now(UTC),
                failure=failure,
            )
        )
