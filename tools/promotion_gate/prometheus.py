"""Evidence from Prometheus' query API.

``increase()`` is not used: a counter with labels appears with its first event at 1, and from 1 to 1 nothing
increases, so that the first failure of a release would never be seen. Here a series that appears within the
window counts from zero, and one that falls was restarted and counts from zero, too.
"""

import json
import os
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from promotion_gate.evidence import Evidence, GateError

__all__ = ["Prometheus", "increase"]

_LEAD = timedelta(hours=1)
"""How far before the window is looked, so that a gap at its start makes no old series a new one."""
_MOST_POINTS = 10_000
_FINEST = 60
_LEAST_COVERAGE = 0.9
_LARGEST = 64 * 1024 * 1024
_LATEST = timedelta(minutes=15)

Samples = Sequence[tuple[float, float]]


def increase(samples: Samples, start: float) -> float:
    """Return how far a counter rose after *start*.

    Parameters
    ----------
    samples
        Time (seconds) and value, oldest first; they begin before *start* unless the series is younger.
    start
        Where counting begins, in seconds.
    """
    total = 0.0
    before = 0.0
    for at, value in samples:
        if at > start:
            total += value - before if value >= before else value
        before = value
    return total


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the token to wherever it leads."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Follow nothing: the redirect itself becomes the error."""


_OPENER = urllib.request.build_opener(_NoRedirects)


@dataclass(frozen=True)
class Prometheus:
    """A Prometheus server, or anything with its query API.

    Parameters
    ----------
    url
        Where it answers; ``/api/v1/query_range`` is appended.
    token
        A bearer token, or None.
    timeout
        Seconds that one answer may take.
    """

    url: str
    token: str | None = None
    timeout: float = 30.0

    @classmethod
    def from_environment(cls, url: str, environment: Mapping[str, str] = os.environ) -> "Prometheus":
        """Make one with the token of ``PROMETHEUS_TOKEN``, which never stands on a command line.

        Raises
        ------
        GateError
            If *url* is no http or https address, or would send the token in the clear.
        """
        parts = urllib.parse.urlsplit(url)
        token = environment.get("PROMETHEUS_TOKEN") or None
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise GateError("--prometheus: an http:// or https:// address is needed")
        if token and parts.scheme != "https" and parts.hostname not in {"localhost", "127.0.0.1", "::1"}:
            raise GateError("--prometheus: PROMETHEUS_TOKEN is only sent over https://")
        return cls(url.rstrip("/"), token)

    def evidence(self, selector: str, *, now: datetime, window: timedelta) -> Evidence:
        """Return what the release did whose series match *selector*, such as ``namespace="canary"``.

        Raises
        ------
        GateError
            If the server does not answer, or has no unbroken series of the release.
        """
        start, end = (now - window).timestamp(), now.timestamp()
        step = max(_FINEST, (end - start + _LEAD.total_seconds()) / _MOST_POINTS)

        def series(metric: str, more: str = "") -> list[Samples]:
            matchers = ",".join(filter(None, (selector, more)))
            return self._range(f"{metric}{{{matchers}}}", start - _LEAD.total_seconds(), end, step)

        self._covered(series("trainingjobs"), selector, start, end, step)
        return Evidence(
            ended=_rise(series, start, "training_jobs_finished_total"),
            failed=_rise(series, start, "training_jobs_finished_total", 'phase="Failed"'),
            fallbacks=_rise(series, start, "tpot_parallel_fallbacks_total"),
            overruns=_rise(series, start, "training_budget_overruns_total"),
        )

    def _covered(self, found: list[Samples], selector: str, start: float, end: float, step: float) -> None:
        """Refuse to judge a release that was not scraped: what it counted meanwhile is not known."""
        seen = {at for samples in found for at, _ in samples if at >= start}
        if not seen:
            raise GateError(f"no trainingjobs{{{selector}}} in the window: is this release up and scraped?")
        if end - max(seen) > _LATEST.total_seconds():
            ago = (end - max(seen)) / 60
            raise GateError(f"trainingjobs{{{selector}}} was last seen {ago:.0f} min ago: is it still up?")
        expected = (end - max(start, min(seen))) / step
        if len(seen) < _LEAST_COVERAGE * expected:
            share = 100 * len(seen) / expected
            raise GateError(
                f"trainingjobs{{{selector}}} has gaps: seen for {share:.0f} % of the time since it began; "
                "choose a window without an outage of Prometheus or of the operator"
            )

    def _range(self, query: str, start: float, end: float, step: float) -> list[Samples]:
        parameters = {"query": query, "start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step:.3f}"}
        request = urllib.request.Request(  # noqa: S310  the scheme was checked where the address came in
            f"{self.url}/api/v1/query_range",
            data=urllib.parse.urlencode(parameters).encode(),
            headers={"Accept": "application/json"} | self._authorization(),
        )
        try:
            with _OPENER.open(request, timeout=self.timeout) as response:
                answer = json.loads(response.read(_LARGEST))
            return [
                [(float(at), float(value)) for at, value in series["values"]]
                for series in answer["data"]["result"]
            ]
        except urllib.error.HTTPError as error:
            with error:
                raise GateError(f"Prometheus answers {error.code} to {query}: {_why(error)}") from error
        except OSError as error:
            raise GateError(f"Prometheus does not answer: {error}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise GateError(f"what answers is no Prometheus: {error!r} in its answer to {query}") from error

    def _authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}


def _rise(series: Callable[..., list[Samples]], start: float, *query: str) -> int:
    return round(sum(increase(samples, start) for samples in series(*query)))


def _why(error: urllib.error.HTTPError) -> str:
    """Return Prometheus' own words, which name a mistake in a selector."""
    try:
        said: Any = json.loads(error.read(4096))
        return str(said["error"])[:300]
    except (OSError, ValueError, KeyError, TypeError):
        return str(error.reason)
