"""Boosting rounds of a pipeline as data: where its last step has them, and how they are set."""

from collections.abc import Mapping
from typing import Any, Final

__all__ = ["MOST_ROUNDS", "ROUNDS", "rounds_of", "with_rounds"]

MOST_ROUNDS: Final = 100_000
"""The most that a pipeline may have."""
ROUNDS: Final[Mapping[str, str]] = {
    "CatBoostClassifier": "n_estimators",
    "CatBoostRegressor": "n_estimators",
    "HistGradientBoostingClassifier": "max_iter",
    "HistGradientBoostingRegressor": "max_iter",
    "LGBMClassifier": "n_estimators",
    "LGBMRegressor": "n_estimators",
    "XGBClassifier": "n_estimators",
    "XGBRegressor": "n_estimators",
}
"""The parameter of each booster that holds its number of rounds."""


def rounds_of(spec: dict[str, Any]) -> int | None:
    """Return the rounds that a pipeline's last step is given; None where it has none of its own."""
    match spec:
        case {"steps": [*_, last]} | {"members": [last]}:
            return rounds_of(last)
        case {"class": str(name), "params": {**params}} if name in ROUNDS:
            found = params.get(ROUNDS[name])
            return found if isinstance(found, int) else None
    return None


def with_rounds(spec: dict[str, Any], rounds: int | None) -> dict[str, Any]:
    """Return a pipeline whose last step takes that many rounds; the same one if `rounds` is None."""
    if rounds is None:
        return spec
    match spec:
        case {"steps": [*before, last]}:
            return {**spec, "steps": [*before, with_rounds(last, rounds)]}
        case {"members": [only]}:
            return {**spec, "members": [with_rounds(only, rounds)]}
        case {"class": str(name)} if name in ROUNDS:
            own = {ROUNDS[name]: rounds}
            if ROUNDS[name] == "max_iter":
                own["early_stopping"] = False  # its default stops early on rows of its own
            return {**spec, "params": {**spec.get("params", {}), **own}}
    return spec
