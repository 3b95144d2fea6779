"""The table on another machine arrives complete, once, and only with the same packages."""

import pickle
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from support.stores import no_limit, small_store
from trainingjob_trainer.search import store
from trainingjob_trainer.search.candidate import Outcome
from trainingjob_trainer.search.store import (
    StoreRef,
    TablePlugin,
    TableTooLarge,
    fold_paths,
    installed_versions,
    pack_store,
)
from trainingjob_trainer.search.tasks import evaluate


@pytest.fixture
def ref(tmp_path: Path) -> StoreRef:
    return small_store(tmp_path / "trainer")


def worker(folder: Path) -> SimpleNamespace:
    folder.mkdir()
    return SimpleNamespace(local_directory=str(folder))


def arrive(plugin: TablePlugin) -> TablePlugin:
    arrived: TablePlugin = pickle.loads(pickle.dumps(plugin))
    return arrived


def test_a_worker_elsewhere_evaluates_what_was_sent(ref: StoreRef, tmp_path: Path) -> None:
    train, _, _ = fold_paths(ref, 0)
    sent = np.load(train)
    plugin = arrive(TablePlugin(ref, pack_store(ref), installed_versions()))
    for path in Path(ref.folder).iterdir():
        path.unlink()
    plugin.setup(worker(tmp_path / "worker"))
    try:
        assert np.array_equal(np.load(fold_paths(ref, 0)[0]), sent)
        from trainingjob_api import Task
        from trainingjob_trainer.run.trainer import baseline_pipeline

        end = evaluate(baseline_pipeline(Task.CLASSIFICATION, 0), ref, no_limit())
        assert (end.outcome, len(end.fold_scores)) == (Outcome.OK, 2)
    finally:
        plugin.teardown(None)
    assert list((tmp_path / "worker").iterdir()) == []
    assert fold_paths(ref, 0)[0] == train


def test_the_raw_table_is_not_sent(ref: StoreRef, tmp_path: Path) -> None:
    plugin = arrive(TablePlugin(ref, pack_store(ref), installed_versions()))
    plugin.setup(worker(tmp_path / "worker"))
    plugin_folder = tmp_path / "worker" / plugin.name
    names = sorted(path.name for path in plugin_folder.iterdir())
    plugin.teardown(None)
    assert names == [
        "fold-0-dense-test.npy",
        "fold-0-dense-train.npy",
        "fold-1-dense-test.npy",
        "fold-1-dense-train.npy",
        "work.pkl",
    ]


def test_a_worker_with_other_packages_names_them(ref: StoreRef, tmp_path: Path) -> None:
    versions = installed_versions() | {"scikit-learn": "0.1"}
    plugin = TablePlugin(ref, pack_store(ref), versions)
    with pytest.raises(RuntimeError, match=r"VersionMismatch: .*scikit-learn .* instead of 0\.1"):
        plugin.setup(worker(tmp_path / "worker"))
    assert list((tmp_path / "worker").iterdir()) == []


def test_a_table_that_changes_on_its_way_is_rejected(ref: StoreRef, tmp_path: Path) -> None:
    plugin = TablePlugin(ref, pack_store(ref), installed_versions())
    plugin._payload = plugin._payload[:-1]
    with pytest.raises(RuntimeError, match="digest"):
        plugin.setup(worker(tmp_path / "worker"))


def test_a_table_that_is_too_large_is_not_sent(ref: StoreRef, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_MAX_BYTES", 1000)
    with pytest.raises(TableTooLarge, match="MiB"):
        pack_store(ref)


def test_the_versions_name_every_package_that_decides_a_score() -> None:
    found = installed_versions()
    assert all(found.values()), found
