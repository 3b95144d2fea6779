"""The first stage on the clock: the table is written for the workers, and its folds in each encoding."""

from collections.abc import Sequence
from dataclasses import replace

from trainingjob_api import Reason, Task
from trainingjob_trainer.data.encoder import build_encoders
from trainingjob_trainer.data.prepare import Prepared
from trainingjob_trainer.encodings import Encoding
from trainingjob_trainer.errors import RunFailed
from trainingjob_trainer.run.context import ChildContext
from trainingjob_trainer.search.pool import Pool, run_tasks
from trainingjob_trainer.search.store import (
    StoreRef,
    WorkData,
    encoded_width,
    fold_paths,
    fold_row_cap,
    fold_rows,
    load_work,
    sample_folds,
    that_can_be_sent,
    write_store,
)
from trainingjob_trainer.search.tasks import encode_within

__all__ = ["encode_table"]

_DENSE_SHARE = 0.3
_DENSE_SECONDS = 20.0
_FOLDS_OF_MANY_ROWS = 3
"""Folds of a table whose folds are cut to fewer rows."""
_OTHERS_SHARE = 0.1
"""Of the time that is left, for the encodings that a run can do without."""


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
    whole = None
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
