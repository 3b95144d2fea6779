"""Runs on a Dask cluster of real processes that are killed, frozen and late: there is always a model."""

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
BUDGET = {"timeLeftSeconds": 60, "perRunLimitSeconds": 15, "populationSize": 10, "cvFolds": 3}
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


@pytest.fixture
def dask() -> Iterator[Cluster]:
    with cluster(2) as found:
        yield found


class Distributed:
    """A distributed run, and what it has told so far."""

    def __init__(self, runs: Runs, name: str, found: Cluster, **spec: Any) -> None:
        self.runs, self.name = runs, name
        runs.environment = {**runs.environment, **found.environment}
        self.process = runs.start("run", str(runs.job(name, **{**SPEC, **spec})), "--json")

    def report(self) -> dict[str, Any]:
        for path in self.runs.output.glob(f"{self.name}-*/.work/report.json"):
            return dict(json.loads(path.read_text()))
        return {}

    def on_the_cluster(self) -> bool:
        return self.report().get("backend") == "dask"

    def evaluated(self, count: int) -> Callable[[], bool]:
        return lambda: self.on_the_cluster() and len(self.runs.journal(self.name)) >= count

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

    def fallbacks(self, document: dict[str, Any]) -> list[tuple[str, str, str]]:
        return [(one["from"], one["to"], one["reason"]) for one in document["fallbacks"]]


def test_a_run_on_two_workers(runs: Runs, dask: Cluster) -> None:
    budget = {**BUDGET, "generations": 2, "timeLeftSeconds": 120}
    run = Distributed(runs, "good", dask, budget=budget)
    run.wait(run.on_the_cluster, "the search on the cluster")
    document = run.end()
    assert run.fallbacks(document) == []
    assert document["modelSource"] == "tpot"
    assert document["progress"]["evaluated"] == 20
    report = run.report()
    assert (report["backend"], report["daskReady"]) == ("dask", True)
    again = Runs(runs.folder / "local")
    again.folder.mkdir()
    local = {**SPEC, "parallelMode": "none", "budget": budget}
    status, alone, error = again(again.job("good", **local))
    assert status == 0, error
    assert alone["leaderboard"][0]["pipeline"] == document["leaderboard"][0]["pipeline"]
    assert [one["score"] for one in alone["leaderboard"]] == [one["score"] for one in document["leaderboard"]]


@pytest.mark.parametrize(
    ("deed", "reason", "count"),
    [
        ("kill_scheduler", "SchedulerLost", 2),
        ("stop_scheduler", "SchedulerLost", 14),
        ("kill_workers", "WorkersLost", 6),
    ],
)
def test_a_lost_cluster_costs_nothing_that_was_finished(
    runs: Runs, dask: Cluster, deed: str, reason: str, count: int
) -> None:
    run = Distributed(runs, "lost", dask)
    run.wait(run.evaluated(count), f"{count} evaluations on the cluster")
    getattr(dask, deed)()
    lost_at, before = time.monotonic(), runs.journal("lost")
    run.wait(lambda: run.report().get("backend") == "local", "the fallback", seconds=40)
    here = len(runs.journal("lost"))
    run.wait(lambda: len(runs.journal("lost")) > here, "an evaluation here", seconds=60)
    took = time.monotonic() - lost_at
    run.process.send_signal(signal.SIGINT)  # the rest of the budget would show nothing new
    document = run.end()
    assert run.fallbacks(document) == [("dask", "local", reason)]
    after = runs.journal("lost")
    assert after[: len(before)] == before
    assert len({one["key"] for one in after}) == len(after), "nothing is evaluated twice"
    assert all(one["outcome"] != "killed" for one in after), "nobody is blamed for it"
    assert document["elapsedSeconds"] <= BUDGET["timeLeftSeconds"] + 5
    assert run.report()["daskReady"] is False
    assert took < FIRST_LOCAL_SECONDS, f"the first local evaluation came after {took:.0f} s"


def test_a_worker_that_is_killed_is_replaced_and_nobody_blamed(runs: Runs, dask: Cluster) -> None:
    run = Distributed(runs, "one", dask, budget={**BUDGET, "generations": 2, "timeLeftSeconds": 120})
    run.wait(run.evaluated(4), "four evaluations on the cluster")
    dask.kill_worker_process()
    document = run.end()
    assert run.fallbacks(document) == []
    assert document["progress"]["evaluated"] == 20
    assert all(one["outcome"] != "killed" for one in runs.journal("one"))


def test_a_cluster_that_never_comes_is_waited_for_and_given_up(runs: Runs) -> None:
    nowhere = Cluster(runs.folder)
    budget = {**BUDGET, "timeLeftSeconds": 20}
    run = Distributed(runs, "alone", nowhere, dask={"readyTimeoutSeconds": 10}, budget=budget)
    document = run.end()
    assert run.fallbacks(document) == [("dask", "local", "SchedulerUnavailable")]
    assert "scheduler.json" in document["fallbacks"][0]["message"]
    assert document["elapsedSeconds"] <= 25


def test_a_scheduler_without_workers_is_no_cluster(runs: Runs) -> None:
    with cluster(0) as empty:
        budget = {**BUDGET, "timeLeftSeconds": 20}
        document = Distributed(runs, "empty", empty, dask={"readyTimeoutSeconds": 15}, budget=budget).end()
    assert [one["reason"] for one in document["fallbacks"]] == ["NoWorkers"]


def test_a_job_that_may_not_fall_back_fails_and_says_why(runs: Runs) -> None:
    run = Distributed(
        runs, "strict", Cluster(runs.folder), automl={"fallback": False}, dask={"readyTimeoutSeconds": 10}
    )
    _, err = run.process.communicate(timeout=120)
    assert run.process.returncode == 1
    assert "SchedulerUnavailable" in err
    assert "automl.fallback is false" in err
