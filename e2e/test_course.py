"""A job without trouble: from the resource to a verified model and a readable status."""

import csv
import re

from e2e.kit.jobs import QUICK, START_SECONDS
from sklearn.datasets import load_breast_cancer

CHILDREN = [r"ConfigMap/{}-[0-9a-f]{{8}}-report", r"ConfigMap/{}-[0-9a-f]{{8}}-run", "Job/{}-trainer"]
CHILDREN += ["ServiceAccount/{}-trainer"]
ARTIFACTS = {
    "model.joblib",
    "leaderboard.json",
    "tp_pareto_front.json",
    "evaluation_summary.json",
    "pipeline.py",
    "input_schema.json",
    "report.html",
    "requirements.txt",
}


def upload_table(bucket, namespace, folder):
    """Put a table with words for labels into the bucket and return its address."""
    data = load_breast_cancer(as_frame=True)
    table = data.frame.assign(target=data.frame["target"].map({0: "malignant", 1: "benign"}))
    path = folder / "table.csv"
    table.to_csv(path, index=False, quoting=csv.QUOTE_MINIMAL)
    return bucket.put(f"{namespace}/table.csv", path)


def test_a_local_job_leaves_a_verified_model(start, cluster, bucket, namespace, tmp_path):
    uri = upload_table(bucket, namespace, tmp_path)
    source = {"uri": uri, "endpoint": bucket.endpoint, "credentialsSecretRef": {"name": "bucket-keys"}}
    run = start("local", dataset=source, parallelMode="local", acceptance={"minScore": 0.5})
    first = run.eventually(lambda: run.status.get("conditions"), "no conditions", 30)
    assert {condition["type"] for condition in first} >= {"Ready", "Reconciling"}

    status = run.reach("Succeeded")

    assert status["observedGeneration"] == 1
    assert status["backend"] == "local"
    assert status["modelSource"] in {"tpot", "baseline"}
    assert status["attempts"] == 1
    assert run.outcomes == ["Succeeded"]
    assert status["startTime"] <= status["completionTime"]
    assert status["resolved"]["task"] == "classification"
    assert status["resolved"]["metric"] == "accuracy"
    assert float(status["best"]["score"]) > 0.9
    assert float(status["best"]["holdoutScore"]) > 0.85
    assert [row["rank"] for row in status["leaderboard"]] == [*range(1, len(status["leaderboard"]) + 1)]
    assert status["paretoFront"]
    assert status["progress"]["elapsedSeconds"] <= QUICK["budget"]["timeLeftSeconds"] * 1.05 + 5
    assert "fallbacks" not in status

    said = run.conditions()
    assert said["Ready"] == ("True", "Succeeded")
    assert said["Complete"] == ("True", "Succeeded")
    assert said["AcceptanceMet"] == ("True", "Accepted")
    assert said["ArtifactsUploaded"] == ("True", "Uploaded")
    assert said["DaskReady"] == ("False", "NotRequested")
    for kind in ("Failed", "Reconciling", "Stalled", "Suspended", "Degraded"):
        assert said[kind][0] == "False", kind

    assert {artifact["name"] for artifact in status["artifacts"]} >= ARTIFACTS
    for artifact in status["artifacts"]:
        assert bucket.digest(artifact["uri"]) == artifact["sha256"], artifact["name"]
    manifest = bucket.document(f"{run.folder}manifest.json")
    assert {artifact["name"] for artifact in manifest["artifacts"]} >= ARTIFACTS
    assert bucket.document(run.latest)["folder"] == f"local-{run.uid[:8]}"
    assert not [key for key in bucket.keys(run.folder) if key.startswith(".state/")]

    row = cluster.row(namespace, "local")
    assert row["Name"] == "local"
    assert row["Phase"] == "Succeeded"
    assert row["Backend"] == "local"
    assert row["Model"] == status["modelSource"]
    assert row["Best"] == status["best"]["score"]
    assert row["Accepted"] == "True"
    assert row["Reason"] == "Succeeded"
    assert row["Age"]

    there = cluster.children(namespace, run.uid)
    for pattern in CHILDREN:
        assert any(re.fullmatch(pattern.format("local"), name) for name in there), (pattern, there)
    reasons = {event["reason"] for event in cluster.events(namespace, run.uid)}
    assert {"Searching", "Succeeded"} <= reasons
    assert len(run.pods) == 1
    restarts = [container["restartCount"] for container in run.pods[0]["status"]["containerStatuses"]]
    assert restarts == [0]


def test_a_job_without_automl_takes_seconds(start):
    run = start("baseline", automl={"enabled": False}, budget=None)
    status = run.reach("Succeeded", START_SECONDS)
    assert status["modelSource"] == "baseline"
    assert status["best"]["holdoutScore"]
    assert run.conditions()["Ready"] == ("True", "Succeeded")
    assert run.conditions()["Degraded"][0] == "False"


def test_a_model_below_acceptance_is_kept_and_not_accepted(start):
    run = start("unmet", automl={"enabled": False}, budget=None, acceptance={"minScore": 1.0})
    run.reach("Succeeded", START_SECONDS)
    said = run.conditions()
    assert said["Ready"] == ("False", "BelowMinScore")
    assert said["Stalled"] == ("True", "BelowMinScore")
    assert said["Complete"][0] == "True"
    assert said["AcceptanceMet"] == ("False", "BelowMinScore")

    run.cluster.patch(run.namespace, run.name, {"acceptance": {"minScore": 0.5}})
    run.eventually(lambda: run.conditions()["Ready"][0] == "True", "acceptance is not judged again", 60)
    assert run.phase == "Succeeded"
