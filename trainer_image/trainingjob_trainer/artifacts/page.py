"""``report.html``: one self-contained page, drawn from the JSON documents alone."""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from trainingjob_trainer.artifacts import plots

Document = Mapping[str, Any]
_NOTE_CHARS = 300
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_DASH = "\N{EN DASH}"
_DIGITS = 4
_SMALL, _LARGE = 0.001, 10.0
_MINUTE, _HOUR = 60, 3600
_KIB = 1024
_FOUR_DIGITS = 999.5


def render_html(*, leaderboard: Document, front: Document, summary: Document, data: Document) -> str:
    """Return the page; a plot that cannot be drawn is replaced by the reason."""
    environment = Environment(
        loader=PackageLoader("trainingjob_trainer.artifacts"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        finalize=_without_control_characters,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=number, duration=duration, percent=_percent, size=size_text)
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


def _without_control_characters(value: Any) -> Any:
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", value) if type(value) is str else value


def _pictures(front: Document, summary: Document, data: Document) -> tuple[dict[str, Markup], dict[str, str]]:
    """Return the plots, and the reasons why others are missing, by name."""
    shown = data.get("classification") or {}
    baseline = searched_baseline(front, summary, data)
    parts: dict[str, tuple[Callable[..., Markup], Any]] = {
        "importance": (plots.plot_importance, data.get("importance")),
        "confusion": (plots.plot_confusion, shown.get("confusion")),
        "roc": (plots.plot_roc, shown.get("roc")),
        "calibration": (plots.plot_calibration, shown.get("calibration")),
        "residuals": (plots.plot_regression, data.get("regression")),
    }
    drawn: dict[str, tuple[Callable[..., Markup], tuple[Any, ...]]] = {
        "front": (plots.plot_front, (data, front)),
        "progress": (plots.plot_progress, (data, baseline)),
        **{name: (plot, (part,)) for name, (plot, part) in parts.items() if part},
    }
    if summary["best"]["key"] != summary["baseline"]["key"]:
        drawn["folds"] = plots.plot_folds, (summary["best"], summary["baseline"])
    notes = {note["section"]: note["message"] for note in data["notes"]}
    pictures: dict[str, Markup] = {}
    for name, (plot, arguments) in drawn.items():
        try:
            pictures[name] = plot(*arguments)
        except Exception as error:  # noqa: BLE001 - a gap with its reason is better than no report
            notes[name] = (str(error).strip().splitlines() or [type(error).__name__])[0][:_NOTE_CHARS]
    return pictures, notes


def searched_baseline(front: Document, summary: Document, data: Document) -> float | None:
    """Return the baseline's score on the rows that the search scored, or None if it is not known."""
    baseline = summary["baseline"]
    for evaluation in data["timeline"]["evaluations"]:
        if evaluation["key"] == baseline["key"] and evaluation["score"] is not None:
            return float(evaluation["score"])
    rows = {point.get("trainRows") for point in front["points"]}
    score = baseline["score"]
    return None if score is None or (rows and baseline.get("trainRows") not in rows) else float(score)


def number(value: float | None, digits: int = _DIGITS) -> str:
    """Return a number with about `digits` significant digits, or a dash."""
    if value is None or not math.isfinite(value):
        return _DASH
    if digits == _DIGITS and _SMALL <= abs(value) < _LARGE:
        # Scores are in a column: they need the same number of decimals.
        text = f"{value:.{digits}f}"
    elif abs(value) >= 10**digits:
        text = f"{value:,.0f}"
    else:
        text = f"{value:.{digits}g}"
    return "0" if text == "-0" else text.replace("-", "\N{MINUS SIGN}")


def _percent(value: float | None) -> str:
    return _DASH if value is None else f"{100 * value:.0f} %"


def duration(seconds: float | None) -> str:
    """Return seconds in a suitable unit, or a dash."""
    if seconds is None:
        return _DASH
    if seconds < 1:
        return f"{seconds:.2g} s"
    if seconds < 10:  # noqa: PLR2004
        return f"{seconds:.1f} s"
    if seconds < 2 * _MINUTE:
        return f"{seconds:.0f} s"
    if seconds < 2 * _HOUR:
        return f"{seconds // _MINUTE:.0f} min {seconds % _MINUTE:02.0f} s"
    return f"{seconds // _HOUR:.0f} h {seconds % _HOUR // _MINUTE:02.0f} min"


def size_text(kib: float | None) -> str:
    """Return a size in KiB in the unit that fits, or a dash."""
    if kib is None:
        return _DASH
    size, unit = kib, "KiB"
    for larger in ("MiB", "GiB"):
        if size >= _FOUR_DIGITS:
            size, unit = size / _KIB, larger
    return f"{size:.3g} {unit}"


def verdict(summary: Document) -> dict[str, str]:
    """Return the result in words: ``tone`` (``good`` or ``plain``), ``title`` and ``text``."""
    score, base = summary["holdout"]["score"], summary["holdout"]["baselineScore"]
    metric, missed = summary["metric"], len(summary.get("notFitted") or [])
    better = "One pipeline" if missed == 1 else f"{missed} pipelines"
    tone = "plain"
    if summary["modelSource"] == "baseline":
        title = "The model is the baseline"
        if not summary["search"]["automlEnabled"]:
            text = "The search was switched off for this job, so the baseline was fitted and saved."
        elif missed:
            text = (
                f"{better} scored better in cross-validation but could not be fitted, so the baseline was "
                "saved; the reasons are given below."
            )
        elif summary["fallbacks"]:
            text = "The search produced no model, so the baseline was saved; the reason is given below."
        else:
            text = "No pipeline of the search scored better than the baseline, so the baseline was saved."
    elif summary["best"]["key"] == summary["baseline"]["key"]:
        title = "Nothing beat the baseline"
        text = "No pipeline of the search scored better than the baseline's pipeline, which was saved."
    elif score is None or base is None:
        title = "The model comes from the search"
        text = "It could not be compared with the baseline on the hold-out rows."
    elif score > base:
        tone, title = "good", "The search beat the baseline"
        text = f"On rows it has not seen its {metric} is {number(score)}; the baseline's is {number(base)}."
        if missed:
            text += f" {better} scored better in cross-validation and could not be fitted."
    else:
        title = "The search did not beat the baseline on the hold-out rows"
        text = (
            f"Its pipeline won in cross-validation, but on rows it has not seen its {metric} is "
            f"{number(score)} and the baseline's is {number(base)}. Consider whether the simpler baseline "
            "serves you as well."
        )
    return {"tone": tone, "title": title, "text": text}
