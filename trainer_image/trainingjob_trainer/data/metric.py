"""Which of scikit-learn's scorers fit a target, and the scorer with the right labels in it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from inspect import signature
from typing import Any

import numpy as np
from sklearn.metrics import get_scorer, get_scorer_names, make_scorer

from trainingjob_api import Reason
from trainingjob_api.vocabulary import Task
from trainingjob_trainer.data.metric_checks import bounded, check_target, module_of_scorer
from trainingjob_trainer.errors import SpecInvalid

__all__ = ["Metric", "fitting_metrics", "metric_task", "resolve_metric"]

_BINARY = frozenset(
    {
        "average_precision",
        "f1",
        "jaccard",
        "neg_negative_likelihood_ratio",
        "positive_likelihood_ratio",
        "precision",
        "recall",
        "roc_auc",
    }
)
_MULTICLASS = frozenset({"top_k_accuracy"})
_MULTILABEL = "_samples"
_NO_POSITIVE_LABEL = frozenset({"neg_negative_likelihood_ratio", "positive_likelihood_ratio"})
"""Scorers for two classes without a parameter for the positive label: they use the second label."""
_OTHER_NAMES = {
    "acc": "accuracy",
    "auc": "roc_auc",
    "auroc": "roc_auc",
    "roc": "roc_auc",
    "auprc": "average_precision",
    "pr_auc": "average_precision",
    "ap": "average_precision",
    "brier": "neg_brier_score",
    "brier_score": "neg_brier_score",
    "kappa": "matthews_corrcoef",
    "mcc": "matthews_corrcoef",
    "logloss": "neg_log_loss",
    "log_loss": "neg_log_loss",
    "cross_entropy": "neg_log_loss",
    "mae": "neg_mean_absolute_error",
    "mape": "neg_mean_absolute_percentage_error",
    "mse": "neg_mean_squared_error",
    "rmse": "neg_root_mean_squared_error",
    "rmsle": "neg_root_mean_squared_log_error",
    "msle": "neg_mean_squared_log_error",
    "r_squared": "r2",
}
_MACRO = "_macro"


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
    return Task.REGRESSION if module_of_scorer(name).endswith("._regression") else Task.CLASSIFICATION


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
    if name in _MULTICLASS and len(classes) <= 2:  # noqa: PLR2004
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
    positive_label
        One of two *classes*.
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
        check_target(name, target)
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
        return bounded(name, scorer)
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
