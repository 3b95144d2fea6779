"""``report.html``: one self-contained page, made of the JSON documents alone."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from trainingjob_trainer.report import plots
from trainingjob_trainer.report.words import duration, number, percent, size_text, verdict

__all__ = ["render_html"]

Document = Mapping[str, Any]
_NOTE_CHARS = 300
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def render_html(*, leaderboard: Document, front: Document, summary: Document, data: Document) -> str:
    """Return the page.

    A picture that cannot be drawn is replaced by a sentence that says why.

    Parameters
    ----------
    leaderboard, front, summary, data
        The documents ``leaderboard.json``, ``tp_pareto_front.json``, ``evaluation_summary.json`` and
        ``report_data.json``.

    Raises
    ------
    KeyError, TypeError
        If a document is of another shape.
    """
    environment = Environment(
        loader=PackageLoader("trainingjob_trainer.report"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        finalize=_without_control_characters,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=number, duration=duration, percent=percent, size=size_text)
    pictures, notes = _pictures(front, summary, data)
    return environment.get_template("report.html.j2").render(
        leaderboard=leaderboard,
        front=front,
        summary=summary,
        data=data,
        pictures=pictures,
        notes=notes,
        verdict=verdict(summary),
    )


def _searched_baseline(front: Document, summary: Document, data: Document) -> float | None:
    """Return the baseline's score on the rows that the search looked at, or None if it is not known."""
    baseline = summary["baseline"]
    for one in data["timeline"]["evaluations"]:
        if one["key"] == baseline["key"] and one["score"] is not None:
            return float(one["score"])
    rows = {point.get("trainRows") for point in front["points"]}
    score = baseline["score"]
    return None if score is None or (rows and baseline.get("trainRows") not in rows) else float(score)


def _without_control_characters(value: Any) -> Any:
    """Return text without the characters that no HTML page may hold; everything else stays."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", value) if type(value) is str else value


def _pictures(front: Document, summary: Document, data: Document) -> tuple[dict[str, Markup], dict[str, str]]:
    """Return the pictures, and for those that are missing the reason, by name."""
    notes = {note["section"]: note["message"] for note in data["notes"]}
    parts: dict[str, Callable[[], Markup]] = {
        "front": lambda: plots.plot_front(dict(data), dict(front)),
        "progress": lambda: plots.plot_progress(dict(data), _searched_baseline(front, summary, data)),
    }
    if summary["best"]["key"] != summary["baseline"]["key"]:
        parts["folds"] = lambda: plots.plot_folds(summary["best"], summary["baseline"])
    if data.get("importance"):
        parts["importance"] = lambda: plots.plot_importance(data["importance"])
    shown = data.get("classification") or {}
    if shown.get("confusion"):
        parts["confusion"] = lambda: plots.plot_confusion(shown["confusion"])
    if shown.get("roc"):
        parts["roc"] = lambda: plots.plot_roc(shown["roc"])
    if shown.get("calibration"):
        parts["calibration"] = lambda: plots.plot_calibration(shown["calibration"])
    if data.get("regression"):
        parts["residuals"] = lambda: plots.plot_regression(data["regression"])
    pictures: dict[str, Markup] = {}
    for name, part in parts.items():
        try:
            pictures[name] = part()
        except Exception as error:  # noqa: BLE001 - a gap with its reason is better than no report
            notes[name] = (str(error).strip().splitlines() or [type(error).__name__])[0][:_NOTE_CHARS]
    return pictures, notes
