"""Texts of any length and script pass through the operator complete, or shortened with a mark."""

import json

import pytest

from support.fake_kubernetes import Cluster, Operation
from trainingjob_api import TrainingJobStatus, shorten
from trainingjob_api.status import MAX_STATUS_BYTES
from trainingjob_operator.children import Child

URI = "s3://data/Tabelle ü/目標 🙂/" + "長" * 900 + ".csv"
PIPELINE = "🙂" * 299 + "…"


def all_texts(value):
    if isinstance(value, dict):
        for part in value.values():
            yield from all_texts(part)
    elif isinstance(value, list):
        for part in value:
            yield from all_texts(part)
    elif isinstance(value, str):
        yield value


@pytest.mark.parametrize(
    "name", ["x" * 253, ".".join(["a" * 60] * 4), "churn.v1"], ids=["long", "dots", "dot"]
)
def test_names_in_any_script_work_for_a_whole_job(store, name):
    cluster, operation = Cluster(store, name), Operation(store, name=name)
    cluster.submit(
        targetColumn="Gewünscht ✓ 目標", dataset={"uri": URI}, featureTypes={"Größe 🙂": "numeric"}
    )
    operation.settle()
    run = json.loads(cluster.child(Child.RUN)["data"]["run.json"])
    assert (run["name"], run["dataset"]["uri"]) == (name, URI)
    assert run["featureTypes"] == {"Größe 🙂": "numeric"}
    cluster.run_pod()
    cluster.report_progress(1)
    operation.settle()
    operation.end_in_success(cluster)
    assert cluster.status["phase"] == "Succeeded"
    assert cluster.status["resolved"]["targetColumn"] == "Gewünscht ✓ 目標"
    assert all(event["involvedObject"]["name"] == name for event in cluster.events())
    free = {"trainingjobs", "events", "pods"}
    assert all(len(made) <= 63 for plural, _, made in store.objects if plural not in free)


def test_huge_pipelines_are_not_cut_in_the_status(cluster, operation):
    cluster.submit()
    operation.settle()
    cluster.run_pod()
    board = [{"rank": rank, "pipeline": PIPELINE, "score": "0.9", "key": "k" * 64} for rank in range(1, 41)]
    front = [{"pipeline": PIPELINE, "score": "0.9", "complexity": "1"} for _ in range(20)]
    cluster.report_progress(1, leaderboard=board, paretoFront=front, best={"pipeline": PIPELINE})
    operation.settle()
    status = cluster.status
    assert not cluster.events("ReportRefused")
    assert status["best"]["pipeline"] == PIPELINE
    assert [row["rank"] for row in status["leaderboard"]] == list(range(1, 11))
    assert {row["pipeline"] for row in (*status["leaderboard"], *status["paretoFront"])} == {PIPELINE}
    text = TrainingJobStatus.model_validate(status).model_dump_json(by_alias=True, exclude_none=True)
    assert len(text.encode()) < MAX_STATUS_BYTES


def test_a_pipeline_beyond_the_limit_is_rejected_with_a_message(cluster, operation):
    cluster.submit()
    operation.settle()
    cluster.run_pod()
    cluster.report_progress(1, best={"pipeline": "x" * 301})
    operation.settle()
    assert "best" not in cluster.status
    assert "best.pipeline" in cluster.events("ReportRefused")[0]["message"]


def test_shortened_texts_end_with_an_ellipsis(cluster, operation):
    """Nothing in status and events is the beginning of a longer text without saying so."""
    cluster.submit(backoffLimit=0)
    operation.settle()
    cluster.run_pod()
    cluster.report_failure("UploadFailed", "é" * 1024)
    operation.settle()
    cluster.end_pod(1, message="z" * 4096)
    operation.settle()
    cluster.job_status(failed=1)
    cluster.end_job("Failed", "BackoffLimitExceeded", "q" * 3000)
    operation.settle()
    assert cluster.status["phase"] == "Failed"
    texts = {*all_texts(cluster.status), *(event["message"] for event in cluster.events())}
    for text in texts:
        for letter in "ézq":
            run = text[len(text.rstrip(letter)) :]
            assert len(run) < 50, f"{text[:60]!r} ends in the middle of a longer text"
    assert any("é…" in text for text in texts)


def test_a_shortened_answer_of_the_api_server_is_marked(store, cluster):
    from support.fake_kubernetes import Fault

    operation = Operation(store, Fault(403, method="POST", plural="jobs", times=99, message="w" * 2000))
    cluster.submit()
    operation.settle()
    assert cluster.condition("Ready")["message"].endswith("w…")


@pytest.mark.parametrize(
    ("text", "limit", "found"),
    [("abc", 3, "abc"), ("abcd", 3, "ab…"), ("a  bcd", 4, "a…"), ("", 3, ""), ("目標目標", 3, "目標…")],
)
def test_shorten(text, limit, found):
    assert shorten(text, limit) == found
