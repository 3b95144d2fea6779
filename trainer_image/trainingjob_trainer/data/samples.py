"""Tables that need no network: scikit-learn's bundled ones and two messy ones that are made here."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any

import pandas as pd
from sklearn import datasets

from trainingjob_api import Reason
from trainingjob_trainer.data.messy import messy_churn, messy_prices
from trainingjob_trainer.errors import SpecInvalid

__all__ = ["SAMPLES", "Sample", "make_sample"]


@dataclass(frozen=True, slots=True)
class Sample:
    """A sample table, and size and digest of it as CSV text."""

    frame: pd.DataFrame
    sha256: str
    size_bytes: int


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
    """Return the sample table *name*, the same on every call.

    Raises
    ------
    SpecInvalid
        ``UnknownSample``.
    """
    make = SAMPLES.get(name)
    if make is None:
        nearest = get_close_matches(name, SAMPLES, n=1, cutoff=0.0)
        others = [other for other in SAMPLES if other not in nearest]
        raise SpecInvalid(
            Reason.UNKNOWN_SAMPLE,
            f"spec.dataset.uri: there is no sample {name!r}; use {', '.join([*nearest, *others])}",
        )
    frame = make()
    text = frame.to_csv(index=False).encode()
    return Sample(frame=frame, sha256=hashlib.sha256(text).hexdigest(), size_bytes=len(text))
