"""Children that are deleted by hand in mid-run, and a trainer that is killed for its memory."""

from typing import Any

import pytest
from e2e.kit.cluster import Cluster
from e2e.kit.jobs import START_SECONDS, Run

LONG = {"timeLeftSeconds": 90}
SILENT_SECONDS = 120


def orphan(cluster: Cluster, namespace: str, run: Run) -> dict[str, Any]:
    """Delete the Job without its pod, which is returned."""
    (pod,) = run.pods
    name = (run.job or {})["metadata"]["name"]
    cluster.batch.delete_namespaced_job(name, namespace, propagation_policy="Orphan")
    return pod


def test_the_report_of_an_orphan_ends_the_job_without_a_second_trainer(start, cluster, namespace):
    run = start("orphan", budget={"timeLeftSeconds": 30})
    run.reach_search()
    pod = orphan(cluster, namespace, run)
    run.eventually(
        lambda: pod["metadata"]["name"] in run.condition("Ready").get("message", ""), "it is not named", 30
    )
    assert run.job is None
    run.reach("Succeeded")
    assert run.outcomes == ["Succeeded"]
    assert len(run.pods) == 1


def test_a_suspension_deletes_an_orphan(start, cluster, namespace):
    run = start("orphan-suspended", budget=LONG)
    run.reach_search()
    orphan(cluster, namespace, run)
    run.suspend()
    run.eventually(lambda: not run.pods and run.phase == "Suspended", "the orphan stays", 120)


def test_a_deleted_job_takes_its_orphan_along(start, cluster, namespace):
    run = start("orphan-deleted", budget=LONG)
    run.reach_search()
    orphan(cluster, namespace, run)
    run.delete()
    run.gone()


@pytest.mark.parametrize("kind", ["role", "role_binding"])
def test_the_operator_recreates_access_that_is_deleted_in_mid_run(start, cluster, namespace, kind):
    run = start(f"no-{kind.replace('_', '-')}", budget=LONG)
    run.reach_search()
    delete = getattr(cluster.rbac, f"delete_namespaced_{kind}")
    listing = getattr(cluster.rbac, f"list_namespaced_{kind}")
    selector = f"automl.trainingjob.dev/job-uid={run.uid}"
    (found,) = listing(namespace, label_selector=selector).items
    delete(found.metadata.name, namespace)
    run.eventually(
        lambda: listing(namespace, label_selector=selector).items, "it is not made again", SILENT_SECONDS
    )
    run.reach("Succeeded")
    assert run.status["attempts"] == 1


def test_the_operator_recreates_a_report_that_is_deleted_at_the_end(start, cluster, namespace, operator):
    run = start("no-report")
    run.reach("Searching", START_SECONDS)
    with operator.down():
        run.eventually(
            lambda: (run.job or {}).get("status", {}).get("succeeded"), "the trainer does not end", 240
        )
        selector = f"automl.trainingjob.dev/job-uid={run.uid}"
        found = cluster.core.list_namespaced_config_map(namespace, label_selector=selector).items
        (report,) = [item for item in found if item.metadata.name.endswith("-report")]
        cluster.core.delete_namespaced_config_map(report.metadata.name, namespace)
    run.reach("Succeeded", 240)
    assert run.outcomes == ["Succeeded", "Succeeded"]


def test_a_trainer_that_is_killed_for_its_memory_names_the_limit(start):
    run = start(
        "starved",
        backoffLimit=0,
        trainer={"resources": {"requests": {"memory": "100Mi"}, "limits": {"memory": "150Mi"}}},
    )
    run.reach("Failed", 300)
    message = run.condition("Failed")["message"]
    assert "OutOfMemory" in message
    assert "spec.trainer.resources.limits.memory" in message
