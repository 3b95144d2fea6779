"""The allow-list: every class that a pipeline may be made of, by its name.

The table is static: a name that a user or a journal gives is looked up, never imported.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from types import MappingProxyType
from typing import Any, Final

from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.feature_selection import RFE, SelectFromModel
from sklearn.preprocessing import FunctionTransformer

from trainingjob_api import Reason
from trainingjob_trainer.errors import SpecInvalid
from trainingjob_trainer.search_space.allow_list import BY_KIND, META, Kind

__all__ = ["CATALOGUE", "Entry", "Kind", "entry", "nearest"]


@dataclass(frozen=True)
class Entry:
    """One class of the allow-list.

    Parameters
    ----------
    cls
        The class itself.
    kind
        What it is for.
    slot
        The parameter that takes an inner estimator, if it is a meta-estimator.
    internal
        Whether it appears only in translations, never in a user's tree.
    """

    cls: type
    kind: Kind
    slot: str | None = None
    internal: bool = False

    @property
    def name(self) -> str:
        """The name under which it is listed."""
        return self.cls.__name__

    @property
    def predictor(self) -> bool:
        """Whether it can be the final step."""
        return self.kind in {Kind.CLASSIFIER, Kind.REGRESSOR}

    @property
    def parameters(self) -> frozenset[str]:
        """Every constructor parameter, those set by the trainer included."""
        return frozenset(defaults(self.cls))

    @property
    def hyperparameters(self) -> frozenset[str]:
        """The constructor parameters that a tree may set."""
        return self.parameters - _RESERVED - ({self.slot} if self.slot else set())


# The trainer sets these itself, or they take objects that a tree cannot say.
_RESERVED: Final = frozenset(
    [
        "n_jobs",
        "nthread",
        "random_state",
        "verbose",
        "verbosity",
        "warm_start",
        "memory",
        "copy",
        "copy_X",
        "copy_X_train",
        "cache_size",
        "callbacks",
        "metric_params",
        "kernel_params",
        "device",
        "estimator",
        "estimators",
        "classifier",
        "regressor",
        "transformer",
        "func",
        "inverse_func",
        "kw_args",
        "inv_kw_args",
        "validate",
        "accept_sparse",
        "check_inverse",
        "feature_names_out",
        "sparse_output",
        "dtype",
        "set_output_transform",
        "covariance_estimator",
        "store_covariance",
        "store_cv_results",
        "precompute",
        "interaction_constraints",
        "monotone_constraints",
        "monotonic_cst",
        "feature_types",
        "feature_weights",
        "enable_categorical",
        "categorical_features",
        "eval_metric",
        "early_stopping_rounds",
        "missing",
        "importance_getter",
        "prefit",
        "indicator",
        "add_indicator",
        "multi_strategy",
        "objective",
        "class_prior",
        "priors",
        "base_score",
        "num_parallel_tree",
        "param_distributions",
        "oob_score",
        "constant",
        "estimator_params",
    ]
)

_ENTRIES: Final = (
    *(Entry(cls, kind) for kind, group in BY_KIND.items() for cls in group),
    *(Entry(cls, kind, slot=slot) for cls, (kind, slot) in META.items()),
    Entry(FunctionTransformer, Kind.TRANSFORMER, internal=True),
)

CATALOGUE: Final[Mapping[str, Entry]] = MappingProxyType({item.name: item for item in _ENTRIES})
"""Every leaf and meta-estimator by name; Pipeline, FeatureUnion and the like are spec nodes of their own."""


_NEED_AN_ESTIMATOR: Final = {RFE, SelectFromModel}

# LightGBM takes further parameters by keyword; this one keeps it quiet.
_UNDECLARED: Final[Mapping[type, Mapping[str, Any]]] = {
    LGBMClassifier: {"verbose": 1},
    LGBMRegressor: {"verbose": 1},
}


@cache
def defaults(cls: type) -> Mapping[str, Any]:
    """Return the constructor parameters of *cls* with their defaults.

    Parameters
    ----------
    cls
        A class of the allow-list.
    """
    instance = cls(None) if cls in _NEED_AN_ESTIMATOR else cls()
    return MappingProxyType({**instance.get_params(deep=False), **_UNDECLARED.get(cls, {})})


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a sentence that names the nearest known names, or some of them.

    Parameters
    ----------
    name
        What was given.
    known
        What would have been right.
    """
    names = sorted(known)
    by_lower = {item.lower(): item for item in names}
    close = [by_lower[item] for item in get_close_matches(name.lower(), list(by_lower), n=3, cutoff=0.5)]
    if close:
        return f"Did you mean {' or '.join(close)}?"
    shown = ", ".join(names[:12])
    return f"Known: {shown}{' and others' if len(names) > 12 else ''}."  # noqa: PLR2004


def entry(name: str) -> Entry:
    """Look up a class of the allow-list.

    Parameters
    ----------
    name
        The class's name.

    Raises
    ------
    SpecInvalid
        It is not on the list (``UnknownEstimator``).
    """
    found = CATALOGUE.get(name)
    if found is None:
        raise SpecInvalid(
            Reason.UNKNOWN_ESTIMATOR, f"The estimator {name!r:.80} is not allowed. {nearest(name, CATALOGUE)}"
        )
    return found
