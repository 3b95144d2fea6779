"""The command: ``python -m promotion_gate``."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

from promotion_gate.evidence import Evidence, GateError, parse_window
from promotion_gate.jobs import evidence, list_jobs, read_jobs
from promotion_gate.prometheus import Prometheus
from promotion_gate.verdict import Limits, Rule, Verdict, judge, verdict

_CONCLUSIONS = {
    Verdict.PROMOTE: "PROMOTE: the canary is within its limits.",
    Verdict.ROLL_BACK: "ROLL BACK: the canary is worse than allowed.",
    Verdict.WAIT: "WAIT: too few jobs have ended for a verdict.",
}
_WORDS = {Verdict.PROMOTE: "ok", Verdict.ROLL_BACK: "broken", Verdict.WAIT: "open"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Judge and print; return the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.share and options.prometheus:
        parser.error(
            "--share takes --cluster or --jobs: no counter separates jobs that search from those that do not"
        )
    now = datetime.now(UTC)
    limits = Limits(
        min_jobs=options.min_jobs,
        failures=options.failures,
        fallbacks=options.fallbacks,
        overruns=options.overruns,
        max_failures=options.max_failures,
    )
    try:
        canary, stable = _both(options, now, options.window)
    except GateError as error:
        sys.stderr.write(f"WAIT: {error}\n")
        return Verdict.WAIT
    rules = judge(canary, stable, limits)
    last = verdict(rules)
    if options.json:
        found = {
            "verdict": last.name,
            "since": (now - options.window).isoformat(),
            "until": now.isoformat(),
            "rules": [{**asdict(rule), "verdict": rule.verdict.name} for rule in rules],
        }
        sys.stdout.write(f"{json.dumps(found, indent=2)}\n")
    else:
        since = f"{now - options.window:%Y-%m-%d %H:%M} to {now:%Y-%m-%d %H:%M} UTC"
        sys.stdout.write(f"{since}\n\n{table(rules)}\n{_CONCLUSIONS[last]}\n")
    return last


def table(rules: Sequence[Rule]) -> str:
    """Return *rules* as a table for a terminal."""
    head = ("", "canary", "stable", "allowed", "")
    lines = [
        head,
        *((rule.name, rule.canary, rule.stable, rule.allowed, _WORDS[rule.verdict]) for rule in rules),
    ]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    padded = (
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines
    )
    return "".join(f"{line.rstrip()}\n" for line in padded)


def _both(options: argparse.Namespace, now: datetime, window: timedelta) -> tuple[Evidence, Evidence]:
    if options.prometheus:
        source = Prometheus.from_environment(options.prometheus)
        canary = source.evidence(options.canary_series, now=now, window=window)
        if options.alone:
            return canary, Evidence()
        return canary, source.evidence(options.stable_series, now=now, window=window)
    jobs = read_jobs(_text(options.jobs)) if options.jobs else list_jobs(options.kubeconfig, options.context)
    if options.share:
        of = options.stable_class
        canary, stable = (evidence(jobs, of, searches=side, now=now, window=window) for side in (True, False))
        return canary, stable
    canary = evidence(jobs, options.canary_class, now=now, window=window)
    if options.alone:
        return canary, Evidence()
    return canary, evidence(jobs, options.stable_class, now=now, window=window)


def _text(path: str) -> str:
    try:
        return sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise GateError(f"--jobs: {path} cannot be read: {error}") from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="promotion_gate",
        description="Say whether the canary may be promoted.",
        epilog="Exit status: 0 promote, 1 roll back, 2 undecided.",
        allow_abbrev=False,
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--prometheus", metavar="URL", help="a server; its bearer token is PROMETHEUS_TOKEN")
    source.add_argument("--cluster", action="store_true", help="the cluster's TrainingJobs, by kubectl")
    source.add_argument(
        "--jobs", metavar="FILE", help="kubectl get trainingjobs -A -o json; - is standard input"
    )
    parser.add_argument("--kubeconfig", metavar="FILE", help="with --cluster")
    parser.add_argument("--context", help="with --cluster")
    parser.add_argument("--window", type=_window, default="72h", help="how far to look back; 72h")
    parser.add_argument(
        "--canary-series",
        default='namespace="trainingjob-canary"',
        help="label matchers of the canary's series",
    )
    parser.add_argument(
        "--stable-series", default='namespace="trainingjob-system"', help="label matchers of the stable ones"
    )
    parser.add_argument("--canary-class", default="canary", help="operatorClass of the canary")
    parser.add_argument("--stable-class", default="stable", help="operatorClass of the stable release")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--share",
        action="store_true",
        help="compare, in the stable release, jobs that search with those that do not; not with --prometheus",
    )
    which.add_argument(
        "--alone",
        action="store_true",
        help="there is no stable release: what is allowed is the margin itself",
    )
    limits = Limits()
    parser.add_argument(
        "--min-jobs", type=_count, default=limits.min_jobs, help="jobs the canary must have ended"
    )
    for name, what in (
        ("failures", "failed jobs above the stable share"),
        ("fallbacks", "steps down for each job above the stable rate"),
        ("overruns", "overruns for each job above the stable rate"),
        ("max-failures", "failed jobs at most, whatever the stable share"),
    ):
        default = getattr(limits, name.replace("-", "_"))
        parser.add_argument(f"--{name}", type=_share, default=default, help=f"{what}; {default}")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _window(text: str) -> timedelta:
    try:
        return parse_window(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of jobs above zero")
    return int(text)


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no share between 0 and 1")
    return value


if __name__ == "__main__":
    sys.exit(main())
