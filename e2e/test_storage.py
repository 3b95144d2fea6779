"""Storage that is unavailable for a time."""

import pytest


def test_a_model_is_published_when_the_storage_is_back(start, bucket):
    if bucket.server is None:
        pytest.skip("the S3 server is not the tests' own to stop")
    run = start("storage", budget={"timeLeftSeconds": 30}, backoffLimit=6)
    run.reach_search()
    before = len(run.journal())
    bucket.server.stop()
    try:
        run.eventually(
            lambda: run.condition("ArtifactsUploaded").get("reason") in {"UploadFailed", "Uploading"},
            "no condition says that the upload fails",
            240,
        )
        assert run.phase not in {"Succeeded", "Failed"}
    finally:
        bucket.server.start()
    status = run.reach("Succeeded", 400)
    # Nothing was searched again: the pod that had the artifacts waited with them.
    assert status["attempts"] == 1
    assert len(run.pods) == 1
    assert run.conditions()["ArtifactsUploaded"] == ("True", "Uploaded")
    assert bucket.document(f"{run.folder}evaluation_summary.json")["evaluations"]["total"] >= before - 1
    for artifact in status["artifacts"]:
        assert bucket.digest(artifact["uri"]) == artifact["sha256"]
