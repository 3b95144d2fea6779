"""What a TrainingJob costs in time before its first evaluation, beside a bare Job of the same image.

Both run the same local spec with the same resources. The bare Job is what somebody would write who has no
operator: `trainingjob run` on a spec from a ConfigMap, the output a folder of the pod. A TrainingJob has to
be noticed, resolved and given its children first, and its trainer reads and writes the report and asks the
bucket whether it may write there. The figure is what the operator asks of a user's patience.

Both sides are measured by the same two clocks: from just before the request that creates them (here) to the
trainer's own log entry that the first pipeline has been evaluated (microseconds, the node's). Where these
clocks differ, they differ for both. The sides take turns, and who begins alternates.

At the end one TrainingJob runs to its end, and what was written for it is counted.

KUBECONFIG names a cluster that has both images; the variables are those of the end-to-end tests.
"""

import sys
import time
from collections import Counter
from functools import partial
from statistics import median

from starts import IMAGE, Start, first_evaluation, place, take_turns, tell_starts, without

from kit import Cluster, definition, describe, options, throw_away_cluster, verdict, writes

# isort: split
# By the path that `kit` has set.
from e2e.kit.bucket import Bucket
from e2e.kit.jobs import QUICK, Run

MOST_SECONDS = 3.0
MOST_WRITES = 30
LIFE_SECONDS = 300


def main() -> None:
    """Measure, print, clean up."""
    asked = options(__doc__, runs=7)
    runs = 2 if asked.quick else asked.runs
    with throw_away_cluster() as cluster, definition(cluster), place(cluster) as (namespace, bucket):
        print(f"seed: 0 (spec.randomState); {runs} runs a side and one before them that does not count")
        describe(cluster, "kopf", "tpot", "distributed", "scikit-learn")
        print(f"trainer's image: {IMAGE}")
        sides = {
            "TrainingJob": partial(with_operator, cluster, namespace, bucket),
            "bare Job": partial(without, cluster, namespace),
        }
        found = take_turns(sides, runs)
        life = a_life(cluster, namespace, bucket)
    tell(found, life)


def tell(found: dict[str, list[Start]], life: Counter[str]) -> None:
    """Print the figures."""
    tell_starts(found)
    more = median(start.evaluation for start in found["TrainingJob"]) - median(
        start.evaluation for start in found["bare Job"]
    )
    for name, count in sorted(life.items()):
        print(f"API writes in a life of {QUICK['budget']['timeLeftSeconds']} s, {name}: {count}")
    met = [
        verdict("overhead", more, MOST_SECONDS, "s"),
        verdict("API writes in a life", life.total(), MOST_WRITES, ""),
    ]
    sys.exit(0 if all(met) else 1)


def with_operator(cluster: Cluster, namespace: str, bucket: Bucket, number: int) -> Start:
    """Measure a TrainingJob."""
    begin = time.time()
    run = Run(cluster, namespace, bucket, f"measured-{number}", {"parallelMode": "local"})
    try:
        return first_evaluation(cluster, namespace, begin, lambda: run.pods)
    finally:
        run.delete()
        run.gone()


def a_life(cluster: Cluster, namespace: str, bucket: Bucket) -> Counter[str]:
    """Run a TrainingJob to its end and count what the operator has written for it."""
    before = writes(cluster)
    run = Run(cluster, namespace, bucket, "life", {"parallelMode": "local"})
    status = run.reach("Succeeded", LIFE_SECONDS)
    assert status["progress"]["evaluated"] > 1, status
    since = writes(cluster) - before
    found = Counter({"children": 6, "events": len(cluster.events(namespace, run.uid))})
    # Of these the operator is the only one who writes.
    assert since["roles", "POST"] == since["rolebindings", "POST"] == 1, since
    found["status"] = since["trainingjobs/status", "PATCH"]
    run.delete()
    run.gone()
    return found


if __name__ == "__main__":
    main()
