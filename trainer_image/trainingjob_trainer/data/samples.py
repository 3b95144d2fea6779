"""Sample tables, for which no network is needed: scikit-learn's own and two messy ones made here."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from sklearn import datasets

from trainingjob_api import Reason, nearest_names
from trainingjob_trainer.errors import SpecInvalid

__all__ = ["SAMPLES", "Sample", "make_sample"]

_SEED = 20_260_101
_CHURN_ROWS = 4_000
_PRICE_ROWS = 3_000
_PRAISE = (
    "great service",
    "works fine",
    "happy with the speed",
    "no complaints so far",
    "friendly staff on the phone",
)
_GRIEF = (
    "cancelled twice already",
    "too slow in the evening",
    "billing error again",
    "support never answers",
)
_CONTRACTS = ("monthly", "yearly", "two years", "trial", "staff")
_SHARES = (0.55, 0.27, 0.17, 0.007, 0.003)
_FILLER = ("since last month", "as I said before", "in our house", "for the whole family", "to be honest")


@dataclass(frozen=True, slots=True)
class Sample:
    """A sample table, and size and digest of it as CSV text."""

    frame: pd.DataFrame
    sha256: str
    size_bytes: int


def _chance(rng: np.random.Generator, rows: int, share: float) -> np.ndarray:
    """Return a boolean for each row, true for about a *share* of them."""
    return rng.random(rows) < share


def _holes(rng: np.random.Generator, column: pd.Series, share: float) -> pd.Series:
    """Return *column* without about a *share* of its values."""
    return column.mask(pd.Series(_chance(rng, len(column), share)))


def _towns(rng: np.random.Generator, rows: int, count: int) -> tuple[pd.Series, np.ndarray]:
    """Return town names with a long tail, and an effect for each row."""
    heads = ["North", "South", "East", "West", "Upper", "Lower", "New", "Old", "Little", "Great"]
    tails = ["field", "ford", "ham", "bridge", "wick", "mouth", "stead", "well", "wood", "port", "ton", "by"]
    roots = [
        "Ash",
        "Birch",
        "Crow",
        "Dun",
        "Elm",
        "Fox",
        "Grim",
        "Hay",
        "Ivy",
        "Kirk",
        "Lark",
        "Mill",
        "Oak",
        "Rye",
    ]
    names = [f"{head} {root}{tail}" for head in heads for root in roots for tail in tails]
    chosen = rng.choice(np.array(names, dtype=object), size=count, replace=False)
    weights = 1.0 / np.arange(1, count + 1)
    codes = rng.choice(count, size=rows, p=weights / weights.sum())
    return pd.Series(chosen[codes], dtype="str"), rng.normal(size=count)[codes]


def _sentences(rng: np.random.Generator, unhappy: np.ndarray) -> pd.Series:
    lines = []
    for bad in rng.random(len(unhappy)) < unhappy:
        said = rng.choice(_GRIEF if bad else _PRAISE, size=2, replace=False)
        parts = [rng.choice(_FILLER), *said, f"reference {rng.integers(1000)}"]
        lines.append(", ".join(str(part) for part in rng.permutation(parts)))
    return pd.Series(lines, dtype="str")


def messy_churn() -> pd.DataFrame:
    """Return a table of customers with the yes/no target ``churned``, one in six of them yes.

    4,000 rows and 40 duplicates of some, missing values (in the target too),
    infinities, rare categories, 400 towns, free text, dates, booleans, numbers as text with ``?`` among them,
    an identifier and a constant.
    """
    rng = np.random.default_rng(_SEED)
    rows = _CHURN_ROWS
    tenure = rng.gamma(2.0, 18.0, size=rows).round()
    charge = rng.normal(62.0, 24.0, size=rows).clip(9.0).round(2)
    calls = rng.poisson(1.4, size=rows)
    contract = rng.choice(_CONTRACTS, size=rows, p=_SHARES)
    paperless = _chance(rng, rows, 0.6)
    town, town_effect = _towns(rng, rows, 400)
    days = pd.to_timedelta(tenure * 30 + rng.integers(0, 30, size=rows), unit="D")
    start = pd.Timestamp("2026-01-01") - days
    bound = 0.03 * tenure - 1.3 * (contract == "monthly")
    logit = -2.6 - bound + 0.022 * (charge - 62) + 0.55 * calls + 0.7 * town_effect
    churned = rng.random(rows) < 1.0 / (1.0 + np.exp(-logit))
    with np.errstate(divide="ignore"):
        ratio = pd.Series(charge / (tenure // 6), dtype="float64")  # infinite for the newest customers
    usage = pd.Series(rng.lognormal(3.0, 0.8, size=rows).round(1).astype(str), dtype="str")
    frame = pd.DataFrame(
        {
            "customer_id": [f"C{number:06d}" for number in rng.permutation(rows) + 100_000],
            "signup_date": _holes(rng, pd.Series(start.strftime("%Y-%m-%d"), dtype="str"), 0.02),
            "tenure_months": tenure.astype(int),
            "monthly_charge": _holes(rng, pd.Series(charge), 0.05),
            "charge_per_half_year": ratio,
            "support_calls": _holes(rng, pd.Series(calls.astype(float)), 0.1),
            "usage_gb": usage.mask(pd.Series(_chance(rng, rows, 0.01)), "?"),
            "contract": _holes(rng, pd.Series(contract, dtype="str"), 0.03),
            "paperless": paperless,
            "newsletter": _holes(rng, pd.Series(_chance(rng, rows, 0.3), dtype=object), 0.15),
            "town": _holes(rng, town, 0.01),
            "comment": _holes(rng, _sentences(rng, 0.15 + 0.6 * churned), 0.35),
            "country": "GB",
            "churned": _holes(rng, pd.Series(np.where(churned, "yes", "no"), dtype="str"), 0.005),
        }
    )
    return pd.concat([frame, frame.iloc[rng.choice(rows, size=40, replace=False)]], ignore_index=True)


def messy_prices() -> pd.DataFrame:
    """Return a table of flats with the target ``price``, skewed and positive.

    3,000 rows, missing values (in the target too), 250 towns, free text, time stamps, rare categories,
    booleans, a row number and a column without any value.
    """
    rng = np.random.default_rng(_SEED + 1)
    rows = _PRICE_ROWS
    area = rng.gamma(6.0, 14.0, size=rows).clip(12.0).round(1)
    rooms = (area / 25 + rng.normal(0, 0.7, size=rows)).round().clip(1)
    year = rng.integers(1890, 2026, size=rows)
    energy = rng.choice(list("ABCDEFG"), size=rows, p=[0.04, 0.13, 0.28, 0.3, 0.17, 0.075, 0.005])
    lift = _chance(rng, rows, 0.4)
    town, town_effect = _towns(rng, rows, 250)
    listed = pd.Timestamp("2024-01-01") + pd.to_timedelta(
        rng.integers(0, 730 * 24 * 60, size=rows), unit="min"
    )
    trend = (listed - pd.Timestamp("2024-01-01")).days.to_numpy() / 730.0
    log_price = (
        9.6
        + 0.8 * np.log(area)
        + 0.002 * (year - 1950)
        + 0.35 * town_effect
        + 0.12 * trend
        + 0.05 * lift
        - 0.05 * np.array(["ABCDEFG".index(letter) for letter in energy])
    )
    price = np.exp(log_price + rng.normal(0, 0.15, size=rows)).round(-2)
    condition = 1.0 / (1.0 + np.exp(2.0 * (log_price - log_price.mean())))
    return pd.DataFrame(
        {
            "row": np.arange(1, rows + 1),
            "listed_at": listed.strftime("%d/%m/%Y %H:%M"),
            "area_m2": _holes(rng, pd.Series(area), 0.04),
            "rooms": _holes(rng, pd.Series(rooms), 0.08),
            "built": year,
            "energy_class": _holes(rng, pd.Series(energy, dtype="str"), 0.12),
            "lift": lift,
            "town": town,
            "description": _holes(rng, _sentences(rng, condition), 0.2),
            "renovated": pd.Series([None] * rows, dtype=object),
            "price": _holes(rng, pd.Series(price), 0.01),
        }
    )


def _bundled(load: Callable[..., Any], *, names: bool) -> Callable[[], pd.DataFrame]:
    def make() -> pd.DataFrame:
        bunch = load()
        frame = pd.DataFrame(bunch.data, columns=[str(name) for name in bunch.feature_names])
        target = bunch.target
        frame["target"] = [str(bunch.target_names[code]) for code in target] if names else target
        return frame

    return make


SAMPLES = MappingProxyType(
    {
        "breast_cancer": _bundled(datasets.load_breast_cancer, names=True),
        "iris": _bundled(datasets.load_iris, names=True),
        "wine": _bundled(datasets.load_wine, names=True),
        "digits": _bundled(datasets.load_digits, names=False),
        "diabetes": _bundled(datasets.load_diabetes, names=False),
        "messy_churn": messy_churn,
        "messy_prices": messy_prices,
    }
)
"""Makers of the tables behind ``sample://<name>``; the target is ``target``, ``churned`` or ``price``."""


def make_sample(name: str) -> Sample:
    """Return the sample table *name*, the same on every call."""
    make = SAMPLES.get(name)
    if make is None:
        names = nearest_names(name, SAMPLES, most=len(SAMPLES), cutoff=0.0)
        raise SpecInvalid(
            Reason.UNKNOWN_SAMPLE, f"spec.dataset.uri: there is no sample {name!r}; use {', '.join(names)}"
        )
    frame = make()
    text = frame.to_csv(index=False).encode()
    return Sample(frame=frame, sha256=hashlib.sha256(text).hexdigest(), size_bytes=len(text))
