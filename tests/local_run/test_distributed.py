"""Runs on a Dask cluster whose processes are killed, frozen or late always end with a model.

One cluster serves the whole module: it is mended before each test that needs it.
"""

import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from support.clusters import Cluster, cluster
from support.runs import Runs, until

pytestmark = pytest.mark.slow
BUDGET = {"timeLeftSeconds": 120, "perRunLimitSeconds": 30, "populationSize": 8, "cvFolds": 3}
TWO_GENERATIONS = {**BUDGET, "generations": 2}
SPEC: dict[str, Any] = {
    "dataset": {"uri": "sample://breast_cancer"},
    "output": {"uri": "file://./runs"},
    "searchSpace": {"preset": "linear-light"},
    "parallelMode": "distributed",
    "dask": {"readyTimeoutSeconds": 90, "workers": 2},
    "budget": BUDGET,
    "randomState": 5,
}
FIRST_LOCAL_SECONDS = 30.0


@pytest.fixture(scope="module")
def mendable() -> Iterator[Cluster]:
    with cluster(2) as found:
        yield found


@pytest.fixture
def dask(mendable: Cluster) -> Cluster:
    mendable.mend(2)
    return mendable


class Distributed:
    """A distributed run, and its output so far."""

    def __init__(self, runs: Runs, name: str, found: Cluster, **spec: Any) -> None:
        self.runs, self.name = runs, name
        runs.environment = {**runs.environment, **found.environment}
        self.process = runs.start("run", str(runs.job(name, **{**SPEC, **spec})), "--json")

    def report(self) -> dict[str, Any]:
        for path in self.runs.output.glob(f"{self.name}-*/.work/report.json"):
            return dict(json.loads(path.read_text()))
        return {}

    def evaluated(self, count: int) -> Callable[[], bool]:
        """Return whether so many evaluations are finished, and the run is on the cluster."""
        return lambda: self.report().get("backend") == "dask" and len(self.runs.journal(self.name)) >= count

    def wait(self, condition: Callable[[], Any], what: str, seconds: float = 150) -> None:
        def met() -> Any:
            assert self.process.poll() is None, self.process.communicate()[1][-2000:]
            return condition()

        until(met, seconds=seconds, what=what)

    def end(self, seconds: float = 200) -> dict[str, Any]:
        """Let it end; return its document."""
        try:
            out, err = self.process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        assert self.process.returncode == 0, err[-2000:]
        document: dict[str, Any] = json.loads(out)
        return document


def fallbacks(document: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(fallback["from"], fallback["to"], fallback["reason"]) for fallback in document["fallbacks"]]


def board(document: dict[str, Any]) -> list[tuple[str, str]]:
    return [(row["pipeline"], row["score"]) for row in document["leaderboard"]]


@pytest.fixture(scope="module")
def bereft(mendable: Cluster, tmp_path_factory: pytest.TempPathFactory) -> tuple[Distributed, dict[str, Any]]:
    """A run of two generations on two workers, one of which is killed, and its document."""
    mendable.mend(2)
    runs = Runs(tmp_path_factory.mktemp("bereft"))
    run = Distributed(runs, "bereft", mendable, budget=TWO_GENERATIONS)
    run.wait(run.evaluated(4), "four evaluations on the cluster")
    mendable.kill_worker_process()
    return run, run.end()


def test_a_killed_worker_is_replaced_and_no_pipeline_is_blamed(
    bereft: tuple[Distributed, dict[str, Any]],
) -> None:
    run, document = bereft
    assert fallbacks(document) == []
    assert document["modelSource"] == "tpot"
    assert document["progress"]["evaluated"] == 16
    assert all(line["outcome"] != "killed" for line in run.runs.journal("bereft"))
    report = run.report()
    assert (report["backend"], report["daskReady"]) == ("dask", True)


def test_a_cluster_that_never_starts_costs_only_time(
    runs: Runs, bereft: tuple[Distributed, dict[str, Any]]
) -> None:
    nowhere = Cluster(runs.folder)
    wanted = {"readyTimeoutSeconds": 10, "workers": 2}
    document = Distributed(runs, "alone", nowhere, dask=wanted, budget=TWO_GENERATIONS).end()
    assert fallbacks(document) == [("dask", "local", "SchedulerUnavailable")]
    assert "scheduler.json" in document["fallbacks"][0]["message"]
    assert board(document) == board(bereft[1]), "the search is the same on any number of workers"


@pytest.mark.parametrize(
    ("deed", "reason", "count"),
    [
        ("stop_scheduler", "SchedulerLost", 10),
        ("kill_scheduler", "SchedulerLost", 2),
        ("kill_workers", "WorkersLost", 4),
    ],
)
def test_a_lost_cluster_costs_no_finished_evaluation(
    runs: Runs, dask: Cluster, deed: str, reason: str, count: int
) -> None:
    run = Distributed(runs, "lost", dask)
    run.wait(run.evaluated(count), f"{count} evaluations on the cluster")
    getattr(dask, deed)()
    lost_at, before = time.monotonic(), runs.journal("lost")
    run.wait(lambda: run.report().get("backend") == "local", "the fallback", seconds=60)
    here = len(runs.journal("lost"))
    run.wait(lambda: len(runs.journal("lost")) > here, "an evaluation here", seconds=60)
    took = time.monotonic() - lost_at
    run.process.send_signal(signal.SIGINT)  # the rest of the budget would show nothing new
    document = run.end()
    assert fallbacks(document) == [("dask", "local", reason)]
    after = runs.journal("lost")
    assert after[: len(before)] == before
    assert len({line["key"] for line in after}) == len(after), "nothing is evaluated twice"
    assert all(line["outcome"] != "killed" for line in after), "no pipeline is blamed for it"
    assert document["elapsedSeconds"] <= BUDGET["timeLeftSeconds"] + 5
    assert run.report()["daskReady"] is False
    assert took < FIRST_LOCAL_SECONDS, f"the first local evaluation came after {took:.0f} s"


def test_a_job_without_fallback_fails_without_workers_and_names_the_reason(runs: Runs) -> None:
    with cluster(0) as empty:
        until(empty.scheduler_file.exists, seconds=60, what="the scheduler")
        run = Distributed(runs, "strict", empty, automl={"fallback": False}, dask={"readyTimeoutSeconds": 10})
        _, err = run.process.communicate(timeout=120)
    assert run.process.returncode == 1
    assert "NoWorkers" in err
    assert "automl.fallback is false" in err
