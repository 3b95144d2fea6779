"""From the evidence of both releases to a verdict, rule by rule."""

from dataclasses import dataclass
from enum import IntEnum

from promotion_gate.evidence import Evidence

__all__ = ["Limits", "Rule", "Verdict", "judge", "verdict"]


class Verdict(IntEnum):
    """What a rule, or all of them, say; the number is the exit status."""

    PROMOTE = 0
    ROLL_BACK = 1
    WAIT = 2


@dataclass(frozen=True, slots=True)
class Limits:
    """How much worse than the stable release the canary may be.

    Parameters
    ----------
    min_jobs
        Jobs of the canary that must have ended before any verdict but a clear failure.
    failures, fallbacks, overruns
        How far the canary's rate for each job may lie above the stable one's.
    max_failures
        The share of failed jobs that is too much whatever the stable release does.
    """

    min_jobs: int = 20
    failures: float = 0.05
    fallbacks: float = 0.10
    overruns: float = 0.05
    max_failures: float = 0.25


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of the table."""

    name: str
    canary: str
    stable: str
    allowed: str
    verdict: Verdict


def judge(canary: Evidence, stable: Evidence, limits: Limits) -> tuple[Rule, ...]:
    """Return what each rule says of the two releases.

    A stable release with fewer than ``min_jobs`` jobs is no measure: the canary is then held against a rate
    of zero. A rule that is broken counts, however few the jobs, once as many events as ``min_jobs`` would
    allow have happened: a canary that fails its first jobs need not fail twenty.
    """
    enough = canary.ended >= limits.min_jobs
    rules = [
        Rule(
            "jobs ended",
            str(canary.ended),
            str(stable.ended),
            f"at least {limits.min_jobs}",
            Verdict.PROMOTE if enough else Verdict.WAIT,
        ),
        _compared("failed", limits.failures, canary, stable, limits),
        _compared("fallbacks", limits.fallbacks, canary, stable, limits),
        _compared("overruns", limits.overruns, canary, stable, limits),
    ]
    if canary.unhandled is not None:
        rules.append(
            Rule(
                "not handled",
                str(canary.unhandled),
                str(stable.unhandled),
                "0",
                Verdict.ROLL_BACK if canary.unhandled else Verdict.PROMOTE,
            )
        )
    return tuple(rules)


def verdict(rules: tuple[Rule, ...]) -> Verdict:
    """Return what follows: one broken rule is enough to roll back, one open one to wait."""
    found = {rule.verdict for rule in rules}
    return next(verdict for verdict in (Verdict.ROLL_BACK, Verdict.WAIT, Verdict.PROMOTE) if verdict in found)


def _compared(name: str, margin: float, canary: Evidence, stable: Evidence, limits: Limits) -> Rule:
    events, stable_events = getattr(canary, name), getattr(stable, name)
    base = stable_events / stable.ended if stable.ended >= limits.min_jobs else 0.0
    allowed = base + margin
    if name == "failed":
        allowed = min(allowed, limits.max_failures)
    # With few jobs one event is a high rate; it takes as many as would break the rule of a full sample.
    broken = events > allowed * max(canary.ended, limits.min_jobs)
    return Rule(
        name,
        _rate(events, canary.ended),
        _rate(stable_events, stable.ended),
        f"at most {100 * allowed:.1f} %",
        Verdict.ROLL_BACK if broken else Verdict.PROMOTE,
    )


def _rate(events: int, jobs: int) -> str:
    return f"{events} ({100 * events / jobs:.1f} %)" if jobs else str(events)
