"""Tables that are generated, each for a difficulty of its own; the seed of a table is fixed."""

import numpy as np
import pandas as pd
from sklearn.datasets import make_classification, make_friedman1, make_friedman3

__all__ = [
    "friedman1",
    "friedman3",
    "gaps",
    "heavy_tails",
    "imbalanced",
    "large",
    "levels_classification",
    "levels_regression",
    "noisy",
    "sparse_linear",
    "ten_classes",
    "wide",
]

SEED = 20


def friedman1() -> pd.DataFrame:
    """Return Friedman's first function of 10 columns, 5 of them noise (Friedman 1991)."""
    return _frame(*make_friedman1(2_000, noise=1.0, random_state=SEED))


def friedman3() -> pd.DataFrame:
    """Return Friedman's third function, an arc tangent of 4 columns (Friedman 1991)."""
    return _frame(*make_friedman3(8_000, noise=0.1, random_state=SEED))


def levels_regression() -> pd.DataFrame:
    """Return 10,000 rows whose target is the effects of 600 and 40 levels, and a curve."""
    random = np.random.default_rng(SEED)
    frame, effect = _levels(random, 10_000, 600, 40)
    return frame.assign(y=effect + np.sin(3 * frame["x0"]) + random.normal(0, 0.7, len(frame)))


def levels_classification() -> pd.DataFrame:
    """Return 20,000 rows of two classes, by the effects of 2,000 and 60 levels, and a curve."""
    random = np.random.default_rng(SEED)
    frame, effect = _levels(random, 20_000, 2_000, 60)
    return frame.assign(y=_toss(random, 1.5 * effect + frame["x0"] * frame["x1"]))


def gaps() -> pd.DataFrame:
    """Return 5,000 rows with a third of the values missing, more where the value is large."""
    random = np.random.default_rng(SEED)
    values = random.normal(size=(5_000, 12))
    chance = 1 / (1 + np.exp(-values))
    strength = values[:, 0] + values[:, 1] * values[:, 2] + 2 * np.heaviside(chance[:, 3] - 0.7, 0)
    frame = _frame(np.where(random.random(values.shape) < chance * 0.66, np.nan, values), 0)
    return frame.assign(y=_toss(random, 1.5 * strength))


def heavy_tails() -> pd.DataFrame:
    """Return 8,000 rows with columns and target of heavy tails, as incomes and claims have."""
    random = np.random.default_rng(SEED)
    values = random.standard_t(2, size=(8_000, 8))
    target = np.exp(0.6 * np.tanh(values[:, 0]) + 0.4 * np.sign(values[:, 1]) + 0.3 * np.arctan(values[:, 2]))
    return _frame(values, target * random.lognormal(0, 0.5, len(values)))


def imbalanced() -> pd.DataFrame:
    """Return 20,000 rows with a positive class of 2 %."""
    return _frame(
        *make_classification(
            20_000, 20, n_informative=8, weights=[0.98], flip_y=0.005, class_sep=0.8, random_state=SEED
        )
    )


def ten_classes() -> pd.DataFrame:
    """Return 8,000 rows of ten classes with two clusters each."""
    return _frame(
        *make_classification(
            8_000, 24, n_informative=12, n_classes=10, n_clusters_per_class=2, flip_y=0.05, random_state=SEED
        )
    )


def noisy() -> pd.DataFrame:
    """Return 300 rows of which 20 columns are noise and 3 say a little."""
    random = np.random.default_rng(SEED)
    values = random.normal(size=(300, 23))
    return _frame(values, 0).assign(y=_toss(random, values[:, :3].sum(axis=1) * 0.6))


def wide() -> pd.DataFrame:
    """Return 600 rows of 1,000 columns, 15 of which say something."""
    return _frame(*make_classification(600, 1_000, n_informative=15, n_redundant=20, random_state=SEED))


def sparse_linear() -> pd.DataFrame:
    """Return 1,000 rows that are linear in 8 of 60 correlated columns."""
    random = np.random.default_rng(SEED)
    values = random.normal(size=(1_000, 60)) + random.normal(size=(1_000, 1))
    return _frame(values, values[:, :8] @ random.normal(size=8) + random.normal(0, 2, 1_000))


def large() -> pd.DataFrame:
    """Return 300,000 rows of four classes: products, thresholds and waves of 15 columns."""
    random = np.random.default_rng(SEED)
    values = random.normal(size=(300_000, 15))
    scores = np.column_stack(
        [
            values[:, 0] * values[:, 1],
            np.sin(2 * values[:, 2]) + np.heaviside(values[:, 3] - 0.5, 0),
            np.abs(values[:, 4]) - values[:, 5],
            values[:, 6:9].sum(axis=1) / 2,
        ]
    )
    return _frame(values, (scores + random.gumbel(0, 0.5, scores.shape)).argmax(axis=1))


def _frame(values: np.ndarray, target: np.ndarray | float) -> pd.DataFrame:
    return pd.DataFrame(values, columns=[f"x{i}" for i in range(values.shape[1])]).assign(y=target)


def _levels(random: np.random.Generator, rows: int, *counts: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Return three numbers and some columns of levels, most of them rare, and the levels' effect."""
    frame = pd.DataFrame(random.normal(size=(rows, 3)), columns=["x0", "x1", "x2"])
    effect = np.zeros(rows)
    for i, count in enumerate(counts):
        share = random.dirichlet(np.full(count, 0.5))
        level = random.choice(count, rows, p=share)
        effect += random.normal(size=count)[level]
        frame[f"level{i}"] = [f"L{number}" for number in level]
    return frame, effect


def _toss(random: np.random.Generator, strength: np.ndarray | pd.Series) -> np.ndarray:
    return (random.random(len(strength)) < 1 / (1 + np.exp(-np.asarray(strength)))).astype(int)
