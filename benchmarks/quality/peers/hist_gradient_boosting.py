"""HistGradientBoosting with its defaults; texts are categories, as its ``from_dtype`` takes them."""

import time

import pandas as pd
from protocol import Request, answer
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder

MOST_LEVELS = 255


def model(train: pd.DataFrame, request: Request) -> object:
    """Return boosting behind an encoder of texts; those with too many levels are plain numbers for it."""
    texts = [name for name in train if not pd.api.types.is_any_real_numeric_dtype(train[name])]
    native = [name for name in texts if train[name].nunique() <= MOST_LEVELS]
    ordinal = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=float("nan"))
    encoder = make_column_transformer(
        (ordinal, texts), remainder="passthrough", verbose_feature_names_out=False
    )
    boosting = (
        HistGradientBoostingClassifier if request.task == "classification" else HistGradientBoostingRegressor
    )
    return make_pipeline(
        encoder.set_output(transform="pandas"),
        boosting(categorical_features=native or None, random_state=request.seed),
    )


def main() -> None:
    """Fit on the training rows and predict the test rows."""
    request = Request.from_command_line()
    train, target = request.train()
    started = time.monotonic()
    fitted = model(train, request).fit(train, target)
    answer(
        request,
        fitted.predict,
        getattr(fitted, "predict_proba", None),
        getattr(fitted, "classes_", None),
        request.test(),
        used_seconds=time.monotonic() - started,
        evaluations=1,
        best="HistGradientBoosting",
    )


if __name__ == "__main__":
    main()
