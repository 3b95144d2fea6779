"""Where a metric is undefined for a target or for a part of the rows, and where it says little."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from sklearn.metrics import get_scorer

from trainingjob_api import Reason
from trainingjob_trainer.data.findings import Finding, FindingKind, listed
from trainingjob_trainer.data.split import Classes, Split
from trainingjob_trainer.errors import DataError, SpecInvalid

__all__ = ["BoundedScorer", "bounded", "check_metric", "check_target", "module_of_scorer"]

_FEW_ROWS = 10  # that a share of explained variance is taken over
_FEW_OF_A_CLASS = 5  # rows that a ranking is judged by
_NEAR_ZERO = 1e-3  # of the median: such a row weighs as much as a thousand others in a mean percentage
_PERCENTAGE = "neg_mean_absolute_percentage_error"
_EXPLAINED = frozenset({"d2_absolute_error_score", "explained_variance", "r2"})
_AT_LEAST_TWO_ROWS = _EXPLAINED | {"d2_brier_score", "d2_log_loss_score"}
_ONE_INFINITE = "positive_likelihood_ratio"


class Holds(IntEnum):
    """Which classes the rows must hold that a scorer is applied to."""

    ANY = 0
    TWO = 1
    POSITIVE = 2
    EVERY = 3


_SCORED = {
    "average_precision": Holds.POSITIVE,
    "d2_brier_score": Holds.TWO,
    "d2_log_loss_score": Holds.TWO,
    "neg_negative_likelihood_ratio": Holds.TWO,
    "positive_likelihood_ratio": Holds.TWO,
    "roc_auc": Holds.TWO,
    "roc_auc_ovo": Holds.TWO,
    "roc_auc_ovo_weighted": Holds.TWO,
    "roc_auc_ovr": Holds.EVERY,
    "roc_auc_ovr_weighted": Holds.TWO,
}
_RANKINGS = frozenset(name for name in _SCORED if name.startswith("roc_auc")) | {"average_precision"}
_BY_CLASS_PROBABILITY = frozenset(
    {"d2_brier_score", "d2_log_loss_score", "neg_brier_score", "neg_log_loss", "top_k_accuracy"}
) | (_RANKINGS - {"average_precision", "roc_auc"})


@dataclass(frozen=True, slots=True)
class _Range:
    """The least value that a scorer is defined for, and whether that value itself is allowed."""

    lowest: float
    reached: bool

    def outside(self, values: np.ndarray) -> np.ndarray:
        return values[values < self.lowest] if self.reached else values[values <= self.lowest]

    def __str__(self) -> str:
        return f"{'of at least' if self.reached else 'greater than'} {self.lowest:g}"


_TARGETS = {
    "neg_mean_squared_log_error": _Range(-1.0, reached=False),
    "neg_root_mean_squared_log_error": _Range(-1.0, reached=False),
    "neg_mean_poisson_deviance": _Range(0.0, reached=True),
    "neg_mean_gamma_deviance": _Range(0.0, reached=False),
}
_PREDICTIONS = {**_TARGETS, "neg_mean_poisson_deviance": _Range(0.0, reached=False)}


def module_of_scorer(name: str) -> str:
    """Return the module of scikit-learn that defines the function of a scorer, which shows its kind."""
    module: str = get_scorer(name)._score_func.__module__  # noqa: SLF001
    return module


@dataclass(frozen=True, slots=True)
class BoundedScorer:
    """A scorer that says which prediction it is not defined for, where scikit-learn blames the targets."""

    scorer: Any
    name: str

    def __call__(self, estimator: Any, X: Any, y: Any) -> float:
        """Return the score."""
        predicted = np.asarray(estimator.predict(X), dtype="float64")
        allowed = _PREDICTIONS[self.name]
        bad = allowed.outside(predicted)
        if len(bad):
            raise ValueError(
                f"{self.name} is defined for predictions {allowed}, but {len(bad):,} of "
                f"{len(predicted):,} are less, such as {bad.min():g}"
            )
        return float(self.scorer._sign * self.scorer._score_func(y, predicted, **self.scorer._kwargs))  # noqa: SLF001


def bounded(name: str, scorer: Any) -> Any:
    """Return *scorer*, within a `BoundedScorer` if it is not defined for every prediction."""
    return BoundedScorer(scorer, name) if name in _PREDICTIONS else scorer


def check_target(name: str, target: np.ndarray) -> None:
    """Reject a metric that is not defined for every value of a regression's *target*."""
    if name in _TARGETS:
        defined, bad = f"targets {_TARGETS[name]}", _TARGETS[name].outside(target)
    elif name == _PERCENTAGE:
        defined, bad = "targets other than 0", target[target == 0]
    else:
        return
    if len(bad):
        have = "0" if name == _PERCENTAGE else f"less, such as {bad.min():g}"
        raise DataError(
            Reason.TARGET_OUT_OF_RANGE,
            f"spec.metric: {name!r} is defined for {defined}, but {len(bad):,} row(s) have {have}; choose "
            "another metric, such as 'neg_mean_absolute_error', or leave these rows out",
        )


def check_metric(
    name: str, target: np.ndarray, split: Split, *, classes: Classes | None, positive: str | None, column: str
) -> tuple[Finding, ...]:
    """Return findings on a metric that says little here, and reject one that some rows leave undefined.

    Parameters
    ----------
    name
        Of a scorer that fits the task.
    classes
        Of all rows, or None for regression.
    positive
        Name of the positive class of two.
    column
        Name of the target.
    """
    notes = _check_numbers(name, target, split) if classes is None else _check_classes(name, classes, split)
    for what, fit, rows in _parts(split):
        missing = _missing(name, classes, positive, fit, rows)
        if missing is not None:
            raise SpecInvalid(
                Reason.METRIC_DOES_NOT_FIT,
                f"spec.metric: {name!r} is not defined here, since {what} {missing}; choose another metric, "
                "or another spec.validation",
            )
    return tuple(Finding.warning(FindingKind.METRIC, column, f"{name} {note}") for note in notes)


def _parts(split: Split) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield the name of each part, its training rows and its scored rows."""
    yield "the hold-out", split.train, split.holdout
    for number, (fit, score) in enumerate(split.folds, start=1):
        yield f"fold {number}", fit, score


def _check_numbers(name: str, target: np.ndarray, split: Split) -> Iterator[str]:
    if name == _PERCENTAGE:
        sizes = np.abs(target)
        small = int((sizes < _NEAR_ZERO * np.median(sizes)).sum())
        if small:
            yield (
                f"is decided by {small:,} row(s) whose target is nearly 0 (less than a thousandth of the "
                "median): their errors in percent outweigh all others; set spec.metric to "
                "neg_mean_absolute_error, or leave these rows out"
            )
    if name in _EXPLAINED:
        small_parts = [what for what, _, rows in _parts(split) if len(rows) < _FEW_ROWS]
        if small_parts:
            yield f"says little about fewer than {_FEW_ROWS} rows, as in {listed(small_parts)}; add rows"
        flat = [what for what, _, rows in _parts(split) if len(rows) > 1 and np.ptp(target[rows]) == 0]
        if flat:
            yield (
                f"says nothing where the target does not vary, as in {listed(flat)}; set spec.metric to "
                "neg_mean_absolute_error"
            )


def _check_classes(name: str, classes: Classes, split: Split) -> Iterator[str]:
    if ".cluster." in module_of_scorer(name):
        yield (
            "compares groups, not labels: a model that mixes the labels up can have the best score; set "
            "spec.metric to balanced_accuracy or f1_macro"
        )
    if name == _ONE_INFINITE:
        yield (
            "is infinite without a false positive, and scikit-learn then counts it as 1, the worst: the best "
            "pipelines may come last; set spec.metric to precision or roc_auc"
        )
    if name in _RANKINGS:
        few = [what for what, _, rows in _parts(split) if _counts(classes, rows).min() < _FEW_OF_A_CLASS]
        if few:
            yield (
                f"is decided by fewer than {_FEW_OF_A_CLASS} rows of a class, as in {listed(few)}; add "
                "rows, or lower spec.budget.cvFolds"
            )


def _counts(classes: Classes, rows: np.ndarray) -> np.ndarray:
    return np.bincount(classes.codes[rows], minlength=len(classes.names))


def _missing(
    name: str, classes: Classes | None, positive: str | None, fit: np.ndarray, rows: np.ndarray
) -> str | None:
    """Return why a part with the rows *fit* and the scored *rows* does not suffice for the metric."""
    if name in _AT_LEAST_TWO_ROWS and len(rows) < 2:  # noqa: PLR2004
        return "has one row to score; add rows"
    if classes is None:
        return None
    learnt, scored = _counts(classes, fit), _counts(classes, rows)
    if name in _BY_CLASS_PROBABILITY and learnt.min() == 0:
        return f"has no row to learn {classes.names[int(learnt.argmin())]!r} from"
    needed = _SCORED.get(name, Holds.ANY)
    held = [classes.names[code] for code in np.flatnonzero(scored)]
    if needed is Holds.EVERY and len(held) < len(classes.names):
        return f"has no row of {classes.names[int(scored.argmin())]!r} to score"
    if needed is Holds.POSITIVE and positive not in held:
        return f"has no row of the positive label {positive!r} to score"
    if needed is Holds.TWO and len(held) < 2:  # noqa: PLR2004
        return f"has rows of {held[0]!r} alone to score"
    return None
