"""AutoGluon with the preset that the request names; without torch, hence without its neural networks."""

import time

from autogluon.tabular import TabularPredictor
from protocol import Request, answer

METRICS = {
    "roc_auc": "roc_auc",
    "accuracy": "accuracy",
    "neg_log_loss": "log_loss",
    "r2": "r2",
    "neg_root_mean_squared_error": "root_mean_squared_error",
}


def main() -> None:
    """Fit for as long as the request says, and predict the test rows."""
    request = Request.from_command_line()
    train, target = request.train()
    several = "binary" if target.nunique() == 2 else "multiclass"  # noqa: PLR2004
    problem = several if request.task == "classification" else "regression"
    predictor = TabularPredictor(
        request.target,
        problem_type=problem,
        eval_metric=METRICS[request.metric],
        path=str(request.folder / "autogluon"),
        verbosity=1,
    )
    started = time.monotonic()
    predictor.fit(
        train.assign(**{request.target: target}),
        time_limit=request.seconds,
        presets=request.option,
        num_cpus=request.cores,
        num_gpus=0,
    )
    used = time.monotonic() - started
    board = predictor.leaderboard()
    answer(
        request,
        predictor.predict,
        predictor.predict_proba if request.task == "classification" else None,
        predictor.class_labels,
        request.test(),
        used_seconds=used,
        evaluations=len(board),
        best=predictor.model_best,
        details=board[["model", "score_val", "fit_time_marginal"]].to_dict("records"),
    )


if __name__ == "__main__":
    main()
