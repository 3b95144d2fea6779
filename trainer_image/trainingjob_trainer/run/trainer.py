"""The work of a child on the clock: encode, fit the baseline, search here or on a cluster, fit what ships."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace

import numpy as np

from trainingjob_api import Backend, Ensemble, ModelSource, Reason, Stage
from trainingjob_trainer.dask_cluster.remote import ClusterLookup, RemoteWorkers
from trainingjob_trainer.data.prepare import Prepared
from trainingjob_trainer.encodings import Encoding
from trainingjob_trainer.errors import TrainingError
from trainingjob_trainer.events import BackendReady, WaitingForCluster
from trainingjob_trainer.run.baseline import BASELINE_NUMBER, fit_baseline
from trainingjob_trainer.run.context import ChildContext
from trainingjob_trainer.run.encode_stage import encode_table
from trainingjob_trainer.run.fallback import Mode
from trainingjob_trainer.run.final_stage import (
    FinalStage,
    Trained,
    describe_not_fitted,
)
from trainingjob_trainer.search.candidate import Candidate, Journal, SearchResult
from trainingjob_trainer.search.costs import FitEstimate
from trainingjob_trainer.search.dask_pool import DaskPool
from trainingjob_trainer.search.ensemble import Ensembles
from trainingjob_trainer.search.final_fit import FittedModel, FittingFailed
from trainingjob_trainer.search.limits import describe_error
from trainingjob_trainer.search.pool import Pool, PoolLost
from trainingjob_trainer.search.predictions import PredictionStore
from trainingjob_trainer.search.store import StoreRef, load_work

__all__ = ["Instead", "Trainer", "cluster_workers"]

Instead = Callable[[PoolLost], Pool]
"""Returns the pool to continue with when one is lost; raises `RunFailed` if the job does not allow it."""

_NOTHING_SEARCHED = SearchResult(stopped_by="disabled")


class Trainer:
    """Does the work of a child on the clock, from the prepared table to fitted models.

    Parameters
    ----------
    context, prepared
        The child and its table.
    """

    def __init__(self, context: ChildContext, prepared: Prepared) -> None:
        self._context = context
        self._run = context.run
        self._clock = context.clock
        self._prepared = prepared
        self._seconds: dict[str, float] = {}

    @property
    def searches(self) -> bool:
        """Whether this child searches, or takes what a search has left in the journal."""
        return self._run.automl_enabled and self._context.mode in {Mode.FULL, Mode.LOCAL, Mode.FINISH}

    @property
    def _evaluates(self) -> bool:
        """Whether this child evaluates candidates."""
        return self.searches and self._context.mode is not Mode.FINISH

    def train(
        self, pool: Pool, journal: Journal, *, named: bool, joining: ClusterLookup | None = None
    ) -> Trained:
        """Run the clock until there is a model.

        Parameters
        ----------
        pool
            Where tasks run; its workers are warm and on this machine.
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
        self._context.enter(Stage.BASELINE)
        # What an earlier attempt was charged for is not charged again.
        again = any(candidate.number != BASELINE_NUMBER for candidate in journal.found_.values())
        with self._clock.paused() if again else nullcontext():
            ref, columns = encode_table(
                self._context, self._prepared, pool, named=named, others=self._evaluates
            )
            with self._timed("baseline"):
                baseline = fit_baseline(self._context, self._prepared, pool, ref, journal)
        if not self.searches:
            searched = _from_journal(journal) if self._run.automl_enabled else _NOTHING_SEARCHED
            return self._charged(
                Trained(best=baseline, baseline=baseline, source=ModelSource.BASELINE, searched=searched)
            )
        final = self._final_stage(pool, ref, baseline, journal)
        with self._workers(pool, ref, joining) as (workers, instead), self._timed("search"):
            searched = self._search(workers, ref, journal, columns, final, instead=instead)
        self._context.enter(Stage.FITTING)
        finalists: tuple[Candidate, ...] = ()
        if final.plan is not None and self._context.mode is not Mode.FINISH:
            with self._timed("finalists"):
                finalists = final.finalists(searched)
        try:
            with self._timed("final_fit"):
                trained = final.fit(searched, finalists)
        except FittingFailed as failure:
            told = describe_not_fitted(failure.not_fitted) if failure.not_fitted else str(failure)
            self._context.step_down("tpot", "baseline", Reason.NO_PIPELINE_FITTED, told)
            trained = replace(final.ship_baseline(searched, finalists), not_fitted=failure.not_fitted)
        return self._charged(trained)

    def _final_stage(self, pool: Pool, ref: StoreRef, baseline: FittedModel, journal: Journal) -> FinalStage:
        fold_rows = int(np.mean([len(train) for train, _ in load_work(ref).folds]))
        estimate = FitEstimate(
            encode_seconds=baseline.seconds, all_rows=len(self._prepared.frame), fold_rows=fold_rows
        )
        ensembles = None
        if self._run.ensemble is Ensemble.AUTO:
            # Predictions belong to the journal's search and table: those of another one are not found.
            store = PredictionStore(self._context.workspace.scratch / "predictions" / journal.header.name)
            store.keep(baseline.candidate, baseline.candidate.predictions)
            ensembles = Ensembles(store=store, ref=ref, classes=self._prepared.classes)
        return FinalStage(
            context=self._context,
            pool=pool,
            ref=ref,
            baseline=baseline,
            estimate=estimate,
            ensembles=ensembles,
        )

    @contextmanager
    def _workers(
        self, pool: Pool, ref: StoreRef, joining: ClusterLookup | None
    ) -> Iterator[tuple[Pool, Instead | None]]:
        if joining is None:
            yield pool, None
            return
        with cluster_workers(self._context, joining, pool, ref) as found:
            yield found

    def _search(
        self,
        pool: Pool,
        ref: StoreRef,
        journal: Journal,
        columns: Mapping[Encoding, int],
        final: FinalStage,
        *,
        instead: Instead | None,
    ) -> SearchResult:
        self._context.enter(Stage.SEARCHING)
        if self._context.mode is Mode.FINISH:
            searched = _from_journal(journal)
            self._clock.leave(final.reserve(searched))
            return searched
        # TPOT takes seconds to import, and a run without a search has no use for it.
        from trainingjob_trainer.run.search_stage import search  # noqa: PLC0415

        try:
            return search(
                self._context,
                self._prepared,
                pool=pool,
                ref=ref,
                journal=journal,
                columns=columns,
                final=final,
                instead=instead,
            )
        except TrainingError:
            raise
        except Exception as failure:  # noqa: BLE001 - whatever stops the search, what it found can ship
            message = f"the search ended early: {describe_error(failure)}"
            self._context.warn(message)
            searched = _from_journal(journal)
            self._clock.leave(final.reserve(searched))
            return searched

    def _charged(self, trained: Trained) -> Trained:
        return replace(trained, seconds=self._seconds | {"total": round(self._clock.elapsed, 3)})

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        before = self._clock.elapsed
        try:
            yield
        finally:
            self._seconds[name] = round(self._clock.elapsed - before, 3)


def _from_journal(journal: Journal) -> SearchResult:
    """Return what earlier attempts evaluated, without searching any further."""
    found = sorted(journal.found_.values(), key=lambda c: c.number)
    if all(candidate.number == BASELINE_NUMBER for candidate in found):
        return replace(_NOTHING_SEARCHED, stopped_by="restarted")
    return SearchResult(candidates=tuple(found), stopped_by="restarted")


class _Stopped(Exception):  # noqa: N818 - no error: a signal ended the waiting
    """A signal asks to save what there is."""


@contextmanager
def cluster_workers(
    context: ChildContext, joining: ClusterLookup, home: Pool, ref: StoreRef
) -> Iterator[tuple[Pool, Instead]]:
    """Yield the workers of a remote cluster, or `home` in their place, and what to do when they are lost.

    Parameters
    ----------
    joining
        Looks for the cluster since the child began.
    home
        The workers of this process.
    ref
        The table, its folds encoded.

    Raises
    ------
    RunFailed
        If there is no cluster and the job does not allow a local search.
    """

    def instead(lost: PoolLost) -> Pool:
        context.step_down("dask", "local", lost.reason, str(lost))
        context.send(BackendReady(backend=Backend.LOCAL, workers=home.workers))
        return home

    def tick() -> None:
        context.channel.beat()
        if context.stop.is_set():
            raise _Stopped

    remote: RemoteWorkers | None = None
    try:
        try:
            remote = _join(context, joining, tick)
            remote.settings(tick)
            remote.ship(ref, tick)
            remote.check()
            pool: Pool = DaskPool(remote)
        except _Stopped:
            pool = home
        except PoolLost as lost:
            pool = instead(lost)
        else:
            context.send(BackendReady(backend=Backend.DASK, workers=pool.workers, scheduler=remote.address))
        yield pool, instead
    finally:
        joining.close()
        if remote is not None:
            remote.close(ref)


def _join(context: ChildContext, joining: ClusterLookup, tick: Callable[[], None]) -> RemoteWorkers:
    if not joining.done:
        left = max(0.0, joining.end - time.monotonic())
        context.send(WaitingForCluster(source=str(joining.source), seconds=round(left, 1)))
    with context.clock.paused():
        return joining.wait(tick)
