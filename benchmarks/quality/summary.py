"""Tables and plot of docs/benchmarks.md, from the results."""

from collections.abc import Iterable, Iterator
from typing import Any

import pandas as pd
from environments import ROOT
from plot import score_over_time
from systems import SYSTEMS

__all__ = ["TIE", "write"]

TIE = 0.002
"""Scores that differ by less are equal."""
VALID = 0.9
PAGE = ROOT / "docs" / "benchmarks.md"
PICTURE = ROOT / "docs" / "images" / "score-over-time.svg"
BEGIN, END = "<!-- begin of the results -->", "<!-- end of the results -->"
OURS = "ours"
LABELS = {
    "ours": "TrainingJob",
    "hist-gradient-boosting": "HistGradientBoosting",
    "tpot": "stock TPOT",
    "flaml": "FLAML",
    "autogluon": "AutoGluon",
    "autogluon-best": "AutoGluon best",
}


def write(runs: list[dict[str, Any]]) -> None:
    """Replace the results in the page, and draw the picture."""
    frame = pd.DataFrame(runs)
    # The last run of the same table, seed, budget and system is that of the newest version.
    frame = frame.drop_duplicates(["table", "seed", "seconds", "system"], keep="last")
    if "failed" not in frame:
        frame["failed"] = None
    peers = frame[frame["system"] != OURS]
    assert not peers.empty, "no run of any other system: there is nothing to compare with"
    parts = [_measured(frame)]
    budgets = sorted(peers.loc[~peers["system"].isin(_switched()), "seconds"].unique())
    for seconds in budgets:
        parts += _budget(frame[(frame["seconds"] == seconds) & frame["system"].isin(LABELS)], int(seconds))
    if (frame.loc[frame["system"] == OURS, "seconds"] < budgets[-1]).any():
        PICTURE.parent.mkdir(exist_ok=True)
        score_over_time(frame, LABELS, int(budgets[-1]), PICTURE)
        parts += ["## Score over time", f"![Distance to the best score over time](images/{PICTURE.name})"]
    parts += [*_promises(frame[frame["system"] == OURS]), *_reach(frame, budgets), *_switches(frame)]
    head, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, tail = rest.partition(END)
    PAGE.write_text(f"{head}{BEGIN}\n\n" + "\n\n".join(parts) + f"\n\n{END}{tail}")
    print(f"{len(frame)} runs: {PAGE}")


def _measured(frame: pd.DataFrame) -> str:
    """Return what was measured, on which machine and under which load."""
    versions = frame.drop_duplicates("system", keep="last").set_index("system")["version"]
    named = ", ".join(f"{LABELS[name]} {versions[name]}" for name in LABELS if name in versions)
    load = frame["load"]
    return (
        f"{len(frame)} runs on {frame['table'].nunique()} tables, {frame['started'].min()[:16]} to "
        f"{frame['started'].max()[:16]} UTC; {frame['machine'].iloc[-1]}; load before a run "
        f"{load.median():.1f} (median; {load.min():.1f} to {load.max():.1f}), "
        f"nice {frame['nice'].iloc[-1]}. Versions: {named}."
    )


def _budget(frame: pd.DataFrame, seconds: int) -> Iterator[str]:
    """Yield the tables of a budget."""
    systems = [name for name in LABELS if name in set(frame["system"])]
    scores = frame.pivot_table(index=["table", "seed"], columns="system", values="score", dropna=False)
    there = frame.pivot_table(index=["table", "seed"], columns="system", values="load").notna()
    paired = scores.reindex(columns=systems)[there.reindex(columns=systems).all(axis=1)]
    yield f"## {seconds} seconds"
    if paired.empty:
        yield "No table was run by all systems."
        return
    # A system that has failed is behind all that have not.
    ranks = paired.rank(axis=1, ascending=False, na_option="bottom").mean()
    tables = paired.groupby("table").mean()
    yield _table(
        (
            "System",
            "Mean rank",
            f"TrainingJob at least as good ({TIE})",
            "Failed",
            "Over budget",
            "Time used",
        ),
        [
            (
                LABELS[name],
                f"{ranks[name]:.2f}",
                "" if name == OURS else _at_least(tables, name),
                int(found["failed"].notna().sum()),
                f"{int((found['over_budget'] == True).sum())} of {len(found)}",  # noqa: E712  # missing is not False
                f"{found['used_seconds'].median():.1f} s",
            )
            for name in ranks.sort_values().index
            for found in [frame[frame["system"] == name]]
        ],
    )
    metrics = frame.drop_duplicates("table").set_index("table")
    yield f"### Scores on unseen rows, {seconds} s"
    yield _table(
        ("Table", "Rows", "Metric", *(LABELS[name] for name in systems)),
        [
            (table, int(metrics["rows"][table]), metrics["metric"][table], *_marked(row))
            for table, row in tables.sort_index(key=lambda names: metrics["rows"][names]).iterrows()
        ],
    )
    yield f"### Where we lose, {seconds} s"
    yield _table(("Table", "Behind"), list(_losses(tables)))


def _at_least(tables: pd.DataFrame, name: str) -> str:
    """Return on how many tables this product is not beaten."""
    good = tables[OURS].fillna(-1e9) >= tables[name].fillna(-1e9) - TIE
    return f"{int(good.sum())} of {len(tables)} ({good.mean():.0%})"


def _losses(tables: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """Yield the tables on which another system is better, with those systems."""
    for table, row in tables.iterrows():
        ahead = (row.drop(OURS) - row[OURS]).sort_values(ascending=False)
        ahead = ahead[ahead > TIE]
        if len(ahead):
            yield str(table), ", ".join(f"{LABELS[name]} +{gap:.3f}" for name, gap in ahead.items())


def _marked(row: pd.Series) -> Iterator[str]:
    for value in row:
        if pd.isna(value):
            yield "failed"
        else:
            yield f"**{value:.4f}**" if value >= row.max() - TIE else f"{value:.4f}"


def _promises(ours: pd.DataFrame) -> Iterator[str]:
    """Yield whether the runs of this product held what it promises, shares of budgets included."""
    ended = ours[ours["failed"].isna()]
    gaps = (ended["shown"] - ended["score"]).groupby(ended["table"]).mean().dropna()
    low = int((ended["valid_share"] < VALID).sum())
    yield "## Promises"
    yield _table(
        ("Promise", "Measured"),
        [
            ("a model at the end", f"{len(ended)} of {len(ours)} runs"),
            ("budget and 5 %", f"{int(ended['over_budget'].sum())} of {len(ended)} runs over"),
            (
                "valid evaluations",
                f"{ended['valid_share'].mean():.1%} on average, {low} of {len(ended)} runs below 90 %",
            ),
            (
                "hold-out score minus score on unseen rows",
                f"{gaps.mean():+.4f} (mean over the tables; of the absolute values {gaps.abs().mean():.4f})",
            ),
            (
                "prediction of 1,000 rows (p50)",
                f"{ended['predict_milliseconds'].median():.0f} ms in the median",
            ),
        ],
    )


def _reach(frame: pd.DataFrame, budgets: Iterable[int]) -> Iterator[str]:
    """Yield how soon this product has stock TPOT's final score, by the runs with shares of the budget."""
    rows = []
    for seconds in budgets:
        stock = frame[(frame["system"] == "tpot") & (frame["seconds"] == seconds)]
        ours = frame[(frame["system"] == OURS) & (frame["seconds"] <= seconds) & frame["score"].notna()]
        shares = [
            mine["used_seconds"].min() / run["used_seconds"] if len(mine) else float("inf")
            for _, run in stock[stock["score"].notna()].iterrows()
            for mine in [
                ours[
                    (ours["table"] == run["table"])
                    & (ours["seed"] == run["seed"])
                    & (ours["score"] >= run["score"])
                ]
            ]
        ]
        if shares and (ours["seconds"] < seconds).any():
            values = pd.Series(shares)
            never = int((values == float("inf")).sum())
            rows.append((f"{seconds} s", f"{values.median():.2f}", f"{never} of {len(values)}"))
    if rows:
        yield "## Time to stock TPOT's final score"
        yield _table(("Budget", "Share of TPOT's time (median)", "Never reached"), rows)


def _switches(frame: pd.DataFrame) -> Iterator[str]:
    """Yield what each part adds: this product with all parts, minus the same without that part."""
    rows = []
    index = ["table", "seed", "seconds"]
    ours = frame[frame["system"] == OURS].set_index(index)["score"]
    for name in _switched():
        without = frame[frame["system"] == name].set_index(index)["score"]
        gain = (ours - without).dropna().groupby("table").mean()
        if len(gain):
            better, worse = int((gain > TIE).sum()), int((gain < -TIE).sum())
            rows.append(
                (name.removeprefix("without-"), len(gain), f"{gain.mean():+.4f}", f"{better}, {worse}")
            )
    if rows:
        yield "## Each part alone"
        yield _table(("Part", "Tables", "Mean gain", "Better with it, worse with it"), rows)


def _switched() -> list[str]:
    return [name for name in SYSTEMS if name not in LABELS]


def _table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)
