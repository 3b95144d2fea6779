"""The baseline: fitted first in every run, so that there is always a model."""

from collections.abc import Callable
from typing import Any

from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from trainingjob_api import Reason, ResolvedRun, Task
from trainingjob_trainer.data.prepare import Prepared
from trainingjob_trainer.errors import RunFailed
from trainingjob_trainer.events import BaselineReady, Channel
from trainingjob_trainer.run.fallback import Mode
from trainingjob_trainer.search.budget import RunClock
from trainingjob_trainer.search.candidate import Candidate, Evaluation, Outcome
from trainingjob_trainer.search.final_fit import FittedModel, FittingFailed, to_fitted
from trainingjob_trainer.search.journal import Journal
from trainingjob_trainer.search.pool import Pool, run_tasks
from trainingjob_trainer.search.store import StoreRef
from trainingjob_trainer.search.tasks import evaluate, fit_all, fit_holdout
from trainingjob_trainer.search_space.pipeline import describe, fingerprint, summarize

__all__ = ["BASELINE_NUMBER", "MAX_ITER", "BaselineFitter", "baseline_pipeline", "dummy_pipeline"]

BASELINE_NUMBER = -1
_SHARE = 0.35
_SECONDS = 10.0
MAX_ITER = 1000
"""Iterations of the logistic regression at most."""


def baseline_pipeline(task: Task, random_state: int) -> dict[str, Any]:
    """Return the linear baseline as data.

    Parameters
    ----------
    task
        Classification or regression.
    random_state
        Seed of the solver.
    """
    if task is Task.CLASSIFICATION:
        model = LogisticRegression(max_iter=MAX_ITER, random_state=random_state)
        return describe(make_pipeline(StandardScaler(), model))
    return describe(make_pipeline(StandardScaler(), LinearRegression()))


def dummy_pipeline(task: Task, random_state: int) -> dict[str, Any]:
    """Return the model that knows nothing but the target's distribution, as data.

    Parameters
    ----------
    task
        Classification (class frequencies) or regression (the mean).
    random_state
        Seed, unused by these strategies but recorded.
    """
    if task is Task.CLASSIFICATION:
        return describe(DummyClassifier(strategy="prior", random_state=random_state))
    return describe(DummyRegressor(strategy="mean"))


class BaselineFitter:
    """Fits and scores the linear model, or a dummy where that fails.

    Parameters
    ----------
    run, prepared
        The job and its table.
    channel
        To the parent.
    clock
        Of the run, started.
    mode
        The rung that this child began with.
    step_down
        Records a fallback, or raises `RunFailed` if the job does not allow it.
    """

    def __init__(
        self,
        *,
        run: ResolvedRun,
        prepared: Prepared,
        channel: Channel,
        clock: RunClock,
        mode: Mode,
        step_down: Callable[[str, str, Reason, str], None],
    ) -> None:
        self._run = run
        self._prepared = prepared
        self._channel = channel
        self._clock = clock
        self._mode = mode
        self._step_down = step_down

    def fit(self, pool: Pool, ref: StoreRef, journal: Journal) -> FittedModel:
        """Fit the linear baseline, or the dummy if that fails.

        Raises
        ------
        RunFailed
            If not even the dummy can be fitted, or the job does not allow it.
        """
        task, state = self._prepared.task, self._run.random_state
        if self._mode is Mode.DUMMY:
            return self._fitted(pool, ref, journal, dummy_pipeline(task, state), "dummy")
        try:
            return self._fitted(pool, ref, journal, baseline_pipeline(task, state), "linear")
        except FittingFailed as failure:
            self._step_down("baseline", "dummy", Reason.BASELINE_FAILED, str(failure))
        try:
            return self._fitted(pool, ref, journal, dummy_pipeline(task, state), "dummy")
        except FittingFailed as failure:
            raise RunFailed(
                Reason.NO_MODEL, f"not even a dummy model could be fitted: {failure}"
            ) from failure

    def _fitted(
        self, pool: Pool, ref: StoreRef, journal: Journal, pipeline: dict[str, Any], origin: str
    ) -> FittedModel:
        key = fingerprint(pipeline)
        known = journal.found_.get(key)
        calls: dict[str, Any] = {"holdout": (fit_holdout, (pipeline, ref)), "all": (fit_all, (pipeline, ref))}
        if known is None:
            calls = {"folds": (evaluate, (pipeline, ref))} | calls
        done = run_tasks(
            pool,
            calls,
            seconds=max(_SECONDS, _SHARE * self._clock.remaining),
            tick=self._channel.beat,
        )
        candidate = known or self._candidate(pipeline, key, origin, done["folds"])
        fitted = to_fitted(done, candidate)
        if known is None:
            journal.append(candidate)
        self._channel.send(
            BaselineReady(
                pipeline=summarize(pipeline), score=candidate.score, holdout_score=fitted.holdout.score
            )
        )
        return fitted

    def _candidate(self, pipeline: dict[str, Any], key: str, origin: str, end: Any) -> Candidate:
        found = isinstance(end.value, Evaluation)
        evaluation = end.value if found else Evaluation(outcome=None, error=end.error)
        return Candidate.of(
            evaluation,
            number=BASELINE_NUMBER,
            key=key,
            origin=origin,
            generation=0,
            pipeline=pipeline,
            outcome=evaluation.outcome or Outcome.INVALID,
            elapsed_seconds=self._clock.elapsed,
        )
