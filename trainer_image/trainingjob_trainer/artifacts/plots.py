"""The plots of the report, as SVG that takes its colours and fonts from the page around it.

scikit-learn's Display classes draw a confusion matrix as a raster image in fixed colours, which the page's
content security policy blocks, and need as many options as the lines that they would save elsewhere.
"""

import io
import re
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import LogLocator, NullFormatter

from trainingjob_api import shorten

Document = Mapping[str, Any]

# Colours that are replaced by variables of the page, so that one plot serves light and dark.
_VARIABLES = ("--ink", "--muted", "--line", "--accent", "--second", "--third")
_COLOURS = [f"#01010{digit}" for digit in range(1, 7)]
_INK, _MUTED, _GRID, _ACCENT, _SECOND, _THIRD = _COLOURS
_SETTINGS: dict[str, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    # Labels come from users' tables: a dollar sign does not start a formula.
    "text.parse_math": False,
    "text.color": _INK,
    "axes.titlelocation": "left",
    "grid.linewidth": 0.7,
    **dict.fromkeys(("axes.edgecolor", "grid.color", "xtick.color", "ytick.color"), _GRID),
    **dict.fromkeys(("axes.labelcolor", "axes.titlecolor", "xtick.labelcolor", "ytick.labelcolor"), _MUTED),
    **dict.fromkeys(("figure.facecolor", "axes.facecolor", "savefig.facecolor"), "none"),
    **dict.fromkeys(("axes.spines.top", "axes.spines.right", "legend.frameon"), False),
    **dict.fromkeys(("axes.grid", "axes.axisbelow"), True),
    **dict.fromkeys(("font.size", "axes.titlesize"), 10),
}
_PROLOGUE = re.compile(r"^.*?(?=<svg)", re.DOTALL)
_METADATA = re.compile(r"<metadata>.*?</metadata>", re.DOTALL)
_ATTRIBUTES = re.compile(r'\s(xmlns(:\w+)?|version|width|height)="[^"]*"')
_NAMES = re.compile(r'(\bid="|href="#|url\(#)')
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_LINES = (_ACCENT, _SECOND, _THIRD, _INK, _MUTED, _ACCENT)
_DASHES = ("-", "-", "-", "--", ":", "-.")
_MAX_BARS = 20
_MAX_CELL_TEXT = 12
_FAR = 5.0
_WIDE = 100.0


def _draw(
    name: str, paint: Callable[..., None], *, panels: int = 1, size: tuple[float, float] = (7.0, 3.4)
) -> Markup:
    """Return an ``<svg>`` element; `paint` takes its panels' axes, and its size is in inches."""
    stream = io.StringIO()
    # A font without some user's script would warn for each label; the page's own fonts draw the text.
    with rc_context({**_SETTINGS, "svg.hashsalt": name}), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasSVG(figure)
        paint(*figure.subplots(1, panels, squeeze=False)[0])
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    svg = _METADATA.sub("", _PROLOGUE.sub("", stream.getvalue(), count=1), count=1)
    head, rest = svg.split(">", 1)
    head = _ATTRIBUTES.sub("", head)
    # Each plot numbers its parts from one; on one page their names must differ.
    rest = _NAMES.sub(rf"\g<1>{name}-", rest)
    for colour, variable in zip(_COLOURS, _VARIABLES, strict=True):
        rest = rest.replace(colour, f"var({variable})")
    return Markup(f'{head} class="plot" aria-hidden="true" style="max-width:{size[0]:g}in">{rest}')  # noqa: S704 - matplotlib escapes the texts in it


def _label(text: str, length: int = 28) -> str:
    """Return a label that fits beside a plot and has no control characters."""
    return shorten(_UNPRINTABLE.sub(" ", text), length)


def _window(scores: list[float], also: float | None = None) -> tuple[float, float]:
    """Return limits that show the good scores, and `also`, but not a few very low ones."""
    low, high = float(np.quantile(scores, 0.15)), max(scores)
    if also is not None and high - also < _FAR * max(high - low, 1e-6):
        low, high = min(low, also), max(high, also)
    low = min(low, high - 1e-6 * max(1.0, abs(high)))
    margin = 0.12 * (high - low)
    return low - margin, high + margin


def _valid(data: Document) -> list[Document]:
    return [e for e in data["timeline"]["evaluations"] if e["outcome"] == "ok" and e["score"] is not None]


def plot_front(data: Document, front: Document) -> Markup:
    """Draw all valid pipelines and the Pareto front: score against size."""
    points = front["points"]
    others = [e for e in _valid(data) if e["complexityKiB"]]
    if not points:
        raise ValueError("no pipeline of known size was valid")

    def paint(axes: Axes) -> None:
        sizes, scores = [e["complexityKiB"] for e in others], [e["score"] for e in others]
        axes.scatter(sizes, scores, s=14, color=_MUTED, alpha=0.45)
        x, y = [p["complexityKiB"] for p in points], [p["score"] for p in points]
        axes.plot(x, y, color=_ACCENT, drawstyle="steps-pre", linewidth=1.4)
        axes.scatter(x, y, s=36, color=_ACCENT, zorder=3)
        axes.set_xscale("log")
        if max(sizes + x) < _WIDE * min(sizes + x):
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(lambda value, _position: f"{value:,.4g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_ylim(*_window(scores + y, min(y)))
        axes.set_xlabel("size of the fitted pipeline, KiB")
        axes.set_ylabel(f"cross-validated {front['metric']}")

    return _draw("front", paint)


def plot_progress(data: Document, baseline: float | None) -> Markup:
    """Draw each score and the best so far, by evaluation and by the run's clock."""
    valid = _valid(data)
    if not valid:
        raise ValueError("no pipeline was valid")
    limits = _window([e["score"] for e in valid], baseline)

    def panel(axes: Axes, field: str, label: str) -> None:
        rows = sorted(valid, key=lambda e: (e[field], e["number"]))
        x, y = [e[field] for e in rows], [e["score"] for e in rows]
        axes.scatter(x, y, s=12, color=_MUTED, alpha=0.45)
        axes.plot(x, np.maximum.accumulate(y), color=_ACCENT, drawstyle="steps-post", linewidth=1.6)
        if baseline is not None:
            axes.axhline(baseline, color=_SECOND, linewidth=1.2, linestyle="--")
        axes.set_xlabel(label)
        axes.set_ylim(*limits)

    def paint(left: Axes, right: Axes) -> None:
        panel(left, "number", "evaluation")
        panel(right, "elapsedSeconds", "seconds of the run")
        left.set_ylabel(f"cross-validated {data['metric']}")
        right.tick_params(labelleft=False)

    return _draw("progress", paint, panels=2, size=(8.4, 3.2))


def plot_folds(best: Document, baseline: Document) -> Markup:
    """Draw the scores of best and baseline on the same folds."""
    pairs = list(zip(baseline["foldScores"], best["foldScores"], strict=False))
    if not pairs:
        raise ValueError("there are no scores by fold")

    def paint(axes: Axes) -> None:
        rows = range(1, len(pairs) + 1)
        for fold, pair in zip(rows, pairs, strict=True):
            axes.plot(pair, [fold, fold], color=_MUTED, linewidth=1, alpha=0.6, zorder=1)
        axes.scatter([p[0] for p in pairs], rows, s=40, color=_SECOND, marker="s", label="baseline", zorder=2)
        axes.scatter([p[1] for p in pairs], rows, s=40, color=_ACCENT, label="best", zorder=3)
        axes.set_yticks(list(rows), [f"fold {row}" for row in rows])
        axes.set_ylim(len(pairs) + 0.6, 0.4)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.16), ncols=2, fontsize=9)

    return _draw("folds", paint, size=(6.0, 1.1 + 0.32 * len(pairs)))


def plot_importance(importance: Document) -> Markup:
    """Draw the columns whose shuffling costs most."""
    rows = [c for c in importance["columns"] if c["drop"] is not None][:_MAX_BARS]
    if not rows:
        raise ValueError("no column was measured")

    def paint(axes: Axes) -> None:
        places = range(len(rows))
        axes.barh(places, [r["drop"] for r in rows], color=_ACCENT, height=0.62)
        for place, row in zip(places, rows, strict=True):
            spread = row["std"] or 0.0
            axes.plot([row["drop"] - spread, row["drop"] + spread], [place, place], color=_INK, linewidth=1)
        axes.set_yticks(list(places), [_label(r["name"]) for r in rows])
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("fall of the score when the column is shuffled")

    return _draw("importance", paint, size=(7.0, 0.9 + 0.26 * len(rows)))


def plot_confusion(matrix: Document) -> Markup:
    """Draw true against predicted labels; the shade is the share of the true label."""
    labels, counts = matrix["labels"], np.asarray(matrix["counts"], dtype=float)
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)
    n = len(labels)

    def paint(axes: Axes) -> None:
        for (row, column), count in np.ndenumerate(counts):
            alpha = 0.05 + 0.7 * shares[row, column]
            place = (column - 0.48, row - 0.48)
            axes.add_patch(Rectangle(place, 0.96, 0.96, color=_ACCENT, alpha=alpha, lw=0))
            if n <= _MAX_CELL_TEXT or count:
                axes.text(column, row, f"{count:.0f}", ha="center", va="center", fontsize=9)
        names = [_label(label, 16) for label in labels]
        axes.set_xticks(range(n), names, rotation=40 if n > 2 else 0, ha="right" if n > 2 else "center")  # noqa: PLR2004
        axes.set_yticks(range(n), names)
        axes.set_xlim(-0.5, n - 0.5)
        axes.set_ylim(n - 0.5, -0.5)
        axes.grid(visible=False)
        axes.set_xlabel("predicted")
        axes.set_ylabel("true")
        axes.spines[:].set_visible(False)

    side = min(8.0, 2.3 + 0.42 * n)
    return _draw("confusion", paint, size=(side + 0.6, side))


def plot_roc(curves: list[Document]) -> Markup:
    """Draw the ROC curve, or one for each class against the rest."""

    def paint(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=_MUTED, linewidth=1, linestyle=":")
        for curve, colour, dash in zip(curves, _LINES, _DASHES, strict=False):
            text = f"{_label(curve['label'], 16)}  ({curve['auc']:.3f})"
            axes.plot(curve["fpr"], curve["tpr"], color=colour, linestyle=dash, linewidth=1.6, label=text)
        axes.set_xlabel("false positive rate")
        axes.set_ylabel("true positive rate")
        axes.set_aspect("equal")
        axes.legend(loc="lower right", fontsize=8, title="label (area)", title_fontsize=8)

    return _draw("roc", paint, size=(4.4, 4.2))


def plot_calibration(groups: Document) -> Markup:
    """Draw observed shares against predicted probabilities."""

    def paint(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=_MUTED, linewidth=1, linestyle=":")
        axes.plot(groups["predicted"], groups["observed"], color=_ACCENT, marker="o", markersize=5)
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.02, 1.02)
        axes.set_aspect("equal")
        axes.set_xlabel(f"predicted probability of {_label(groups['label'], 20)}")
        axes.set_ylabel("observed share")

    return _draw("calibration", paint, size=(4.4, 4.2))


def plot_regression(points: Document) -> Markup:
    """Draw predicted against true values, and the histogram of residuals."""
    ends = [f(*points["actual"], *points["predicted"]) for f in (min, max)]
    residuals = points["residuals"]

    def paint(left: Axes, right: Axes) -> None:
        left.plot(ends, ends, color=_MUTED, linewidth=1, linestyle=":")
        left.scatter(points["actual"], points["predicted"], s=14, color=_ACCENT, alpha=0.5)
        left.set_xlabel("true value")
        left.set_ylabel("predicted value")
        edges = np.asarray(residuals["edges"], dtype=float)
        right.bar(edges[:-1], residuals["counts"], np.diff(edges), align="edge", color=_ACCENT, alpha=0.8)
        right.axvline(0, color=_MUTED, linewidth=1, linestyle=":")
        right.set_xlabel("residual: true minus predicted")
        right.set_ylabel("rows")

    return _draw("regression", paint, panels=2, size=(8.4, 3.6))
