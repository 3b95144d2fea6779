"""Stock TPOT with its defaults and its own preprocessing; dates are days, since it cannot take them."""

import time

import pandas as pd
import tpot
from protocol import Request, answer


def numbers(frame: pd.DataFrame, dates: list[str]) -> pd.DataFrame:
    """Return the table with its dates as days since 1970."""
    return frame.assign(**{name: (frame[name] - pd.Timestamp(0)) / pd.Timedelta(days=1) for name in dates})


def main() -> None:
    """Search for as long as the request says, and predict the test rows."""
    request = Request.from_command_line()
    train, target = request.train()
    train, test = numbers(train, request.dates), numbers(request.test(), request.dates)
    texts = [name for name in train if not pd.api.types.is_any_real_numeric_dtype(train[name])]
    kind = tpot.TPOTClassifier if request.task == "classification" else tpot.TPOTRegressor
    labels = sorted(target.unique()) if request.task == "classification" else None
    estimator = kind(
        scorers=[request.metric],
        preprocessing=True,
        categorical_features=texts or None,
        max_time_mins=request.seconds / 60,
        n_jobs=request.cores,
        random_state=request.seed,
        verbose=0,
    )
    started = time.monotonic()
    # TPOT 1.1.0 encodes labels itself, but only where they are numbers from 0.
    estimator.fit(train, target if labels is None else target.map(labels.index))
    used = time.monotonic() - started
    fitted = estimator.fitted_pipeline_
    answer(
        request,
        lambda rows: _labels(fitted.predict(rows), labels),
        getattr(fitted, "predict_proba", None),
        labels,
        test,
        used_seconds=used,
        evaluations=int(estimator.evaluated_individuals.iloc[:, 0].notna().sum()),
        best=" → ".join(type(step).__name__ for _, step in getattr(fitted, "steps", [("", fitted)])),
    )


def _labels(found: list[int], labels: list | None) -> list:
    return found if labels is None else [labels[int(number)] for number in found]


if __name__ == "__main__":
    main()
