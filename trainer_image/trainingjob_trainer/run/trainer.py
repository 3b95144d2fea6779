"""The child's work on the clock: encode, fit the baseline, search, fit the model that ships."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from trainingjob_api import Fallback, ModelSource, Reason, ResolvedRun, Stage, Task
from trainingjob_trainer.data.encoder import build_encoder
from trainingjob_trainer.data.prepare import Prepared
from trainingjob_trainer.errors import RunFailed, TrainingError
from trainingjob_trainer.events import Channel, FellBack, StageChanged
from trainingjob_trainer.run.baseline import BASELINE_NUMBER, BaselineFitter
from trainingjob_trainer.run.cluster_search import ClusterSearch, Instead, Joining
from trainingjob_trainer.run.fallback import Mode
from trainingjob_trainer.run.final_stage import (
    Final,
    FinalStage,
    Trained,
    on_the_same_rows,
    told_not_fitted,
)
from trainingjob_trainer.run.workspace import Workspace
from trainingjob_trainer.search.budget import FitEstimate, RunClock
from trainingjob_trainer.search.candidate import Candidate, SearchResult
from trainingjob_trainer.search.final_fit import FittedModel, FittingFailed
from trainingjob_trainer.search.journal import Journal
from trainingjob_trainer.search.limits import describe_error
from trainingjob_trainer.search.pool import Pool, run_tasks
from trainingjob_trainer.search.store import (
    StoreRef,
    WorkData,
    encoded_width,
    fold_row_cap,
    fold_rows,
    load_work,
    sample_folds,
    write_store,
)
from trainingjob_trainer.search.tasks import encode_within

__all__ = ["Trainer"]

_NOTHING_SEARCHED = SearchResult(stopped_by="disabled")
_ENCODE_SHARE = 0.3
_ENCODE_SECONDS = 20.0


class Trainer:
    """Does the work of one child, from the prepared table to a fitted model.

    Parameters
    ----------
    run, prepared
        The job and its table.
    workspace
        The run's folder.
    channel
        To the parent.
    clock
        Started by `train`.
    mode
        The rung to begin with.
    should_stop
        Whether a signal asks to save the best so far.
    warn
        Tells the user, and keeps it for the report.
    """

    def __init__(
        self,
        *,
        run: ResolvedRun,
        prepared: Prepared,
        workspace: Workspace,
        channel: Channel,
        clock: RunClock,
        mode: Mode,
        should_stop: Callable[[], bool],
        warn: Callable[[str], None],
    ) -> None:
        self._run = run
        self._prepared = prepared
        self._workspace = workspace
        self._channel = channel
        self._clock = clock
        self._mode = mode
        self._should_stop = should_stop
        self._warn = warn
        self._seconds: dict[str, float] = {}
        self._fallbacks: list[Fallback] = []

    @property
    def searches(self) -> bool:
        """Whether this child searches, or takes what a search has left in the journal."""
        return self._run.automl_enabled and self._mode in {Mode.FULL, Mode.LOCAL, Mode.FINISH}

    def train(self, pool: Pool, journal: Journal, *, named: bool, joining: Joining | None = None) -> Trained:
        """Run the clock until there is a model.

        Parameters
        ----------
        pool
            Where tasks run; its workers are warm and in this machine.
        journal
            Of this run.
        named
            Whether the search space selects raw columns, so that the encoded ones need names.
        joining
            Looks for the Dask cluster that candidates are evaluated on; None: on `pool`.

        Raises
        ------
        RunFailed
            If there is no model, or only one that the job does not allow.
        """
        self._clock.start()
        self._stage(Stage.BASELINE)
        fitter = BaselineFitter(
            run=self._run,
            prepared=self._prepared,
            channel=self._channel,
            clock=self._clock,
            mode=self._mode,
            step_down=self._step_down,
        )
        # What an earlier attempt was charged for is not charged again.
        again = any(candidate.number != BASELINE_NUMBER for candidate in journal.found_.values())
        with self._clock.paused() if again else nullcontext():
            ref, columns = self._encode(pool, named=named)
            baseline = self._timed("baseline", lambda: fitter.fit(pool, ref, journal))
        if not self.searches:
            searched = _from_journal(journal) if self._run.automl_enabled else _NOTHING_SEARCHED
            return self._result(Final(best=baseline, source=ModelSource.BASELINE), baseline, searched)
        final = self._final_stage(pool, ref, baseline)
        with self._workers(pool, ref, joining) as (workers, instead):
            searched = self._timed(
                "search",
                lambda: self._search(workers, ref, journal, columns, final, instead=instead),
            )
        self._stage(Stage.FITTING)
        finalists: tuple[Candidate, ...] = ()
        if final.plan is not None and self._mode is not Mode.FINISH:
            finalists = self._timed("finalists", lambda: final.finalists(searched))
        try:
            made = self._timed("final_fit", lambda: final.fit(searched, finalists))
        except FittingFailed as failure:
            told = told_not_fitted(failure.not_fitted) if failure.not_fitted else str(failure)
            self._step_down("tpot", "baseline", Reason.NO_PIPELINE_FITTED, told)
            made = Final(best=baseline, source=ModelSource.BASELINE, not_fitted=failure.not_fitted)
        return self._result(made, baseline, searched, finalists)

    def _final_stage(self, pool: Pool, ref: StoreRef, baseline: FittedModel) -> FinalStage:
        return FinalStage(
            pool=pool,
            ref=ref,
            clock=self._clock,
            baseline=baseline,
            estimate=FitEstimate(
                encode_seconds=baseline.seconds,
                all_rows=len(self._prepared.frame),
                fold_rows=int(np.mean([len(train) for train, _ in load_work(ref).folds])),
            ),
            tick=self._channel.beat,
            should_stop=self._should_stop,
            warn=self._warn,
        )

    def _encode(self, pool: Pool, *, named: bool) -> tuple[StoreRef, int]:
        """Write the table for the workers and encode every fold; return the widest fold's columns too."""
        prepared, run = self._prepared, self._run
        encoder = build_encoder(
            prepared.feature_types,
            frame=prepared.frame,
            formats=prepared.formats,
            index_names=prepared.index_names,
            per_column=named,
        )
        folds = sample_folds(
            prepared.folds,
            prepared.target,
            cap=fold_row_cap(encoded_width(encoder, prepared.frame, prepared.target, prepared.train_index)),
            stratify=prepared.task is Task.CLASSIFICATION,
            latest=run.validation.time_column is not None,
            random_state=run.random_state,
        )
        work = WorkData(
            target=prepared.target,
            folds=folds,
            train_index=prepared.train_index,
            holdout_index=prepared.holdout_index,
            scorer=prepared.metric.scorer,
            encoder=encoder,
        )
        whole = None if fold_rows(folds) == fold_rows(prepared.folds) else prepared.folds
        ref = write_store(self._workspace.scratch / "store", prepared.frame, work, named=named, whole=whole)
        done = run_tasks(
            pool,
            {f"fold {fold + 1}": (encode_within, (ref, fold)) for fold in range(ref.folds)},
            seconds=max(_ENCODE_SECONDS, _ENCODE_SHARE * self._clock.remaining),
            tick=self._channel.beat,
        )
        failed = [f"{name}: {end.error}" for name, end in done.items() if not isinstance(end.value, int)]
        if failed:
            raise RunFailed(Reason.ENCODING_FAILED, f"the table could not be encoded ({failed[0]})")
        return ref, max(int(end.value) for end in done.values())

    @contextmanager
    def _workers(
        self, pool: Pool, ref: StoreRef, joining: Joining | None
    ) -> Iterator[tuple[Pool, Instead | None]]:
        if joining is None:
            yield pool, None
            return
        cluster = ClusterSearch(
            joining,
            clock=self._clock,
            channel=self._channel,
            step_down=lambda reason, message: self._step_down("dask", "local", reason, message),
            should_stop=self._should_stop,
        )
        with cluster.workers(pool, ref) as found:
            yield found

    def _search(
        self,
        pool: Pool,
        ref: StoreRef,
        journal: Journal,
        columns: int,
        final: FinalStage,
        *,
        instead: Instead | None,
    ) -> SearchResult:
        self._stage(Stage.SEARCHING)
        if self._mode is Mode.FINISH:
            searched = _from_journal(journal)
            self._clock.leave(final.reserve(searched))
            return searched
        # TPOT takes seconds to import, and a run without a search has no use for it.
        from trainingjob_trainer.run.search_stage import search  # noqa: PLC0415

        try:
            return search(
                run=self._run,
                prepared=self._prepared,
                pool=pool,
                ref=ref,
                journal=journal,
                clock=self._clock,
                columns=columns,
                final=final,
                channel=self._channel,
                should_stop=self._should_stop,
                instead=instead,
            )
        except TrainingError:
            raise
        except Exception as failure:  # noqa: BLE001 - whatever stops the search, what it found can ship
            message = f"the search ended early: {describe_error(failure)}"
            self._warn(message)
            searched = _from_journal(journal)
            self._clock.leave(final.reserve(searched))
            return searched

    def _result(
        self,
        made: Final,
        baseline: FittedModel,
        searched: SearchResult,
        finalists: tuple[Candidate, ...] = (),
    ) -> Trained:
        best, baseline = on_the_same_rows(made.best, baseline, finalists)
        return Trained(
            best=best,
            baseline=baseline,
            source=made.source,
            searched=searched,
            seconds=self._seconds | {"total": round(self._clock.elapsed, 3)},
            fallbacks=tuple(self._fallbacks),
            finalists=finalists,
            not_fitted=made.not_fitted,
        )

    def _step_down(self, source: str, target: str, reason: Reason, message: str) -> None:
        """Record a step down the ladder.

        Raises
        ------
        RunFailed
            If the job does not allow it.
        """
        if not self._run.automl_fallback:
            without = "no local search" if target == "local" else f"no {target} model"
            raise RunFailed(reason, f"{message}; automl.fallback is false, so there is {without}")
        fallback = Fallback(
            from_=source, to=target, reason=reason, time=datetime.now(UTC), message=message[:300]
        )
        self._fallbacks.append(fallback)
        self._channel.send(FellBack(fallback=fallback))

    def _stage(self, stage: Stage) -> None:
        self._channel.send(StageChanged(stage=stage))

    def _timed(self, name: str, work: Callable[[], Any]) -> Any:
        before = self._clock.elapsed
        try:
            return work()
        finally:
            self._seconds[name] = round(self._clock.elapsed - before, 3)


def _from_journal(journal: Journal) -> SearchResult:
    """Return what earlier attempts evaluated, without searching any further."""
    found = sorted(journal.found_.values(), key=lambda c: c.number)
    if all(candidate.number == BASELINE_NUMBER for candidate in found):
        return replace(_NOTHING_SEARCHED, stopped_by="restarted")
    return SearchResult(candidates=tuple(found), stopped_by="restarted")
