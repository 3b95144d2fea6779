import dask.system
import distributed.system
import pytest

from trainingjob_trainer.run.session import default_jobs

GIB = 1024**3


@pytest.mark.parametrize(
    ("cores", "memory_gib", "workers"),
    [(1, 8, 1), (2, 8, 2), (3, 8, 2), (4, 8, 3), (64, 64, 8), (2, 1, 1), (8, 4, 4), (2, 0.5, 1)],
)
def test_workers_follow_cores_and_memory(monkeypatch, cores, memory_gib, workers):
    monkeypatch.setattr(dask.system, "CPU_COUNT", cores)
    monkeypatch.setattr(distributed.system, "MEMORY_LIMIT", memory_gib * GIB)
    assert default_jobs(memory_limit_mb=1024) == workers
