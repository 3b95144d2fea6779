"""The longest names that Kubernetes allows, and columns in any script, from the resource to the model."""

import io

import joblib
from e2e.kit.jobs import START_SECONDS
from sklearn.datasets import load_breast_cancer

NAME = f"{'long.name.' * 25}end"
COLUMNS = ["größe in µm", "年齢", 'naïve, "quoted"', "Ωmega 🙂", "ﻻ عمر", "x' OR 1=1; --"]
TARGET = "Ergebnis → 結果"
LABELS = {0: "bösartig ✗", 1: "gutartig ✓"}


def table():
    """Return a table with a pattern to learn, with unusual names."""
    data = load_breast_cancer(as_frame=True)
    found = data.data.iloc[:, : len(COLUMNS)].set_axis(COLUMNS, axis=1)
    return found.assign(**{TARGET: data.target.map(LABELS)})


def test_names_of_any_length_and_script_reach_the_model(start, cluster, bucket, namespace, tmp_path):
    assert len(NAME) == 253
    rows, path = table(), tmp_path / "table.csv"
    rows.to_csv(path, index=False)
    uri = bucket.put(f"{namespace}/Übersicht (März) 数据 🙂.csv", path)
    source = {"uri": uri, "endpoint": bucket.endpoint, "credentialsSecretRef": {"name": "bucket-keys"}}
    run = start(
        NAME,
        dataset=source,
        targetColumn=TARGET,
        positiveLabel=LABELS[0],
        featureTypes={COLUMNS[-1]: "ignore"},
        metric="f1",
        budget={"timeLeftSeconds": 15},
    )
    status = run.reach("Succeeded", START_SECONDS)

    assert status["resolved"]["targetColumn"] == TARGET
    assert status["resolved"]["positiveLabel"] == LABELS[0]
    assert float(status["best"]["holdoutScore"]) > 0.8
    assert run.conditions()["Ready"] == ("True", "Succeeded")
    assert cluster.row(namespace, NAME)["Name"] == NAME
    children = cluster.children(namespace, run.uid)
    assert len(children) >= 5
    assert all(len(child.partition("/")[2]) <= 63 for child in children if not child.startswith("Pod/"))
    assert {"Searching", "Succeeded"} <= {event["reason"] for event in cluster.events(namespace, run.uid)}

    latest = bucket.document(run.latest)
    assert latest["job"]["name"] == NAME
    assert len(latest["folder"]) <= 255
    by_name = {artifact["name"]: artifact for artifact in status["artifacts"]}
    for artifact in status["artifacts"]:
        assert f"/{latest['folder']}/" in artifact["uri"]
        assert bucket.digest(artifact["uri"]) == artifact["sha256"], artifact["name"]
    folder = f"{run.latest.removesuffix(f'{NAME}/latest.json')}{latest['folder']}/"
    schema = bucket.document(f"{folder}input_schema.json")
    assert [column["name"] for column in schema["columns"]] == COLUMNS[:-1]
    model = joblib.load(io.BytesIO(bucket.get(f"{folder}{by_name['model.joblib']['name']}")))
    said = model.predict(rows[COLUMNS])
    assert (said == rows[TARGET]).mean() > 0.8
