"""Stock TPOT with its defaults; scikit-learn imputes and one-hot encodes, and dates are days.

TPOT's own ``preprocessing=True`` fails on tables with texts (1.1.0, pandas 3).
"""

import time

import pandas as pd
import tpot
from protocol import Request, answer
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

MOST_LEVELS = 200


def numbers(frame: pd.DataFrame, dates: list[str]) -> pd.DataFrame:
    """Return the table with its dates as days since 1970."""
    return frame.assign(**{name: frame[name].astype("int64") / 86_400e9 for name in dates})


def encoder(texts: list[str]) -> object:
    """Return what TPOT's own preprocessing does, from scikit-learn."""
    one_hot = OneHotEncoder(
        max_categories=MOST_LEVELS, handle_unknown="infrequent_if_exist", sparse_output=False
    )
    levels = make_pipeline(SimpleImputer(strategy="most_frequent"), one_hot)
    return make_column_transformer((levels, texts), remainder=SimpleImputer())


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
        preprocessing=encoder(texts),
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
    prepare = estimator._preprocessing_pipeline.transform  # noqa: SLF001  # TPOT's predict has no predict_proba of every pipeline
    answer(
        request,
        lambda rows: _labels(fitted.predict(prepare(rows)), labels),
        (lambda rows: fitted.predict_proba(prepare(rows))) if hasattr(fitted, "predict_proba") else None,
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
