"""The baseline: fitted first in every run, so that there is always a model."""

from dataclasses import replace
from typing import Any

from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from trainingjob_api import Reason, Task
from trainingjob_trainer.data.prepare import Prepared
from trainingjob_trainer.errors import RunFailed
from trainingjob_trainer.events import BaselineReady
from trainingjob_trainer.run.context import ChildContext
from trainingjob_trainer.run.fallback import Mode
from trainingjob_trainer.search.candidate import Candidate, Evaluation, Journal, Outcome
from trainingjob_trainer.search.final_fit import FittedModel, FittingFailed, to_fitted
from trainingjob_trainer.search.fits import fit_all, fit_holdout
from trainingjob_trainer.search.pool import Pool, run_tasks
from trainingjob_trainer.search.store import StoreRef
from trainingjob_trainer.search.tasks import evaluate
from trainingjob_trainer.search_space.pipeline import describe, fingerprint, summarize

__all__ = ["BASELINE_NUMBER", "MAX_ITER", "baseline_pipeline", "dummy_pipeline", "fit_baseline"]

BASELINE_NUMBER = -1
_SHARE = 0.35
_SECONDS = 10.0
MAX_ITER = 1000
"""Iterations of the logistic regression at most."""


def baseline_pipeline(task: Task, random_state: int) -> dict[str, Any]:
    """Return the linear baseline as data."""
    if task is Task.CLASSIFICATION:
        model = LogisticRegression(max_iter=MAX_ITER, random_state=random_state)
        return describe(make_pipeline(StandardScaler(), model))
    return describe(make_pipeline(StandardScaler(), LinearRegression()))


def dummy_pipeline(task: Task, random_state: int) -> dict[str, Any]:
    """Return the model that knows only the distribution of the target, as data."""
    if task is Task.CLASSIFICATION:
        return describe(DummyClassifier(strategy="prior", random_state=random_state))
    return describe(DummyRegressor(strategy="mean"))


def fit_baseline(
    context: ChildContext, prepared: Prepared, pool: Pool, ref: StoreRef, journal: Journal
) -> FittedModel:
    """Fit and score the linear baseline, or the dummy if that fails.

    Raises
    ------
    RunFailed
        If not even the dummy can be fitted, or the job does not allow it.
    """

    def fit(pipeline: dict[str, Any], origin: str) -> FittedModel:
        return _fitted(context, pool, ref, journal, pipeline=pipeline, origin=origin)

    task, state = prepared.task, context.run.random_state
    if context.mode is not Mode.DUMMY:
        try:
            return fit(baseline_pipeline(task, state), "linear")
        except FittingFailed as failure:
            context.step_down("baseline", "dummy", Reason.BASELINE_FAILED, str(failure))
    try:
        return fit(dummy_pipeline(task, state), "dummy")
    except FittingFailed as failure:
        raise RunFailed(Reason.NO_MODEL, f"not even a dummy model could be fitted: {failure}") from failure


def _fitted(
    context: ChildContext,
    pool: Pool,
    ref: StoreRef,
    journal: Journal,
    *,
    pipeline: dict[str, Any],
    origin: str,
) -> FittedModel:
    key = fingerprint(pipeline)
    known = journal.found_.get(key)
    calls: dict[str, Any] = {"holdout": (fit_holdout, (pipeline, ref)), "all": (fit_all, (pipeline, ref))}
    if known is None:
        calls = {"folds": (evaluate, (pipeline, ref))} | calls
    seconds = max(_SECONDS, _SHARE * context.clock.remaining)
    done = run_tasks(pool, calls, seconds=seconds, tick=context.channel.beat)
    candidate = known
    if candidate is None:
        end = done["folds"]
        found = end.value
        if not isinstance(found, Evaluation):
            found = Evaluation(outcome=None, error=end.error)
        candidate = Candidate.of(
            found,
            number=BASELINE_NUMBER,
            key=key,
            origin=origin,
            generation=0,
            pipeline=pipeline,
            outcome=found.outcome or Outcome.INVALID,
            elapsed_seconds=context.clock.elapsed,
        )
        candidate = replace(candidate, predictions=found.predictions)
    fitted = to_fitted(done, candidate)
    if known is None:
        journal.append(candidate)
    context.send(
        BaselineReady(pipeline=summarize(pipeline), score=candidate.score, holdout_score=fitted.holdout.score)
    )
    return fitted
