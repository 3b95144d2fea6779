"""Which of scikit-learn's scorers fit a target, the scorer with its labels, and where it is undefined."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from inspect import signature
from typing import Any

import numpy as np
from sklearn.metrics import get_scorer, get_scorer_names, make_scorer

from trainingjob_api import Reason
from trainingjob_api.vocabulary import Task
from trainingjob_trainer.data import Finding, FindingKind, listed
from trainingjob_trainer.data.split import Classes, Split
from trainingjob_trainer.errors import DataError, SpecInvalid

# Scorers for two classes without a parameter for the positive label: they use the second label.
_NO_POSITIVE_LABEL = frozenset({"neg_negative_likelihood_ratio", "positive_likelihood_ratio"})
_BINARY = _NO_POSITIVE_LABEL | {"average_precision", "f1", "jaccard", "precision", "recall", "roc_auc"}
_MULTICLASS = "top_k_accuracy"
_MULTILABEL = "_samples"
_OTHER_NAMES = {
    alias: name
    for name, aliases in {
        "accuracy": ("acc",),
        "roc_auc": ("auc", "auroc", "roc"),
        "average_precision": ("auprc", "pr_auc", "ap"),
        "neg_brier_score": ("brier", "brier_score"),
        "matthews_corrcoef": ("kappa", "mcc"),
        "neg_log_loss": ("logloss", "log_loss", "cross_entropy"),
        "neg_mean_absolute_error": ("mae",),
        "neg_mean_absolute_percentage_error": ("mape",),
        "neg_mean_squared_error": ("mse",),
        "neg_root_mean_squared_error": ("rmse",),
        "neg_root_mean_squared_log_error": ("rmsle",),
        "neg_mean_squared_log_error": ("msle",),
        "r2": ("r_squared",),
    }.items()
    for alias in aliases
}
_MACRO = "_macro"
_FEW_ROWS = 10  # that a share of explained variance is taken over
_FEW_OF_A_CLASS = 5  # rows that a ranking is judged by
_NEAR_ZERO = 1e-3  # of the median: such a row weighs as much as a thousand others in a mean percentage
_PERCENTAGE = "neg_mean_absolute_percentage_error"
_EXPLAINED = frozenset({"d2_absolute_error_score", "explained_variance", "r2"})
_AT_LEAST_TWO_ROWS = _EXPLAINED | {"d2_brier_score", "d2_log_loss_score"}
_ONE_INFINITE = "positive_likelihood_ratio"


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric that fits the task: scikit-learn's name of the scorer, and it with the labels."""

    name: str
    scorer: Any

    @property
    def highest(self) -> float:
        """The highest score that there can be."""
        if self.name == "positive_likelihood_ratio":
            return math.inf
        return 0.0 if self.name.startswith("neg_") else 1.0


def metric_task(name: str) -> Task:
    """Return the task that the scorer *name* is for."""
    if name not in get_scorer_names():
        nearest = _by_likeness(name, get_scorer_names())
        raise SpecInvalid(
            Reason.UNKNOWN_METRIC,
            f"spec.metric: scikit-learn has no scorer {name!r}; did you mean {nearest[0]!r}? All scorers: "
            f"{', '.join(nearest)}",
        )
    return Task.REGRESSION if _module(name).endswith("._regression") else Task.CLASSIFICATION


def fitting_metrics(task: Task, classes: Sequence[Any] | None) -> list[str]:
    """Return the names of all scorers that fit *task* and the number of classes."""
    return [
        name for name in get_scorer_names() if metric_task(name) is task and _misfit(name, classes) is None
    ]


def _misfit(name: str, classes: Sequence[Any] | None) -> str | None:
    """Return why a scorer of the right task does not fit the *classes*, or None if it does."""
    if classes is None:
        return None
    if name.endswith(_MULTILABEL):
        return "needs several labels in each row, which a table does not have"
    if name in _BINARY and len(classes) != 2:  # noqa: PLR2004
        return f"needs exactly two classes, the target has {len(classes)}"
    if name == _MULTICLASS and len(classes) <= 2:  # noqa: PLR2004
        return f"needs more than two classes, the target has {len(classes)}"
    return None


def resolve_metric(
    name: str | None,
    task: Task,
    classes: Sequence[Any] | None = None,
    positive_label: Any = None,
    *,
    target: np.ndarray | None = None,
) -> Metric:
    """Return the metric *name*, or the default of *task* (``accuracy``, ``r2``).

    Parameters
    ----------
    classes
        All labels in sorted order, for classification.
    target
        Values of a regression target, to reject scorers that are not defined for some of them.

    Raises
    ------
    SpecInvalid
        ``UnknownMetric`` or ``MetricDoesNotFit``, with the scorers that fit, the nearest first.
    DataError
        ``TargetOutOfRange``.
    """
    if name is None:
        name = "r2" if task is Task.REGRESSION else "accuracy"
    asked = metric_task(name)
    misfit = _misfit(name, classes) if asked is task else f"is for {asked.value}, the task is {task.value}"
    if misfit is not None:
        fitting = _by_likeness(name.removesuffix(_MULTILABEL), fitting_metrics(task, classes))
        raise SpecInvalid(
            Reason.METRIC_DOES_NOT_FIT,
            f"spec.metric: {name!r} {misfit}; did you mean {fitting[0]!r}? Those that fit: "
            f"{', '.join(fitting)}",
        )
    if name in _NO_POSITIVE_LABEL and classes is not None and positive_label == classes[0]:
        raise SpecInvalid(
            Reason.METRIC_DOES_NOT_FIT,
            f"spec.metric: {name!r} always uses {str(classes[1])!r} as positive label, which is "
            f"{str(positive_label)!r} here; set spec.positiveLabel, or choose another metric, such as "
            "'balanced_accuracy'",
        )
    if target is not None:
        _check_target(name, target)
    return Metric(name=name, scorer=_scorer(name, classes, positive_label))


def _by_likeness(name: str, candidates: Sequence[str]) -> list[str]:
    """Return *candidates*, those most like *name* first."""
    wanted = _OTHER_NAMES.get(name.lower().replace("-", "_").replace(" ", "_"), name)

    def unlikeness(candidate: str) -> tuple[bool, bool, float, str]:
        likeness = SequenceMatcher(None, wanted.lower(), candidate).ratio()
        # What averages over the classes in the usual way comes before its relatives.
        return candidate != wanted, candidate != wanted + _MACRO, -likeness, candidate

    return sorted(candidates, key=unlikeness)


def _scorer(name: str, classes: Sequence[Any] | None, positive_label: Any) -> Any:
    scorer = get_scorer(name)
    if classes is None:
        return _BoundedScorer(scorer, name) if name in _PREDICTIONS else scorer
    # A part of the rows need not hold every class, so the scorer gets all labels as arguments.
    arguments = dict(scorer._kwargs)  # noqa: SLF001
    accepted = signature(scorer._score_func).parameters  # noqa: SLF001
    if "pos_label" in accepted and "pos_label" not in arguments and len(classes) == 2:  # noqa: PLR2004
        arguments["pos_label"] = positive_label
    if "labels" in accepted and scorer._response_method != "predict":  # noqa: SLF001
        arguments["labels"] = list(classes)
    if "zero_division" in accepted:
        arguments["zero_division"] = 0
    return make_scorer(
        scorer._score_func,  # noqa: SLF001
        response_method=scorer._response_method,  # noqa: SLF001
        greater_is_better=scorer._sign > 0,  # noqa: SLF001
        **arguments,
    )


# Which classes the rows must hold that a scorer is applied to; any, where there is no entry.
_SCORED = {
    "average_precision": "positive",
    "d2_brier_score": "two",
    "d2_log_loss_score": "two",
    "neg_negative_likelihood_ratio": "two",
    "positive_likelihood_ratio": "two",
    "roc_auc": "two",
    "roc_auc_ovo": "two",
    "roc_auc_ovo_weighted": "two",
    "roc_auc_ovr": "every",
    "roc_auc_ovr_weighted": "two",
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


def _module(name: str) -> str:
    """Return the module of scikit-learn that defines the function of a scorer, which shows its kind."""
    module: str = get_scorer(name)._score_func.__module__  # noqa: SLF001
    return module


@dataclass(frozen=True, slots=True)
class _BoundedScorer:
    """A scorer that says which prediction it is not defined for, where scikit-learn blames the targets."""

    scorer: Any
    name: str

    def __call__(self, estimator: Any, X: Any, y: Any) -> float:
        predicted = np.asarray(estimator.predict(X), dtype="float64")
        allowed = _PREDICTIONS[self.name]
        bad = allowed.outside(predicted)
        if len(bad):
            raise ValueError(
                f"{self.name} is defined for predictions {allowed}, but {len(bad):,} of "
                f"{len(predicted):,} are less, such as {bad.min():g}"
            )
        return float(self.scorer._sign * self.scorer._score_func(y, predicted, **self.scorer._kwargs))  # noqa: SLF001


def _check_target(name: str, target: np.ndarray) -> None:
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

    The target's *column* and the *positive* class are given by name.
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
    if ".cluster." in _module(name):
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
    return np.bincount(classes.codes[rows], minlength=len(classes.labels))


def _missing(
    name: str, classes: Classes | None, positive: str | None, fit: np.ndarray, rows: np.ndarray
) -> str | None:
    """Return why a part with the rows *fit* and the scored *rows* does not suffice for the metric."""
    if name in _AT_LEAST_TWO_ROWS and len(rows) < 2:  # noqa: PLR2004
        return "has one row to score; add rows"
    if classes is None:
        return None
    learnt, scored, names = _counts(classes, fit), _counts(classes, rows), classes.names
    if name in _BY_CLASS_PROBABILITY and learnt.min() == 0:
        return f"has no row to learn {names[int(learnt.argmin())]!r} from"
    needed = _SCORED.get(name)
    held = [names[code] for code in np.flatnonzero(scored)]
    if needed == "every" and len(held) < len(names):
        return f"has no row of {names[int(scored.argmin())]!r} to score"
    if needed == "positive" and positive not in held:
        return f"has no row of the positive label {positive!r} to score"
    if needed == "two" and len(held) < 2:  # noqa: PLR2004
        return f"has rows of {held[0]!r} alone to score"
    return None
