"""The failures that are retried, how often, how long and with which pauses."""

from types import SimpleNamespace

import pytest
from minio.error import InvalidResponseError, S3Error, ServerError
from urllib3.exceptions import MaxRetryError, NewConnectionError

from trainingjob_trainer.storage.s3 import brief, may_pass
from trainingjob_trainer.storage.store import Again, RetryPolicy


class Time:
    """A clock that only pauses and attempts move."""

    def __init__(self, attempt_seconds: float = 0.0) -> None:
        self.now = 100.0
        self.pauses: list[float] = []
        self.attempts = 0
        self._attempt_seconds = attempt_seconds

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    def fail(self) -> None:
        self.attempts += 1
        self.now += self._attempt_seconds
        raise Again(f"attempt {self.attempts}")

    def policy(self, **fields: float) -> RetryPolicy:
        return RetryPolicy(sleep=self.sleep, clock=lambda: self.now, **fields)  # type: ignore[arg-type]


def test_pauses_double_up_to_a_bound_and_the_last_failure_is_raised() -> None:
    time = Time()
    with pytest.raises(Again, match="attempt 7"):
        time.policy(attempts=7, deadline_seconds=1000.0).call(time.fail)
    assert time.pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0]


def test_no_attempt_begins_after_the_deadline() -> None:
    time = Time(attempt_seconds=20.0)
    with pytest.raises(Again, match="attempt 3"):
        time.policy(attempts=100, deadline_seconds=60.0).call(time.fail)
    assert time.now <= 100.0 + 60.0 + 20.0


def test_other_failures_and_results_end_the_retries() -> None:
    time = Time()
    assert time.policy().call(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        time.policy().call(lambda: 1 // 0)
    assert time.pauses == []


def s3_error(code: str, status: int) -> S3Error:
    return S3Error(SimpleNamespace(status=status), code, "secret", "secret", "id", "host")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("error", "passes", "words"),
    [
        (s3_error("SlowDown", 503), True, "SlowDown"),
        (s3_error("Unheard", 500), True, "HTTP status 500"),
        (s3_error("Unheard", 429), True, "HTTP status 429"),
        (s3_error("Unheard", 408), True, "HTTP status 408"),
        (s3_error("NotImplemented", 501), False, "NotImplemented"),
        (s3_error("NoSuchKey", 404), False, "NoSuchKey"),
        (InvalidResponseError(502, "text/html", "secret"), True, "InvalidResponseError"),
        (InvalidResponseError(501, "text/html", "secret"), False, "InvalidResponseError"),
        (InvalidResponseError(307, "text/html", "secret"), False, "InvalidResponseError"),
        (ServerError("secret", 503), True, "HTTP status 503"),
        (MaxRetryError(None, "secret", NewConnectionError(None, "secret")), True, "NewConnectionError"),  # type: ignore[arg-type]
        (TimeoutError("secret"), True, "TimeoutError"),
    ],
)
def test_temporary_failures_are_recognised_and_described(error: Exception, passes: bool, words: str) -> None:
    assert may_pass(error) is passes
    assert brief(error) == words
