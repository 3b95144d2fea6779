"""Score over time: how far this product is from the best score of any system, at shares of the budget."""

from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

__all__ = ["score_over_time"]

MOST = 0.1
"""A table on which a system is farther behind counts as this much, so that none makes the picture."""


def score_over_time(frame: pd.DataFrame, labels: dict[str, str], seconds: int, path: Path) -> None:
    """Draw the mean distance to the best score on each table, over the time that the budget gave."""
    shown = frame[frame["system"].isin(labels) & (frame["seconds"] <= seconds)]
    best = shown.groupby(["table", "seed"])["score"].transform("max")
    behind = (best - shown["score"]).fillna(MOST).clip(upper=MOST)
    means = behind.groupby([shown["system"], shown["seconds"]]).mean()
    # The hash salt makes the same results the same file.
    mpl.rcParams["svg.hashsalt"] = "score-over-time"
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    for name in [label for label in labels if label in means.index.get_level_values("system")]:
        line = means[name].sort_index()
        style = {"color": "black", "linewidth": 2.5, "zorder": 3} if name == "ours" else {"alpha": 0.8}
        axes.plot(line.index, line.to_numpy(), marker="o", label=labels[name], **style)
    axes.set(
        xlabel="budget in seconds", ylabel="mean distance to the best score", xscale="log", ylim=(0, None)
    )
    axes.set_xticks(
        sorted(shown["seconds"].unique()), [str(seconds) for seconds in sorted(shown["seconds"].unique())]
    )
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path, metadata={"Date": None})
