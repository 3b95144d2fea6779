"""What a scorer asked of a model, recorded: it scores other draws of the rows without another prediction."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

__all__ = ["Recorder", "replay"]

_METHODS = ("predict", "predict_proba", "decision_function")

Responses = dict[str, NDArray[Any]]


class Recorder:
    """Stands in for a fitted model and keeps what its methods answer.

    Parameters
    ----------
    model
        A fitted estimator.

    Attributes
    ----------
    responses_ : dict of str to ndarray
        By the name of the method; each has one entry a row.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self.responses_: Responses = {}

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._model, name)
        if name not in _METHODS:
            return value

        def ask(x: Any) -> Any:
            if name not in self.responses_:
                self.responses_[name] = np.asarray(value(x))
            return self.responses_[name]

        return _named(ask, name)


class _Classifier(ClassifierMixin, BaseEstimator):
    """A fitted classifier whose rows are positions in what was recorded."""


class _Regressor(RegressorMixin, BaseEstimator):
    """A fitted regressor whose rows are positions in what was recorded."""


def replay(
    responses: Responses, scorer: Any, classes: Sequence[Any] | None
) -> Callable[[NDArray[np.intp], NDArray[Any]], float]:
    """Return ``score(rows, truth)``, the score of some of the recorded rows.

    Parameters
    ----------
    responses
        Of a `Recorder`.
    scorer
        scikit-learn scorer.
    classes
        The model's classes in its order; None for a regressor.
    """
    stand_in: Any = _Regressor() if classes is None else _Classifier()
    if classes is not None:
        stand_in.classes_ = np.asarray(classes)
    for name, recorded in responses.items():
        setattr(stand_in, name, _named(recorded.__getitem__, name))
    return lambda rows, truth: float(scorer(stand_in, rows, truth))


def _named(function: Callable[[Any], Any], name: str) -> Callable[[Any], Any]:
    """Return a function under a name that scikit-learn looks at."""

    def method(x: Any) -> Any:
        return function(x)

    method.__name__ = name
    return method
