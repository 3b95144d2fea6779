"""What the runner and the scripts in the peers' environments exchange: a request, an answer and two tables.

Only pandas is imported, since nothing else is in all environments.
"""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd

__all__ = ["Request", "answer"]

_TIMED_ROWS, _TIMES, _TIMED_SECONDS = 1_000, 11, 10.0


@dataclass(frozen=True, slots=True)
class Request:
    """A run that the runner asks for."""

    folder: Path
    """Folder of the run, empty but for the request."""
    data: Path
    """Folder with the table's ``train.csv`` and ``test.csv``."""
    target: str
    task: str
    metric: str
    """Name of scikit-learn's scorer."""
    dates: list[str]
    seconds: int
    cores: int
    seed: int
    option: str
    """Further word of the system, such as a preset."""

    @classmethod
    def from_command_line(cls) -> "Request":
        """Return the request in the file that the command line names."""
        fields = json.loads(Path(sys.argv[1]).read_text())
        return cls(**fields | {name: Path(fields[name]) for name in ("folder", "data")})

    def train(self) -> tuple[pd.DataFrame, pd.Series]:
        """Return columns and target of the training rows."""
        frame = pd.read_csv(self.data / "train.csv", parse_dates=self.dates)
        return frame.drop(columns=self.target), frame[self.target]

    def test(self) -> pd.DataFrame:
        """Return the raw test rows."""
        return pd.read_csv(self.data / "test.csv", parse_dates=self.dates)


def answer(
    request: Request,
    predict: Callable[[pd.DataFrame], Any],
    predict_proba: Callable[[pd.DataFrame], Any] | None,
    classes: Any,
    test: pd.DataFrame,
    **facts: Any,
) -> None:
    """Predict the test rows, take the time of 1,000 of them, and write predictions and answer."""
    if request.metric in {"roc_auc", "neg_log_loss"} and predict_proba is not None:
        columns = [f"p:{label}" for label in classes]
        predictions = pd.DataFrame(_values(predict_proba(test)), columns=columns)
    else:
        predictions = pd.DataFrame({"prediction": _values(predict(test))})
    predictions.to_csv(request.folder / "predictions.csv", index=False)
    rows = test.sample(_TIMED_ROWS, replace=len(test) < _TIMED_ROWS, random_state=0).reset_index(drop=True)
    taken: list[float] = []
    while len(taken) < _TIMES and sum(taken) < _TIMED_SECONDS:
        started = time.perf_counter()
        predict(rows)
        taken.append(time.perf_counter() - started)
    facts["predict_milliseconds"] = round(median(taken) * 1_000, 2)
    (request.folder / "answer.json").write_text(json.dumps(facts, default=str))


def _values(found: Any) -> Any:
    return found.to_numpy() if hasattr(found, "to_numpy") else found
