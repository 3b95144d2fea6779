"""How the operator bears 1,000 TrainingJobs that arrive at once, on a real API server.

All are suspended, so that what is measured is the operator and not a thousand trainers: it has to read each
job, decide, and give it its conditions. Beside it, over the same jobs, runs an operator of the same Kopf
with a handler that does nothing; what the real one needs on top of that is its own. The figures are for the
sizes that the chart gives it (memory) and for what a burst of jobs does to the time to a first answer.

KUBECONFIG names the API server; neither nodes nor controllers are needed. The context has to be on the
allow-list of the end-to-end tests (E2E_ALLOWED_CONTEXTS). BENCH_LOGS shows what the operators log.
"""

import contextlib
import os
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import quantiles
from typing import Any

from kubernetes import watch
from operators import QUIET_SECONDS, Process, empty_operator, operator, rest

from kit import (
    Cluster,
    definition,
    describe,
    eventually,
    kubeconfig_of,
    options,
    spread,
    throw_away_cluster,
    verdict,
    writes,
)
from trainingjob_api import API_VERSION, GROUP, KIND, PLURAL, VERSION

MOST_KIB = 100
MOST_WRITES = 30
LEAST_RATE = 10
PATIENCE_SECONDS = 600
CREATORS = 8
OPERATORS_OWN = (
    "trainingjobs/status",
    "events",
    "configmaps",
    "serviceaccounts",
    "roles",
    "rolebindings",
    "jobs",
)


@dataclass(frozen=True, slots=True)
class Round:
    """What one round has measured; memory in KiB a job, times in seconds."""

    seconds: float
    created: float
    latencies: list[float]
    processor: float
    growth: float
    peak: float
    total: float
    whole: float
    per_job: dict[str, float]
    restart: "Restart"


@dataclass(frozen=True, slots=True)
class Restart:
    """What a new process over the same jobs has taken: seconds until ready and until idle, memory in MiB."""

    ready: float
    idle: float
    whole: float
    written: int


def main() -> None:
    """Measure, print, clean up."""
    asked = options(__doc__, jobs=1000, rounds=3)
    jobs, rounds = (100, 1) if asked.quick else (asked.jobs, asked.rounds)
    with throw_away_cluster(CREATORS + 2) as cluster, definition(cluster):
        print(f"seed: none, every job is the same; {jobs} suspended TrainingJobs at once, {rounds} rounds")
        describe(cluster, "kopf", "kubernetes", "aiohttp", "pydantic")
        found = [measure(cluster, jobs) for _ in range(rounds)]
    tell(found, jobs)


def tell(found: list[Round], jobs: int) -> None:
    """Print the figures of all rounds."""
    rates = [jobs / done.seconds for done in found]
    print(f"all have their conditions after {spread([done.seconds for done in found], 's')}")
    print(f"of that, until all were created: {spread([done.created for done in found], 's')}")
    print(f"rate: {spread(rates, 'a second')}")
    for name, share in (("p50", 49), ("p99", 98)):
        values = [quantiles(done.latencies, n=100)[share] for done in found]
        print(f"from creation to conditions, {name}: {spread(values, 's', 2)}")
    print(f"processor time each: {spread([done.processor for done in found], 'ms')}")
    print(f"memory each, growth above the empty operator's: {spread([done.growth for done in found], 'KiB')}")
    print(f"memory each, the same at its highest: {spread([done.peak for done in found], 'KiB')}")
    print(
        f"memory each, the whole process above the empty one: {spread([done.total for done in found], 'KiB')}"
    )
    print(f"memory of the whole process: {spread([done.whole for done in found], 'MiB')}")
    again = [done.restart for done in found]
    print(f"a restart over the same jobs, until ready: {spread([restart.ready for restart in again], 's')}")
    print(f"a restart, until it has looked at each: {spread([restart.idle for restart in again], 's')}")
    print(f"a restart, memory of the whole process: {spread([restart.whole for restart in again], 'MiB')}")
    print(f"a restart, API writes in all: {', '.join(str(restart.written) for restart in again)}")
    resources = sorted({name for done in found for name in done.per_job})
    for name in resources:
        print(f"API writes each, {name}: {spread([done.per_job.get(name, 0.0) for done in found], '', 2)}")
    met = [
        verdict("rate", min(rates), LEAST_RATE, "a second", at_least=True),
        verdict("memory each", max(done.total for done in found), MOST_KIB, "KiB"),
        verdict("API writes each", max(sum(done.per_job.values()) for done in found), MOST_WRITES, ""),
    ]
    sys.exit(0 if all(met) else 1)


def measure(cluster: Cluster, jobs: int) -> Round:
    """Run one round in a namespace of its own."""
    with namespace(cluster) as place, tempfile.TemporaryDirectory() as folder:
        kubeconfig = kubeconfig_of(cluster, Path(folder))
        with empty_operator(kubeconfig, place) as empty, operator(kubeconfig, place) as real:
            first = arrive(cluster, place, jobs, real, empty)
        return first(restart(cluster, kubeconfig, place))


def arrive(
    cluster: Cluster, place: str, jobs: int, real: Process, empty: Process
) -> Callable[[Restart], Round]:
    """Create the jobs, wait until all is done; return the round but for the restart."""
    rest(real, empty)
    for process in (real, empty):
        process.start = process.most = process.memory
        process.used = process.processor
    before = writes(cluster)
    seen = Seen(cluster, place)
    begin = time.monotonic()
    born = create(cluster, place, jobs)
    created = time.monotonic() - begin

    def done() -> bool:
        real.look()
        empty.look()
        return len(seen.times) == jobs

    eventually(done, lambda: f"only {len(seen.times)} of {jobs} have conditions", PATIENCE_SECONDS)
    rest(real, empty)
    check(cluster, place, jobs)
    return partial(
        Round,
        max(seen.times.values()) - begin,
        created,
        [seen.times[name] - born[name] for name in born],
        (real.processor - real.used) / jobs * 1000,
        each_kib((real.memory - real.start) - (empty.memory - empty.start), jobs),
        each_kib((real.most - real.start) - (empty.most - empty.start), jobs),
        each_kib(real.memory - empty.memory, jobs),
        real.memory / 2**20,
        {name: count / jobs for name, count in own_writes(cluster, before).items()},
    )


def restart(cluster: Cluster, kubeconfig: Path, place: str) -> Restart:
    """Start the operator anew over what is there: it has nothing to say that has not been said."""
    before = writes(cluster)
    begin = time.monotonic()
    with operator(kubeconfig, place) as again:
        ready = time.monotonic() - begin
        rest(again)
        idle = time.monotonic() - begin - QUIET_SECONDS
        return Restart(ready, idle, again.memory / 2**20, own_writes(cluster, before).total())


def own_writes(cluster: Cluster, before: Counter[tuple[str, str]]) -> Counter[str]:
    """Return the operator's writes since *before*: nobody else writes these here, but the jobs themselves."""
    since = writes(cluster) - before
    return Counter(
        {f"{verb} {name}": count for (name, verb), count in since.items() if name in OPERATORS_OWN}
    )


def each_kib(size: int, jobs: int) -> float:
    """Return *size* bytes as KiB a job."""
    return size / 1024 / jobs


class Seen:
    """When each job was first seen with conditions, by a watch of its own."""

    def __init__(self, cluster: Cluster, place: str) -> None:
        self.times: dict[str, float] = {}
        self._cluster, self._place = cluster, place
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        listing = self._cluster.custom.list_namespaced_custom_object
        stream = watch.Watch().stream(
            listing,
            GROUP,
            VERSION,
            self._place,
            PLURAL,
            resource_version="0",
            timeout_seconds=PATIENCE_SECONDS,
        )
        for event in stream:
            if event["type"] in {"ADDED", "MODIFIED"} and (event["object"].get("status") or {}).get(
                "conditions"
            ):
                self.times.setdefault(event["object"]["metadata"]["name"], time.monotonic())


def create(cluster: Cluster, place: str, jobs: int) -> dict[str, float]:
    """Create the jobs as fast as a few clients can; return when each was."""

    def one(number: int) -> tuple[str, float]:
        name = f"job-{number:04d}"
        cluster.apply(
            place, {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name}, "spec": SPEC}
        )
        return name, time.monotonic()

    with ThreadPoolExecutor(CREATORS) as pool:
        return dict(pool.map(one, range(jobs)))


SPEC: dict[str, Any] = {
    "dataset": {"uri": "sample://breast_cancer"},
    "targetColumn": "target",
    "budget": {"timeLeftSeconds": 600, "generations": 40, "populationSize": 64, "cvFolds": 5},
    "output": {"uri": "s3://models", "credentialsSecretRef": {"name": "bucket-keys"}},
    "suspend": True,
}


def check(cluster: Cluster, place: str, jobs: int) -> None:
    """Stop unless every job has been dealt with as it should have been."""
    found = cluster.trainingjobs(place)
    assert len(found) == jobs, len(found)
    for job in found:
        status = job["status"]
        said = {condition["type"]: condition["status"] for condition in status["conditions"]}
        assert status["phase"] == "Suspended", status
        assert status["observedGeneration"] == job["metadata"]["generation"], status
        assert (said["Suspended"], said["Ready"], said["Reconciling"]) == ("True", "False", "False"), status
    assert not cluster.batch.list_namespaced_job(place).items


@contextlib.contextmanager
def namespace(cluster: Cluster) -> Iterator[str]:
    """Yield a new namespace, and leave nothing in it."""
    place = cluster.make_namespace(f"bench-{os.urandom(3).hex()}")
    try:
        yield place
    finally:
        # Where no controller minds namespaces, their content would stay.
        cluster.custom.delete_collection_namespaced_custom_object(GROUP, VERSION, place, PLURAL)
        cluster.core.delete_collection_namespaced_event(place)
        cluster.delete_namespace(place)


if __name__ == "__main__":
    main()
