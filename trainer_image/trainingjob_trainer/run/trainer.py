"""The work of a child on the clock: encode, fit the baseline, search here or on a cluster, fit what ships."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from trainingjob_api import Ensemble, ModelSource, Reason, Stage, Task
from trainingjob_trainer.dask_cluster.remote import ClusterLookup
from trainingjob_trainer.data.encoder import build_encoders
from trainingjob_trainer.data.prepare import Prepared
from trainingjob_trainer.encodings import Encoding
from trainingjob_trainer.errors import RunFailed, TrainingError
from trainingjob_trainer.events import BaselineReady
from trainingjob_trainer.run.fallback import ChildContext, Mode
from trainingjob_trainer.run.final_stage import FinalStage, Trained, describe_not_fitted
from trainingjob_trainer.search.candidate import Candidate, Evaluation, Journal, Outcome, SearchResult
from trainingjob_trainer.search.costs import FitEstimate
from trainingjob_trainer.search.ensemble import Ensembles
from trainingjob_trainer.search.final_fit import FittedModel, FittingFailed, to_fitted
from trainingjob_trainer.search.fits import fit_all, fit_holdout
from trainingjob_trainer.search.limits import describe_error
from trainingjob_trainer.search.pool import Pool, run_tasks
from trainingjob_trainer.search.predictions import PredictionStore
from trainingjob_trainer.search.store import (
    StoreRef,
    WorkData,
    encoded_width,
    fold_paths,
    fold_row_cap,
    fold_rows,
    has_repeats,
    load_whole_folds,
    load_work,
    sample_folds,
    that_can_be_sent,
    write_store,
)
from trainingjob_trainer.search.tasks import encode_within, evaluate
from trainingjob_trainer.search_space.pipeline import describe, fingerprint, summarize

BASELINE_NUMBER = -1
MAX_ITER = 1000
"""Iterations of the logistic regression at most."""
_BASELINE_SHARE = 0.35
_BASELINE_SECONDS = 10.0
_DENSE_SHARE = 0.3
_DENSE_SECONDS = 20.0
_FOLDS_OF_MANY_ROWS = 3
"""Folds of a table whose folds are cut to fewer rows."""
_OTHERS_SHARE = 0.1
"""Of the time that is left, for the encodings that a run can do without."""

_NOTHING_SEARCHED = SearchResult(stopped_by="disabled")


@dataclass(slots=True, kw_only=True)
class Trainer:
    """Does the work of a child on the clock, from the prepared table to fitted models.

    Parameters
    ----------
    pool
        Where tasks run; its workers are warm and on this machine.
    named
        Whether the search space selects raw columns, so that the encoded ones need names.
    joining
        Looks for the Dask cluster that candidates are evaluated on; None: on `pool`.
    """

    context: ChildContext
    prepared: Prepared
    journal: Journal
    pool: Pool
    named: bool = False
    joining: ClusterLookup | None = None
    seconds: dict[str, float] = field(default_factory=dict, init=False)

    def train(self) -> Trained:
        """Run the clock until there is a model.

        Raises
        ------
        RunFailed
            If there is no model, or only one that the job does not allow.
        """
        context, clock, finishes = self.context, self.context.clock, self.context.mode is Mode.FINISH
        clock.start()
        context.enter(Stage.BASELINE)
        # What an earlier attempt was charged for is not charged again.
        again = any(candidate.number != BASELINE_NUMBER for candidate in self.journal.found_.values())
        with clock.paused() if again else nullcontext():
            ref, columns = encode_table(
                context, self.prepared, self.pool, named=self.named, others=context.searches and not finishes
            )
            with self._timed("baseline"):
                baseline = fit_baseline(context, self.prepared, self.pool, ref, self.journal)
        if not context.searches:
            searched = self._from_journal() if context.run.automl_enabled else _NOTHING_SEARCHED
            return self._charged(
                Trained(best=baseline, baseline=baseline, source=ModelSource.BASELINE, searched=searched)
            )
        final = self._final_stage(ref, baseline)
        searched = self._search(ref, columns, final)
        context.enter(Stage.FITTING)
        finalists: tuple[Candidate, ...] = ()
        if final.plan is not None and not finishes:
            with self._timed("finalists"):
                finalists = final.finalists(searched)
        try:
            with self._timed("final_fit"):
                trained = final.fit(searched, finalists)
        except FittingFailed as failure:
            told = describe_not_fitted(failure.not_fitted) if failure.not_fitted else str(failure)
            context.step_down("tpot", "baseline", Reason.NO_PIPELINE_FITTED, told)
            trained = replace(final.ship_baseline(searched, finalists), not_fitted=failure.not_fitted)
        return self._charged(trained)

    def _final_stage(self, ref: StoreRef, baseline: FittedModel) -> FinalStage:
        fold_rows = int(np.mean([len(train) for train, _ in load_work(ref).folds]))
        ensembles = None
        if self.context.run.ensemble is Ensemble.AUTO:
            # Predictions belong to the journal's search and table: those of another one are not found.
            folder = self.context.workspace.scratch / "predictions" / self.journal.header.name
            store = PredictionStore(folder)
            store.keep(baseline.candidate, baseline.candidate.predictions)
            ensembles = Ensembles(store=store, ref=ref, classes=self.prepared.classes)
        return FinalStage(
            context=self.context,
            pool=self.pool,
            ref=ref,
            baseline=baseline,
            estimate=FitEstimate(
                encode_seconds=baseline.seconds, all_rows=len(self.prepared.frame), fold_rows=fold_rows
            ),
            ensembles=ensembles,
        )

    def _search(self, ref: StoreRef, columns: Mapping[Encoding, int], final: FinalStage) -> SearchResult:
        """Return the result of the search, or the journal's if the search ends early or there is none."""
        # TPOT takes seconds to import, and a run without a search has no use for it.
        from trainingjob_trainer.run.search_stage import (  # noqa: PLC0415
            Board,
            cluster_workers,
            search_engine,
        )

        context = self.context
        workers = cluster_workers(context, self.joining, self.pool, ref)
        with workers as (pool, instead), self._timed("search"):
            context.enter(Stage.SEARCHING)
            if context.mode is not Mode.FINISH:
                try:
                    board = Board(context, final.baseline)
                    engine = search_engine(
                        context,
                        self.prepared,
                        pool=pool,
                        ref=ref,
                        journal=self.journal,
                        columns=columns,
                        final=final,
                        board=board,
                        instead=instead,
                    )
                    searched = engine.run()
                    board.tick(engine.progress(), last=True)
                    board.show(searched.candidates)
                except TrainingError:
                    raise
                except Exception as failure:  # noqa: BLE001 - whatever stops the search, what it found can ship
                    context.warn(f"the search ended early: {describe_error(failure)}")
                else:
                    return searched
            searched = self._from_journal()
            context.clock.leave(final.reserve(searched))
            return searched

    def _from_journal(self) -> SearchResult:
        """Return the candidates of earlier attempts, without a further search."""
        found = sorted(self.journal.found_.values(), key=lambda c: c.number)
        if all(candidate.number == BASELINE_NUMBER for candidate in found):
            found = []
        return SearchResult(candidates=tuple(found), stopped_by="restarted")

    def _charged(self, trained: Trained) -> Trained:
        return replace(trained, seconds=self.seconds | {"total": round(self.context.clock.elapsed, 3)})

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        before = self.context.clock.elapsed
        try:
            yield
        finally:
            self.seconds[name] = round(self.context.clock.elapsed - before, 3)


def encode_table(
    context: ChildContext, prepared: Prepared, pool: Pool, *, named: bool, others: bool
) -> tuple[StoreRef, dict[Encoding, int]]:
    """Write the table for the workers, encode its folds, and return the columns of the widest by encoding.

    Parameters
    ----------
    named
        Whether pipelines want the encoded matrix as a DataFrame with column names.
    others
        Whether the folds get their other encodings beside the dense one. One that fails, takes too long or is
        too large is left out with a warning.

    Raises
    ------
    RunFailed
        If the dense encoding fails.
    """
    ref = _write(context, prepared, named=named)
    left = context.clock.remaining
    found = _encode(context, pool, ref, [Encoding.DENSE], max(_DENSE_SECONDS, _DENSE_SHARE * left))
    if isinstance(error := found[Encoding.DENSE], str):
        raise RunFailed(Reason.ENCODING_FAILED, f"the table could not be encoded ({error})")
    names = [encoding for encoding in load_work(ref).encoders if encoding is not Encoding.DENSE]
    if others and names:
        found |= _encode(context, pool, ref, names, _OTHERS_SHARE * context.clock.remaining)
    columns = {encoding: count for encoding, count in found.items() if isinstance(count, int)}
    kept = that_can_be_sent(replace(ref, encodings=tuple(columns)))
    for encoding, count in found.items():
        if encoding not in kept:
            cause = count if isinstance(count, str) else "all encodings together are too large"
            context.warn(f"No pipeline is tried with the encoding {encoding.value!r} of the table: {cause}.")
            for fold in range(ref.folds):
                for path in fold_paths(ref, fold, encoding):
                    path.unlink(missing_ok=True)
    return replace(ref, encodings=kept), {encoding: columns[encoding] for encoding in kept}


def _write(context: ChildContext, prepared: Prepared, *, named: bool) -> StoreRef:
    run = context.run
    encoders = build_encoders(
        prepared.feature_types,
        frame=prepared.frame,
        formats=prepared.formats,
        index_names=prepared.file.index,
        per_column=named,
        classes=len(prepared.classes or ()),
    )
    dense = encoders[Encoding.DENSE]
    folds = sample_folds(
        prepared.folds,
        prepared.target,
        cap=fold_row_cap(encoded_width(dense, prepared.frame, prepared.target, prepared.train_index)),
        stratify=prepared.task is Task.CLASSIFICATION,
        latest=run.validation.time_column is not None,
        random_state=run.random_state,
    )
    whole = prepared.repeats or None
    if fold_rows(folds) != fold_rows(prepared.folds):
        # The last ones: where time orders the folds they learn from the most.
        folds, whole = folds[-_FOLDS_OF_MANY_ROWS:], prepared.folds[-_FOLDS_OF_MANY_ROWS:]
    work = WorkData(
        target=prepared.target,
        folds=folds,
        train_index=prepared.train_index,
        holdout_index=prepared.holdout_index,
        scorer=prepared.metric.scorer,
        encoders=encoders,
        groups=prepared.groups,
        ordered=run.validation.time_column is not None,
    )
    folder = context.workspace.scratch / "store"
    return write_store(folder, prepared.frame, work, named=named, whole=whole)


def _encode(
    context: ChildContext, pool: Pool, ref: StoreRef, encodings: Sequence[Encoding], seconds: float
) -> dict[Encoding, int | str]:
    """Encode every fold, and return the columns of the widest or the first error by encoding."""
    folds = range(ref.folds)
    calls = {
        f"{encoding} {fold}": (encode_within, (ref, fold, encoding))
        for encoding in encodings
        for fold in folds
    }
    done = run_tasks(pool, calls, seconds=seconds, tick=context.channel.beat)
    found: dict[Encoding, int | str] = {}
    for encoding in encodings:
        ends = [done[f"{encoding} {fold}"] for fold in folds]
        failed = [f"fold {n}: {end.error}" for n, end in enumerate(ends, 1) if not isinstance(end.value, int)]
        found[encoding] = failed[0] if failed else max(int(end.value) for end in ends)
    return found


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
    task, state = prepared.task, context.run.random_state
    if context.mode is not Mode.DUMMY:
        try:
            return _fit_plain(context, pool, ref, journal, baseline_pipeline(task, state), origin="linear")
        except FittingFailed as failure:
            context.step_down("baseline", "dummy", Reason.BASELINE_FAILED, str(failure))
    rows, whole = (fold_rows(folds)[0] for folds in (load_work(ref).folds, load_whole_folds(ref)))
    # It predicts the same from fewer rows, and the encoder of a large table may be what took too long.
    most_rows = rows if rows < whole and not has_repeats(ref) else None
    try:
        return _fit_plain(
            context, pool, ref, journal, dummy_pipeline(task, state), origin="dummy", most_rows=most_rows
        )
    except FittingFailed as failure:
        raise RunFailed(
            Reason.NO_MODEL,
            f"not even a dummy model could be fitted: {failure}; allow more time (budget.timeLeftSeconds)",
        ) from failure


def _fit_plain(
    context: ChildContext,
    pool: Pool,
    ref: StoreRef,
    journal: Journal,
    pipeline: dict[str, Any],
    *,
    origin: str,
    most_rows: int | None = None,
) -> FittedModel:
    """Fit a pipeline on at most some rows, and score it on the folds unless the journal has its scores."""
    key = fingerprint(pipeline)
    known = journal.found_.get(key)
    calls: dict[str, Any] = {
        "holdout": (partial(fit_holdout, most_rows=most_rows), (pipeline, ref)),
        "all": (partial(fit_all, most_rows=most_rows), (pipeline, ref)),
    }
    if known is None:
        calls = {"folds": (evaluate, (pipeline, ref))} | calls
    seconds = max(_BASELINE_SECONDS, _BASELINE_SHARE * context.clock.remaining)
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
    fitted = to_fitted(done, candidate, most_rows)
    if known is None:
        journal.append(candidate)
    context.send(
        BaselineReady(pipeline=summarize(pipeline), score=candidate.score, holdout_score=fitted.holdout.score)
    )
    return fitted
