"""The report's pictures, each from the plain data of the JSON documents."""

from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import LogLocator, NullFormatter

from trainingjob_trainer.report.style import ACCENT, INK, MUTED, SECOND, THIRD, draw, shorten

__all__ = [
    "plot_calibration",
    "plot_confusion",
    "plot_folds",
    "plot_front",
    "plot_importance",
    "plot_progress",
    "plot_regression",
    "plot_roc",
]

Document = dict[str, Any]
_LINES = (ACCENT, SECOND, THIRD, INK, MUTED, ACCENT)
_DASHES = ("-", "-", "-", "--", ":", "-.")
_MAX_BARS = 20
_MAX_CELL_TEXT = 12
_FAR = 5.0
_WIDE = 100.0


def _window(scores: list[float], also: float | None = None) -> tuple[float, float]:
    """Return limits that show the good ones well; a few hopeless scores must not flatten the rest.

    `also` is a score to be seen with them, unless it is one of the hopeless ones itself.
    """
    low, high = float(np.quantile(scores, 0.15)), max(scores)
    if also is not None and high - also < _FAR * max(high - low, 1e-6):
        low, high = min(low, also), max(high, also)
    low = min(low, high - 1e-6 * max(1.0, abs(high)))
    margin = 0.12 * (high - low)
    return low - margin, high + margin


def _plain_tick(value: float, _position: float | None = None) -> str:
    return f"{value:,.4g}"


def _valid(data: Document) -> list[Document]:
    return [e for e in data["timeline"]["evaluations"] if e["outcome"] == "ok" and e["score"] is not None]


def plot_front(data: Document, front: Document) -> Markup:
    """Draw all valid pipelines and the front: score against size."""
    points = front["points"]
    others = [e for e in _valid(data) if e["complexityKiB"]]
    if not points:
        raise ValueError("no pipeline of known size was valid")

    def paint(panels: list[Axes]) -> None:
        axes = panels[0]
        axes.scatter(
            [e["complexityKiB"] for e in others], [e["score"] for e in others], s=14, color=MUTED, alpha=0.45
        )
        x, y = [p["complexityKiB"] for p in points], [p["score"] for p in points]
        axes.plot(x, y, color=ACCENT, drawstyle="steps-pre", linewidth=1.4)
        axes.scatter(x, y, s=36, color=ACCENT, zorder=3)
        axes.set_xscale("log")
        sizes = [e["complexityKiB"] for e in others] + x
        if max(sizes) < _WIDE * min(sizes):
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(_plain_tick)
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_ylim(*_window([e["score"] for e in others] + y, min(y)))
        axes.set_xlabel("size of the fitted pipeline, KiB")
        axes.set_ylabel(f"cross-validated {front['metric']}")

    return draw("front", paint)


def plot_progress(data: Document, baseline: float | None) -> Markup:
    """Draw each score and the best so far, by evaluation and by the run's clock."""
    valid = _valid(data)
    if not valid:
        raise ValueError("no pipeline was valid")

    def one(axes: Axes, field: str, label: str) -> None:
        rows = sorted(valid, key=lambda e: (e[field], e["number"]))
        x, y = [e[field] for e in rows], [e["score"] for e in rows]
        axes.scatter(x, y, s=12, color=MUTED, alpha=0.45)
        axes.plot(x, np.maximum.accumulate(y), color=ACCENT, drawstyle="steps-post", linewidth=1.6)
        if baseline is not None:
            axes.axhline(baseline, color=SECOND, linewidth=1.2, linestyle="--")
        axes.set_xlabel(label)

    def paint(panels: list[Axes]) -> None:
        one(panels[0], "number", "evaluation")
        one(panels[1], "elapsedSeconds", "seconds of the run")
        low, high = _window([e["score"] for e in valid], baseline)
        for axes in panels:
            axes.set_ylim(low, high)
        panels[0].set_ylabel(f"cross-validated {data['metric']}")
        panels[1].tick_params(labelleft=False)

    return draw("progress", paint, panels=2, size=(8.4, 3.2))


def plot_folds(best: Document, baseline: Document) -> Markup:
    """Draw the scores of best and baseline on the same folds."""
    pairs = list(zip(baseline["foldScores"], best["foldScores"], strict=False))
    if not pairs:
        raise ValueError("there are no scores by fold")

    def paint(panels: list[Axes]) -> None:
        axes = panels[0]
        for fold, (low, high) in enumerate(pairs, start=1):
            axes.plot([low, high], [fold, fold], color=MUTED, linewidth=1, alpha=0.6, zorder=1)
        rows = range(1, len(pairs) + 1)
        axes.scatter([p[0] for p in pairs], rows, s=40, color=SECOND, marker="s", label="baseline", zorder=2)
        axes.scatter([p[1] for p in pairs], rows, s=40, color=ACCENT, label="best", zorder=3)
        axes.set_yticks(list(rows), [f"fold {row}" for row in rows])
        axes.set_ylim(len(pairs) + 0.6, 0.4)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.16), ncols=2, fontsize=9)

    return draw("folds", paint, size=(6.0, 1.1 + 0.32 * len(pairs)))


def plot_importance(importance: Document) -> Markup:
    """Draw the columns whose shuffling costs most."""
    rows = [c for c in importance["columns"] if c["drop"] is not None][:_MAX_BARS]
    if not rows:
        raise ValueError("no column was measured")

    def paint(panels: list[Axes]) -> None:
        axes = panels[0]
        places = range(len(rows))
        axes.barh(places, [r["drop"] for r in rows], color=ACCENT, height=0.62)
        for place, row in zip(places, rows, strict=True):
            spread = row["std"] or 0.0
            axes.plot([row["drop"] - spread, row["drop"] + spread], [place, place], color=INK, linewidth=1)
        axes.set_yticks(list(places), [shorten(r["name"]) for r in rows])
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("fall of the score when the column is shuffled")

    return draw("importance", paint, size=(7.0, 0.9 + 0.26 * len(rows)))


def plot_confusion(matrix: Document) -> Markup:
    """Draw true against predicted labels; the shade is the share of the true label."""
    labels, counts = matrix["labels"], np.asarray(matrix["counts"], dtype=float)
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)
    n = len(labels)

    def paint(panels: list[Axes]) -> None:
        axes = panels[0]
        for row in range(n):
            for column in range(n):
                alpha = 0.05 + 0.7 * shares[row, column]
                axes.add_patch(
                    Rectangle((column - 0.48, row - 0.48), 0.96, 0.96, color=ACCENT, alpha=alpha, lw=0)
                )
                if n <= _MAX_CELL_TEXT or counts[row, column]:
                    axes.text(column, row, f"{counts[row, column]:.0f}", ha="center", va="center", fontsize=9)
        names = [shorten(label, 16) for label in labels]
        axes.set_xticks(range(n), names, rotation=40 if n > 2 else 0, ha="right" if n > 2 else "center")  # noqa: PLR2004
        axes.set_yticks(range(n), names)
        axes.set_xlim(-0.5, n - 0.5)
        axes.set_ylim(n - 0.5, -0.5)
        axes.grid(visible=False)
        axes.set_xlabel("predicted")
        axes.set_ylabel("true")
        for spine in axes.spines.values():
            spine.set_visible(False)

    side = min(8.0, 2.3 + 0.42 * n)
    return draw("confusion", paint, size=(side + 0.6, side))


def plot_roc(curves: list[Document]) -> Markup:
    """Draw the ROC curve, or one for each class against the rest."""

    def paint(panels: list[Axes]) -> None:
        axes = panels[0]
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=":")
        for curve, colour, dash in zip(curves, _LINES, _DASHES, strict=False):
            text = f"{shorten(curve['label'], 16)}  ({curve['auc']:.3f})"
            axes.plot(curve["fpr"], curve["tpr"], color=colour, linestyle=dash, linewidth=1.6, label=text)
        axes.set_xlabel("false positive rate")
        axes.set_ylabel("true positive rate")
        axes.set_aspect("equal")
        axes.legend(loc="lower right", fontsize=8, title="label (area)", title_fontsize=8)

    return draw("roc", paint, size=(4.4, 4.2))


def plot_calibration(groups: Document) -> Markup:
    """Draw observed shares against predicted probabilities."""

    def paint(panels: list[Axes]) -> None:
        axes = panels[0]
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=":")
        axes.plot(groups["predicted"], groups["observed"], color=ACCENT, marker="o", markersize=5)
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.02, 1.02)
        axes.set_aspect("equal")
        axes.set_xlabel(f"predicted probability of {shorten(groups['label'], 20)}")
        axes.set_ylabel("observed share")

    return draw("calibration", paint, size=(4.4, 4.2))


def plot_regression(points: Document) -> Markup:
    """Draw predicted against true values, and the histogram of residuals."""
    low = min(*points["actual"], *points["predicted"])
    high = max(*points["actual"], *points["predicted"])
    edges = np.asarray(points["residuals"]["edges"], dtype=float)

    def paint(panels: list[Axes]) -> None:
        left, right = panels
        left.plot([low, high], [low, high], color=MUTED, linewidth=1, linestyle=":")
        left.scatter(points["actual"], points["predicted"], s=14, color=ACCENT, alpha=0.5)
        left.set_xlabel("true value")
        left.set_ylabel("predicted value")
        right.bar(
            edges[:-1],
            points["residuals"]["counts"],
            width=np.diff(edges),
            align="edge",
            color=ACCENT,
            alpha=0.8,
        )
        right.axvline(0, color=MUTED, linewidth=1, linestyle=":")
        right.set_xlabel("residual: true minus predicted")
        right.set_ylabel("rows")

    return draw("regression", paint, panels=2, size=(8.4, 3.6))
