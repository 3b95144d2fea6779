"""FLAML with its defaults, with catboost installed, which it takes when it is there."""

import time

from flaml import AutoML
from protocol import Request, answer

METRICS = {
    "roc_auc": "roc_auc",
    "accuracy": "accuracy",
    "neg_log_loss": "log_loss",
    "r2": "r2",
    "neg_root_mean_squared_error": "rmse",
}


def main() -> None:
    """Search for as long as the request says, and predict the test rows."""
    request = Request.from_command_line()
    train, target = request.train()
    automl = AutoML()
    started = time.monotonic()
    automl.fit(
        train,
        target,
        task=request.task,
        metric=METRICS[request.metric],
        time_budget=request.seconds,
        n_jobs=request.cores,
        seed=request.seed,
        verbose=0,
    )
    answer(
        request,
        automl.predict,
        automl.predict_proba if request.task == "classification" else None,
        automl.classes_ if request.task == "classification" else None,
        request.test(),
        used_seconds=time.monotonic() - started,
        evaluations=automl._track_iter,  # noqa: SLF001  # it has no public count
        best=automl.best_estimator,
        details={
            "config": automl.best_config,
            "loss": automl.best_loss,
            "each": automl.best_loss_per_estimator,
        },
    )


if __name__ == "__main__":
    main()
