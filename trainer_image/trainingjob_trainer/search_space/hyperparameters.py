"""Hyperparameters of a tree: checked values, and the space that they are drawn from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ConfigSpace import Categorical, Float, Integer

from trainingjob_api.search_space import ChoiceValues, Range
from trainingjob_trainer.errors import SpecInvalid
from trainingjob_trainer.search_space.allow_list import Kind
from trainingjob_trainer.search_space.catalogue import CATALOGUE, Entry, nearest
from trainingjob_trainer.search_space.refining import SharedConfigurationSpace
from trainingjob_trainer.search_space.values import function_named

__all__ = ["Reader", "hyperparameter_space"]

_FUNCTION_PARAMETERS: Final = {"pooling_func", "score_func"}

# XGBoost and LightGBM find a wrong value only while they fit, in C++; scikit-learn checks its own.
_NUMBERS: Final[Mapping[str, tuple[float, float]]] = {
    "colsample_bylevel": (1e-3, 1),
    "colsample_bynode": (1e-3, 1),
    "colsample_bytree": (1e-3, 1),
    "gamma": (0, 1e9),
    "learning_rate": (1e-9, 10),
    "max_bin": (2, 65_535),
    "max_delta_step": (0, 1e9),
    "max_depth": (-1, 64),
    "max_leaves": (0, 65_535),
    "min_child_samples": (0, 1e9),
    "min_child_weight": (0, 1e9),
    "min_split_gain": (0, 1e9),
    "n_estimators": (1, 100_000),
    "num_leaves": (2, 131_072),
    "reg_alpha": (0, 1e9),
    "reg_lambda": (0, 1e9),
    "scale_pos_weight": (0, 1e9),
    "subsample": (1e-3, 1),
    "subsample_for_bin": (1, 1e9),
    "subsample_freq": (0, 1e9),
}
_WORDS: Final[Mapping[str, tuple[Any, ...]]] = {
    "booster": ("gbtree", "gblinear", "dart"),
    "boosting_type": ("gbdt", "dart", "goss", "rf"),
    "class_weight": (None, "balanced"),
    "grow_policy": ("depthwise", "lossguide"),
    "importance_type": ("split", "gain", "weight", "cover", "total_gain", "total_cover"),
    "sampling_method": ("uniform",),
    "tree_method": ("auto", "exact", "approx", "hist"),
}
_WHOLE: Final = {
    "max_bin", "max_depth", "max_leaves", "min_child_samples", "n_estimators", "num_leaves",
    "subsample_for_bin", "subsample_freq",
}  # fmt: skip


@dataclass(frozen=True)
class Reader:
    """Reads drawn values: constants are added, and a choice is drawn by its number.

    ConfigSpace knows no None and makes one type of all choices; numbers of choices avoid both.

    Parameters
    ----------
    constants
        Values that are not drawn.
    choices
        The values behind each number, by hyperparameter.
    """

    constants: Mapping[str, Any] = field(default_factory=dict)
    choices: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)

    def __call__(self, drawn: Mapping[str, Any]) -> dict[str, Any]:
        """Return the hyperparameters of an estimator.

        Parameters
        ----------
        drawn
            What ConfigSpace has drawn.
        """
        read = {
            name: self.choices[name][int(item)] if name in self.choices else item
            for name, item in drawn.items()
        }
        return {**self.constants, **read}


def hyperparameter_space(found: Entry, given: Mapping[str, Any]) -> tuple[Any, Reader]:
    """Return the space of the hyperparameters that a tree gives, and how drawn values are read.

    Parameters
    ----------
    found
        The estimator.
    given
        A constant, a `Range` or a `ChoiceValues` by name.

    Raises
    ------
    SpecInvalid
        A name is unknown (``UnknownHyperparameter``), or a value is refused by the estimator
        (``InvalidHyperparameter``).
    """
    constants: dict[str, Any] = {}
    choices: dict[str, tuple[Any, ...]] = {}
    drawn = []
    for name, value in sorted(given.items()):
        if name not in found.hyperparameters:
            known = f"{found.name} has no hyperparameter {name!r:.80} that may be set."
            raise SpecInvalid("UnknownHyperparameter", f"{known} {nearest(name, found.hyperparameters)}")
        if isinstance(value, Range):
            for bound in (value.low, value.high):
                _check(found, name, int(bound) if value.integer else float(bound))
            drawn.append(_drawn(name, value))
        elif isinstance(value, ChoiceValues):
            choices[name] = tuple(_checked(found, name, item) for item in value.choice)
            drawn.append(Categorical(name, list(range(len(value.choice)))))
        else:
            constants[name] = _checked(found, name, value)
    space = SharedConfigurationSpace()
    space.add(drawn)
    return (space if drawn else {}), Reader(constants, choices)


def _drawn(name: str, value: Range) -> Any:
    if value.integer:
        return Integer(name, (int(value.low), int(value.high)), log=value.log)
    return Float(name, (float(value.low), float(value.high)), log=value.log)


def _checked(found: Entry, name: str, value: Any) -> Any:
    """Return a value that the estimator accepts; a function is said by its name."""
    if name in _FUNCTION_PARAMETERS and isinstance(value, str):
        function = function_named(value)
        if function is None:
            raise _invalid(found, name, value, "no such function is allowed")
        return function
    _check(found, name, value)
    return value


def _check(found: Entry, name: str, value: Any) -> None:
    """Try the value on an instance, with scikit-learn's own constraints where it has them."""
    if found.cls.__module__.startswith(("xgboost", "lightgbm")):
        _check_booster(found, name, value)
        return
    tree = "DecisionTreeClassifier" if found.kind is Kind.CLASSIFIER else "DecisionTreeRegressor"
    inner = {found.slot: CATALOGUE[tree].cls()} if found.slot else {}
    try:
        found.cls(**{**inner, name: value})._validate_params()  # noqa: SLF001 - fit() would call it too
    except (ValueError, TypeError) as error:
        raise _invalid(found, name, value, " ".join(str(error).split())) from error


def _check_booster(found: Entry, name: str, value: Any) -> None:
    if name in _WORDS:
        if value not in _WORDS[name]:
            raise _invalid(found, name, value, f"it is one of {', '.join(map(str, _WORDS[name]))}")
        return
    if value is None and found.cls.__module__.startswith("xgboost"):
        return
    low, high = _NUMBERS.get(name, (0, 1))
    number = isinstance(value, int if name in _WHOLE else int | float) and not isinstance(value, bool)
    if not number or not low <= value <= high:
        kind = "a whole number" if name in _WHOLE else "a number"
        raise _invalid(found, name, value, f"it is {kind} between {low:g} and {high:g}")


def _invalid(found: Entry, name: str, value: Any, cause: str) -> SpecInvalid:
    return SpecInvalid(
        "InvalidHyperparameter", f"{found.name}: {name}={value!r:.60} is not accepted: {cause:.300}."
    )
