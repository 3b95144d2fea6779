import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from support.fake_run import Front
from trainingjob_api import Reason
from trainingjob_client import InvalidRequest, JobLog, ServiceUnavailable, TrainingJobClient

UID = "0123"


class FakeCluster:
    """A cluster whose job goes through the given statuses, one at each look."""

    namespace = "ml"

    def __init__(self, *statuses: dict[str, Any]) -> None:
        self.statuses = list(statuses)
        self.created: list[Mapping[str, Any]] = []
        self.pod_names: list[str] = ["churn-a", "churn-b"]

    def create(self, manifest: Mapping[str, Any]) -> Mapping[str, Any]:
        self.created.append(manifest)
        return {**manifest, "metadata": {**manifest["metadata"], "uid": UID}}

    def get(self, name: str) -> Mapping[str, Any]:
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        return {"metadata": {"name": name, "uid": UID}, "status": status}

    def list(self) -> list[Mapping[str, Any]]:
        return []

    def delete(self, name: str) -> None:
        pass

    def logs(self, name: str, *, follow: bool) -> JobLog:
        if not self.pod_names:
            raise ServiceUnavailable(Reason.NO_POD, f"{name!r} has no pod")
        return JobLog(self.pod_names[-1], self._lines(follow=follow))

    def _lines(self, *, follow: bool) -> Iterator[str]:
        yield f"{self.pod_names[-1]} {'follows' if follow else 'ends'}"


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
def cluster(front: Front) -> FakeCluster:
    one = FakeCluster({}, SEARCHING, SEARCHING, SUCCEEDED)
    front.dependencies["connect"] = lambda _context, _namespace: TrainingJobClient(one, poll_seconds=0)
    return one


def test_submit_creates_the_job_of_the_file(front: Front, cluster: FakeCluster) -> None:
    result = front("submit", "job.yaml", "--set", "spec.budget.timeLeftSeconds=30")
    assert result.exit_code == 0, result.stderr
    (manifest,) = cluster.created
    assert manifest["metadata"]["name"] == "churn"
    assert manifest["spec"]["budget"]["timeLeftSeconds"] == 30
    assert "churn created in namespace ml" in result.stdout


def test_watch_prints_each_change_once_and_ends_with_the_job(front: Front, cluster: FakeCluster) -> None:
    result = front("watch", "churn")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines() == [
        "waiting for the operator",
        "Searching, generation 1/5, 12 evaluated",
        "Succeeded",
        "  model.joblib: s3://models/churn/model.joblib",
    ]


def test_the_documents_name_job_and_namespace(front: Front, cluster: FakeCluster) -> None:
    submitted = json.loads(front("submit", "job.yaml", "--json").stdout)
    assert (submitted["command"], submitted["ok"]) == ("submit", True)
    assert (submitted["name"], submitted["namespace"], submitted["uid"]) == ("churn", "ml", UID)
    watched = json.loads(front("watch", "churn", "--json").stdout)
    assert (watched["namespace"], watched["status"]) == ("ml", SUCCEEDED)
    logged = json.loads(front("logs", "churn", "--json").stdout)
    assert (logged["name"], logged["pod"]) == ("churn", "churn-b")


def test_a_failed_job_prints_its_cause_and_sets_the_exit_status(front: Front, cluster: FakeCluster) -> None:
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


def test_the_rejection_of_a_cluster_is_quoted(front: Front) -> None:
    def connect(_context: str | None, _namespace: str | None) -> Any:
        raise InvalidRequest(Reason.KUBECONFIG_INVALID, "no cluster: no configuration found; set KUBECONFIG")

    front.dependencies["connect"] = connect
    result = front("watch", "churn")
    assert result.exit_code == 2
    assert "set KUBECONFIG" in result.stderr
