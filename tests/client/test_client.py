from collections.abc import Mapping
from typing import Any

import pytest

from trainingjob_api import Phase, Reason, parse_job
from trainingjob_client import InvalidRequest, Job, JobFailed, JobLog, TrainingJobClient

JOB = parse_job(
    {
        "apiVersion": "automl.trainingjob.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": "churn", "labels": {"team": "a"}, "uid": "0" * 8, "resourceVersion": "7"},
        "spec": {"dataset": {"uri": "sample://iris"}, "targetColumn": "target"},
    }
)


def failed(reason: str) -> dict[str, Any]:
    condition = {
        "type": "Failed",
        "status": "True",
        "reason": reason,
        "message": "no column 'y'",
        "lastTransitionTime": "2026-11-24T00:00:00Z",
    }
    return {"phase": "Failed", "conditions": [condition]}


class FakeBackend:
    """A backend whose one job goes through the given statuses."""

    namespace = "ml"

    def __init__(self, *statuses: Mapping[str, Any]) -> None:
        self.statuses = list(statuses)
        self.calls: list[tuple[str, Any]] = []

    def create(self, manifest: Mapping[str, Any]) -> Mapping[str, Any]:
        self.calls.append(("create", manifest))
        return {**manifest, "metadata": {**manifest["metadata"], "uid": "u", "namespace": "ml"}}

    def get(self, name: str) -> Mapping[str, Any]:
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        return {"metadata": {"name": name, "uid": "u"}, "status": status}

    def list(self) -> list[Mapping[str, Any]]:
        return [{"metadata": {"name": name}} for name in ("b", "a")]

    def delete(self, name: str) -> None:
        self.calls.append(("delete", name))

    def logs(self, name: str, *, follow: bool) -> JobLog:
        return JobLog(f"{name}-pod", iter(["a line"] if follow else []))


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def __call__(self) -> float:
        return self.now


def client(*statuses: Mapping[str, Any]) -> TrainingJobClient:
    clock = Clock()
    return TrainingJobClient(FakeBackend(*statuses), poll_seconds=2.0, sleep=clock.sleep, clock=clock)


def test_what_is_created_holds_the_spec_and_nothing_that_a_server_owns() -> None:
    backend = FakeBackend({})
    made = TrainingJobClient(backend).create(JOB)
    ((_, manifest),) = backend.calls
    assert manifest["metadata"] == {"name": "churn", "labels": {"team": "a"}}
    assert set(manifest) == {"apiVersion", "kind", "metadata", "spec"}
    assert (manifest["apiVersion"], manifest["kind"]) == ("automl.trainingjob.dev/v1alpha1", "TrainingJob")
    assert manifest["spec"] == {"dataset": {"uri": "sample://iris"}, "targetColumn": "target"}
    assert (made.name, made.namespace, made.uid, made.status.phase) == ("churn", "ml", "u", None)


def test_a_watch_yields_each_change_and_ends_with_the_job() -> None:
    statuses = ({}, {"phase": "Searching"}, {"phase": "Searching"}, {"phase": "Succeeded"})
    phases = [job.status.phase for job in client(*statuses).watch("churn")]
    assert phases == [None, Phase.SEARCHING, Phase.SUCCEEDED]


def test_a_finished_job_is_seen_once() -> None:
    (job,) = client({"phase": "Succeeded"}).watch("churn")
    assert job.is_finished


def test_a_wait_returns_the_job_that_succeeded() -> None:
    assert client({}, {"phase": "Succeeded"}).wait("churn").status.phase is Phase.SUCCEEDED


@pytest.mark.parametrize(
    ("status", "reason", "message"),
    [
        (failed("TargetColumnMissing"), Reason.TARGET_COLUMN_MISSING, "no column 'y'"),
        (failed("OfANewerOperator"), Reason.FAILED, "OfANewerOperator: no column 'y'"),
        ({"phase": "Failed"}, Reason.FAILED, "the job failed and its status has no reason"),
    ],
)
def test_a_wait_raises_why_the_job_failed(status: Mapping[str, Any], reason: Reason, message: str) -> None:
    with pytest.raises(JobFailed) as caught:
        client({}, status).wait("churn")
    assert (caught.value.reason, caught.value.message) == (reason, message)


def test_a_wait_ends_after_its_time() -> None:
    with pytest.raises(TimeoutError, match="'churn' has not ended within 5 s"):
        client({"phase": "Searching"}).wait("churn", timeout_seconds=5)


def test_fields_of_a_newer_contract_are_ignored() -> None:
    job = Job({"metadata": {"name": "a"}, "spec": {"new": 1}, "status": {"phase": "Pending", "new": 1}})
    assert job.status.phase is Phase.PENDING
    assert not job.is_finished


def test_jobs_are_listed_by_name_and_logs_and_deletions_reach_the_backend() -> None:
    backend = FakeBackend({})
    jobs = TrainingJobClient(backend)
    assert [job.name for job in jobs.list()] == ["a", "b"]
    assert (jobs.logs("a", follow=True).source, list(jobs.logs("a", follow=True))) == ("a-pod", ["a line"])
    jobs.delete("a")
    assert backend.calls == [("delete", "a")]


def test_an_error_has_a_reason_and_a_message() -> None:
    error = InvalidRequest(Reason.NOT_FOUND, "no job 'x'")
    assert (error.reason, error.message, str(error)) == ("NotFound", "no job 'x'", "no job 'x'")
