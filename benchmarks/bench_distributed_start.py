"""How long a distributed TrainingJob takes before its first evaluation, beside a bare Job and a DaskJob.

All three run the same spec from the same image. The bare Job searches in its own pod; the DaskJob is what
somebody would write who has the Dask operator and no other: scheduler, two workers and a runner that is
`trainingjob run` with the cluster's address. The TrainingJob has a cluster of the same size, with
certificates of its own. What counts is the trainer's own log entry that the first pipeline has been
evaluated, and that it was evaluated on the cluster.

The sides take turns. KUBECONFIG names a cluster that has all images, and the variables are those of the
end-to-end tests; the Dask operator is installed by its own chart.
"""

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from functools import partial
from statistics import median
from typing import Any

from starts import (
    IMAGE,
    Start,
    first_evaluation,
    place,
    pod_spec,
    pods_of,
    spec_in,
    take_turns,
    tell_starts,
    without,
)

from kit import Cluster, definition, describe, eventually, options, throw_away_cluster, verdict

# isort: split
# By the path that `kit` has set.
from e2e.kit.bucket import Bucket
from e2e.kit.dask import GROUP, VERSION, DaskOperator, DaskSide, distributed
from e2e.kit.jobs import Run

MOST_SECONDS = 7.0
PATIENCE_SECONDS = 240
RUNNER = "dask.org/component=job-runner"
LONG = {"timeLeftSeconds": 60}


def main() -> None:
    """Measure, print, clean up."""
    asked = options(__doc__, runs=3)
    runs = 1 if asked.quick else asked.runs
    with (
        throw_away_cluster() as cluster,
        definition(cluster),
        place(cluster) as (namespace, bucket),
        dask_operator(cluster, namespace),
    ):
        print(f"seed: 0 (spec.randomState); {runs} runs a side and one before them that does not count")
        describe(cluster, "kopf", "dask-kubernetes", "tpot", "distributed", "scikit-learn")
        print(f"trainer's image: {IMAGE}")
        sides = {
            "TrainingJob, distributed": partial(with_operator, cluster, namespace, bucket),
            "bare Job, local": partial(without, cluster, namespace, budget=LONG),
            "DaskJob": partial(dask_job, cluster, namespace),
        }
        found = take_turns(sides, runs)
    tell_starts(found)
    mine, bare, dask = (median(start.evaluation for start in starts) for starts in found.values())
    print(f"DaskJob above a bare Job: {dask - bare:.1f} s")
    sys.exit(0 if verdict("TrainingJob above a bare Job", mine - bare, MOST_SECONDS, "s") else 1)


def with_operator(cluster: Cluster, namespace: str, bucket: Bucket, number: int) -> Start:
    """Measure a distributed TrainingJob."""
    begin = time.time()
    run = Run(cluster, namespace, bucket, f"measured-{number}", distributed() | {"budget": LONG})
    try:
        return first_evaluation(cluster, namespace, begin, lambda: run.pods, "dask")
    finally:
        run.delete()
        run.gone()
        DaskSide(run).gone()


def dask_job(cluster: Cluster, namespace: str, number: int) -> Start:
    """Measure a DaskJob."""
    name = f"dask-{number}"
    everything = f"dask.org/cluster-name={name}"
    with spec_in(cluster, namespace, name, **distributed(), budget=LONG):
        begin = time.time()
        cluster.custom.create_namespaced_custom_object(GROUP, VERSION, namespace, "daskjobs", manifest(name))
        runner = partial(pods_of, cluster, namespace, f"{everything},{RUNNER}")
        try:
            return first_evaluation(cluster, namespace, begin, runner, "dask")
        finally:
            cluster.custom.delete_namespaced_custom_object(GROUP, VERSION, namespace, "daskjobs", name)
            eventually(
                lambda: not pods_of(cluster, namespace, everything),
                f"the pods of {name} do not go",
                PATIENCE_SECONDS,
            )


def manifest(name: str) -> dict[str, Any]:
    """Return a DaskJob of the same images and sizes as a distributed TrainingJob of the tests."""
    spec = distributed()["dask"]
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "DaskJob",
        "metadata": {"name": name},
        "spec": {
            "job": {"spec": pod_spec(name)},
            "cluster": {
                "spec": {
                    "scheduler": {
                        "spec": role(["scheduler", "--no-scheduler-file", "--host", "0.0.0.0"], spec),  # noqa: S104  # its pod's own
                        "service": {
                            "type": "ClusterIP",
                            "selector": {
                                "dask.org/cluster-name": name,
                                "dask.org/component": "scheduler",
                            },
                            "ports": [
                                {
                                    "name": "tcp-comm",
                                    "protocol": "TCP",
                                    "port": 8786,
                                    "targetPort": "tcp-comm",
                                }
                            ],
                        },
                    },
                    "worker": {
                        "replicas": spec["workers"],
                        "spec": role(["worker", "--memory-limit-mb", "1024"], spec),
                    },
                }
            },
        },
    }


def role(command: list[str], spec: dict[str, Any]) -> dict[str, Any]:
    """Return the pod of a scheduler or a worker."""
    pod = pod_spec("unused")
    [container] = pod["containers"]
    container |= {
        "name": command[0],
        "command": ["trainingjob", *command],
        "resources": spec[f"{command[0]}Resources"],
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108  # a volume of the pod's own
    }
    # The definition takes no number where names are possible.
    if command[0] == "scheduler":
        container["ports"] = [{"name": "tcp-comm", "containerPort": 8786}]
    container["env"] = [{"name": "HOME", "value": "/tmp"}]  # noqa: S108  # as above
    pod["volumes"] = [{"name": "tmp", "emptyDir": {}}]
    del pod["restartPolicy"]
    return pod


@contextlib.contextmanager
def dask_operator(cluster: Cluster, namespace: str) -> Iterator[None]:
    """Run a block while the Dask operator minds a namespace."""
    made = DaskOperator(cluster, cluster.make_namespace(f"{namespace}-dask"), namespace, dict(os.environ))
    try:
        made.install()
        yield
    finally:
        made.uninstall()
        cluster.delete_namespace(made.namespace)


if __name__ == "__main__":
    main()
