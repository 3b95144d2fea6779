from collections.abc import Iterator
from typing import Any

import pytest

from support.fake_run import Front
from trainingjob_trainer.cli import following
from trainingjob_trainer.errors import SpecInvalid

UID = "0123"


class FakeCluster:
    """A cluster whose job goes through the given statuses, one at each look."""

    namespace = "ml"

    def __init__(self, *statuses: dict[str, Any]) -> None:
        self.statuses = list(statuses)
        self.created: list[tuple[str, dict[str, Any]]] = []
        self.pod_names: list[str] = ["churn-a", "churn-b"]

    def create(self, name: str, spec: dict[str, Any]) -> dict[str, Any]:
        self.created.append((name, spec))
        return {"metadata": {"name": name, "uid": UID}}

    def get(self, name: str) -> dict[str, Any]:
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        return {"metadata": {"name": name, "uid": UID}, "status": status}

    def pods(self, uid: str) -> list[str]:
        assert uid == UID
        return self.pod_names

    def log(self, pod: str, *, follow: bool) -> Iterator[str]:
        yield f"{pod} {'follows' if follow else 'ends'}"


SEARCHING = {"phase": "Searching", "progress": {"generation": 1, "generations": 5, "evaluated": 12}}
SUCCEEDED = {
    "phase": "Succeeded",
    "artifacts": [
        {"name": "model.joblib", "uri": "s3://models/churn/model.joblib", "sha256": "0" * 64, "sizeBytes": 3}
    ],
}
FAILED = {
    "phase": "Failed",
    "conditions": [
        {
            "type": "Failed",
            "status": "True",
            "reason": "TargetColumnMissing",
            "message": "there is no column 'y'",
            "lastTransitionTime": "2026-11-24T00:00:00Z",
        }
    ],
}


@pytest.fixture
def cluster(front: Front, monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    one = FakeCluster({}, SEARCHING, SEARCHING, SUCCEEDED)
    front.services["connect"] = lambda _context, _namespace: one
    monkeypatch.setattr(following, "_POLL_SECONDS", 0.0)
    return one


def test_submit_creates_what_the_file_says(front: Front, cluster: FakeCluster) -> None:
    result = front("submit", "job.yaml", "--set", "spec.budget.timeLeftSeconds=30")
    assert result.exit_code == 0, result.stderr
    ((name, spec),) = cluster.created
    assert name == "churn"
    assert spec["budget"]["timeLeftSeconds"] == 30
    assert "churn created in namespace ml" in result.stdout


def test_watch_tells_each_change_once_and_ends_with_the_job(front: Front, cluster: FakeCluster) -> None:
    result = front("watch", "churn")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines() == [
        "waiting for the operator",
        "Searching, generation 1/5, 12 evaluated",
        "Succeeded",
        "  model.joblib: s3://models/churn/model.joblib",
    ]


def test_a_failed_job_says_why_and_has_its_exit_status(front: Front, cluster: FakeCluster) -> None:
    cluster.statuses = [FAILED]
    result = front("submit", "job.yaml", "--watch")
    assert result.exit_code == 1
    assert "there is no column 'y'" in result.stderr
    assert "reason: TargetColumnMissing" in result.stderr


def test_logs_are_those_of_the_newest_pod(front: Front, cluster: FakeCluster) -> None:
    assert front("logs", "churn").stdout == "churn-b ends\n"
    assert front("logs", "churn", "--follow").stdout == "churn-b follows\n"


def test_a_job_without_a_pod_has_no_log(front: Front, cluster: FakeCluster) -> None:
    cluster.pod_names = []
    result = front("logs", "churn")
    assert result.exit_code == 1
    assert "has no pod" in result.stderr


def test_a_cluster_that_refuses_is_quoted(front: Front) -> None:
    def connect(_context: str | None, _namespace: str | None) -> Any:
        raise SpecInvalid("KubeconfigInvalid", "no cluster: no configuration found; set KUBECONFIG")

    front.services["connect"] = connect
    result = front("watch", "churn")
    assert result.exit_code == 2
    assert "set KUBECONFIG" in result.stderr
