"""The encodings of the table of a run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.trained_child import SPEC, Child
from trainingjob_api import Reason
from trainingjob_trainer.encodings import Encoding
from trainingjob_trainer.errors import RunFailed
from trainingjob_trainer.events import Warned
from trainingjob_trainer.run import search_stage, trainer
from trainingjob_trainer.run.fallback import Mode
from trainingjob_trainer.run.trainer import encode_table
from trainingjob_trainer.search import store, tasks
from trainingjob_trainer.search.pool import InlinePool
from trainingjob_trainer.search.store import StoreRef, fold_paths, load_work

DENSE, TARGET, ORDINAL = Encoding


@pytest.fixture
def child(tmp_path: Path) -> Child:
    return Child(tmp_path)


def encode(child: Child, **options: bool) -> tuple[StoreRef, dict[Encoding, int]]:
    child.context = child._context()
    child.clock.start()
    return encode_table(
        child.context, child.prepared, InlinePool(), **{"named": False, "others": True} | options
    )


def encoded(ref: StoreRef, encoding: Encoding) -> list[Path]:
    return list(Path(ref.folder).glob(f"fold-*-{encoding}-*"))


def failing(encoding: Encoding) -> Callable[..., int]:
    def encode_fold(ref: StoreRef, fold: int, wanted: Encoding) -> int:
        if wanted is encoding and fold == 1:
            raise ValueError("no such category")
        return tasks_encode_fold(ref, fold, wanted)

    return encode_fold


tasks_encode_fold = tasks.encode_fold


def test_each_fold_exists_in_each_encoding(child: Child) -> None:
    ref, columns = encode(child)
    assert ref.encodings == tuple(columns) == (DENSE, TARGET, ORDINAL)
    for encoding in columns:
        for fold, (train, test) in enumerate(load_work(ref).folds):
            parts = [np.load(path) for path in fold_paths(ref, fold, encoding)[:2]]
            assert [part.shape[0] for part in parts] == [len(train), len(test)]
            assert parts[0].shape[1] == parts[1].shape[1] <= columns[encoding]
    assert columns[ORDINAL] < columns[DENSE]
    assert child.of(Warned) == []


@pytest.mark.parametrize("options", [{"named": True}, {"others": False}])
def test_a_run_that_needs_only_the_dense_encoding_has_no_other(
    child: Child, options: dict[str, bool]
) -> None:
    ref, columns = encode(child, **options)
    assert ref.encodings == tuple(columns) == (DENSE,)
    assert not fold_paths(ref, 0, ORDINAL)[0].exists()
    assert child.of(Warned) == []


def test_an_encoding_that_fails_is_left_out_with_a_warning(
    child: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "encode_fold", failing(ORDINAL))
    ref, columns = encode(child)
    assert ref.encodings == tuple(columns) == (DENSE, TARGET)
    (warning,) = child.of(Warned)
    assert "'ordinal'" in warning.message
    assert "fold 2: ValueError: no such category" in warning.message
    assert not encoded(ref, ORDINAL)
    assert len(encoded(ref, TARGET)) == 2 * ref.folds
    # What an earlier attempt has found with it can still ship.
    assert ORDINAL in load_work(ref).encoders


def test_an_encoding_that_takes_too_long_is_left_out(child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "_OTHERS_SHARE", 0.0)
    ref, _ = encode(child)
    assert ref.encodings == (DENSE,)
    assert [
        name in warning.message
        for name, warning in zip(("'target'", "'ordinal'"), child.of(Warned), strict=True)
    ]


def test_encodings_that_are_too_large_together_are_left_out(
    child: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_MAX_BYTES", 1)
    ref, _ = encode(child)
    assert ref.encodings == (DENSE,)
    assert "too large" in child.of(Warned)[0].message
    assert encoded(ref, DENSE)
    assert not [*encoded(ref, TARGET), *encoded(ref, ORDINAL)]


def test_a_run_needs_the_dense_encoding(child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "encode_fold", failing(DENSE))
    with pytest.raises(RunFailed, match="fold 2: ValueError") as failure:
        encode(child)
    assert failure.value.reason is Reason.ENCODING_FAILED


@pytest.mark.parametrize(
    ("mode", "enabled", "others"),
    [
        (Mode.FULL, True, True),
        (Mode.LOCAL, True, True),
        (Mode.FINISH, True, False),
        (Mode.BASELINE, True, False),
        (Mode.FULL, False, False),
    ],
)
def test_only_a_search_needs_the_other_encodings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: Mode, enabled: bool, others: bool
) -> None:
    asked: list[bool] = []

    def stop(*_arguments: Any, others: bool, **_options: Any) -> None:
        asked.append(others)
        raise RunFailed(Reason.ENCODING_FAILED, "enough is known")

    monkeypatch.setattr("trainingjob_trainer.run.trainer.encode_table", stop)
    child = Child(tmp_path, spec={**SPEC, "automl": {"enabled": enabled}}, mode=mode)
    with pytest.raises(RunFailed, match="enough"):
        child.train()
    assert asked == [others]


def test_the_search_space_knows_the_encodings_and_their_widths(
    child: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    contexts = []

    def seeds(context: Any, _space: Any) -> list[Any]:
        contexts.append(context)
        raise ValueError("enough is known")

    monkeypatch.setattr(search_stage, "seeds", seeds)
    child.train()
    (known,) = contexts
    assert known.encodings == ("dense", "target", "ordinal")
    assert known.encoded("ordinal").n_features < known.encoded("dense").n_features == known.n_features
