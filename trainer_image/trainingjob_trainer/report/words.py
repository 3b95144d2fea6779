"""Numbers and verdicts as people read them."""

import math
from collections.abc import Mapping
from typing import Any

__all__ = ["duration", "number", "percent", "size_text", "verdict"]

_DASH = "\N{EN DASH}"
_DIGITS = 4
_SMALL, _LARGE = 0.001, 10.0
_MINUTE, _HOUR = 60, 3600
_KIB = 1024


def number(value: float | None, digits: int = _DIGITS) -> str:
    """Return a number with about `digits` significant digits, or a dash."""
    if value is None or not math.isfinite(value):
        return _DASH
    if digits == _DIGITS and _SMALL <= abs(value) < _LARGE:
        # Scores stand below each other: they need the same number of decimals.
        text = f"{value:.{digits}f}"
    elif abs(value) >= 10**digits:
        text = f"{value:,.0f}"
    else:
        text = f"{value:.{digits}g}"
    return "0" if text == "-0" else text.replace("-", "\N{MINUS SIGN}")


def percent(value: float | None) -> str:
    """Return a share as a percentage without decimals, or a dash."""
    return _DASH if value is None else f"{100 * value:.0f} %"


def duration(seconds: float | None) -> str:
    """Return seconds in the unit that fits."""
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
    """Return a size in KiB in the unit that fits."""
    if kib is None:
        return _DASH
    return f"{kib:.3g} KiB" if kib < _KIB else f"{kib / _KIB:.3g} MiB"


def _pipelines(count: int) -> str:
    return "One pipeline" if count == 1 else f"{count} pipelines"


def verdict(summary: Mapping[str, Any]) -> dict[str, str]:
    """Return what came of the run: ``tone`` (``good`` or ``plain``), ``title`` and ``text``."""
    score, base = summary["holdout"]["score"], summary["holdout"]["baselineScore"]
    metric = summary["metric"]
    missed = summary.get("notFitted") or []
    if summary["modelSource"] == "baseline":
        if not summary["search"]["automlEnabled"]:
            text = "The search was switched off for this job, so the baseline was fitted and saved."
        elif missed:
            text = (
                f"{_pipelines(len(missed))} scored better in cross-validation but could not be fitted, so "
                "the baseline was saved; the reasons are given below."
            )
        elif summary["fallbacks"]:
            text = "The search gave no model, so the baseline was saved; the reason is given below."
        else:
            text = "No pipeline of the search was better than the baseline, so the baseline was saved."
        return {"tone": "plain", "title": "The model is the baseline", "text": text}
    if summary["best"]["key"] == summary["baseline"]["key"]:
        text = "No pipeline of the search was better than the baseline's, so that one ships."
        return {"tone": "plain", "title": "Nothing beat the baseline", "text": text}
    if score is None or base is None:
        return {
            "tone": "plain",
            "title": "The model comes from the search",
            "text": "It could not be compared with the baseline on the hold-out rows.",
        }
    gain = score - base
    if gain > 0:
        text = f"On rows it has not seen its {metric} is {number(score)}; the baseline's is {number(base)}."
        if missed:
            text += f" {_pipelines(len(missed))} scored better in cross-validation and could not be fitted."
        return {"tone": "good", "title": "The search beat the baseline", "text": text}
    text = (
        f"Its pipeline won in cross-validation, but on rows it has not seen its {metric} is {number(score)} "
        f"and the baseline's is {number(base)}. Consider whether the simpler baseline serves you as well."
    )
    return {
        "tone": "plain",
        "title": "The search did not beat the baseline on the hold-out rows",
        "text": text,
    }
