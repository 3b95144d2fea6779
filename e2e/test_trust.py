"""Forged ConfigMaps change neither a run nor its status; a job with a used name is a new job."""

import json

from e2e.kit.jobs import START_SECONDS, Run

LONG = {"timeLeftSeconds": 45}


def config_map(cluster, namespace, run, ending):
    """Return the ConfigMap of a run whose name has that ending."""
    found = cluster.core.list_namespaced_config_map(
        namespace, label_selector=f"automl.trainingjob.dev/job-uid={run.uid}"
    )
    (config,) = [item for item in cluster.plain(found)["items"] if item["metadata"]["name"].endswith(ending)]
    return config


def test_a_job_that_replaces_a_running_job_runs_its_own_spec(start, cluster, namespace, bucket):
    old = start("replaced", budget=LONG)
    old.reach_search()
    old.delete()
    new = start("replaced", budget={"timeLeftSeconds": 20, "populationSize": 6}, randomState=7)
    status = new.reach("Succeeded")
    assert status["progress"]["populationSize"] == 6
    assert new.uid != old.uid
    assert status["attempts"] == 1
    assert all(new.folder in artifact["uri"] for artifact in status["artifacts"])
    assert bucket.get(f"{old.folder}manifest.json") is None, "the old run published nothing"


def test_a_forged_run_is_never_run(start, cluster, namespace):
    run = start("forged-run", budget=LONG)
    run.reach_search()
    [pod] = run.pods
    there = config_map(cluster, namespace, run, "-run")
    name = there["metadata"]["name"]
    spec = json.loads(there["data"]["run.json"])
    spec["output"]["uri"] = "s3://elsewhere/models"
    forged = {
        "metadata": {
            key: there["metadata"][key] for key in ("name", "labels", "annotations", "ownerReferences")
        },
        "immutable": True,
        "data": there["data"] | {"run.json": json.dumps(spec)},
    }
    cluster.core.delete_namespaced_config_map(name, namespace)
    cluster.core.create_namespaced_config_map(namespace, forged)
    cluster.core.delete_namespaced_pod(pod["metadata"]["name"], namespace)
    run.eventually(
        lambda: run.condition("Ready").get("reason") in {"PlanChanged", "RunRefused"},
        "the status does not say that the run is forged",
        START_SECONDS,
    )
    cluster.core.delete_namespaced_config_map(name, namespace)
    status = run.reach("Succeeded", 400)
    assert all("elsewhere" not in artifact["uri"] for artifact in status["artifacts"])


def test_a_forged_report_changes_nothing(start, cluster, namespace, bucket):
    run: Run = start("forged-report", budget=LONG)
    run.reach_search()
    name = config_map(cluster, namespace, run, "-report")["metadata"]["name"]
    written = config_map(cluster, namespace, run, "-report")["data"]
    report = json.loads(written["report.json"])
    report |= {
        "final": True,
        "stage": "Finished",
        "sequence": report["sequence"] + 1000,
        "modelSource": "tpot",
    }
    cluster.core.patch_namespaced_config_map(name, namespace, {"data": {"report.json": json.dumps(report)}})
    run.eventually(
        lambda: any(event["reason"] == "ReportRefused" for event in cluster.events(namespace, run.uid)),
        "no event says that a report was refused",
        60,
    )
    assert run.phase == "Searching"
    # The trainer's next report replaces it and is accepted.
    status = run.reach("Succeeded")
    assert status["artifacts"]
    assert status["attempts"] == 1
