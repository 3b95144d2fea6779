"""The promotion gate counts TrainingJobs."""

import os
import stat

import pytest

from promotion_gate.evidence import Evidence, GateError
from promotion_gate.jobs import evidence, list_jobs, read_jobs
from support.gate import NOW, WINDOW, job, overrun


def test_a_job_counts_for_the_operator_class_that_handles_it():
    jobs = [job(), job(operator_class="stable"), job(operator_class="canary"), job(operator_class="other")]
    assert evidence(jobs, "canary", now=NOW, window=WINDOW).ended == 1
    assert evidence(jobs, "stable", now=NOW, window=WINDOW).ended == 2


def test_jobs_are_counted_by_their_outcome():
    steps = [{"from": "dask", "to": "local"}, {"from": "local", "to": "baseline"}]
    jobs = [
        job(),
        job(ended=1.9, phase="Failed"),
        job(ended=2.1, phase="Failed"),
        job(phase="Searching"),
        job(fallbacks=steps),
        job(**overrun(105)),
        job(**overrun(105.1)),
        job(**overrun(24, budget=20)),
    ]
    found = evidence(jobs, "stable", now=NOW, window=WINDOW)
    assert found == Evidence(ended=6, failed=1, fallbacks=1, overruns=1, unhandled=0)


def test_the_two_sides_of_a_share_are_counted_separately():
    sides = [{"resolved": {"automlEnabled": True}}, {"resolved": {"automlEnabled": False}}, {}]
    jobs = [job(**side) for side in sides] + [job(phase="Failed", **sides[0])]
    searching = evidence(jobs, "stable", searches=True, now=NOW, window=WINDOW)
    baseline = evidence(jobs, "stable", searches=False, now=NOW, window=WINDOW)
    assert (searching.ended, searching.failed) == (2, 1)
    assert (baseline.ended, baseline.failed) == (1, 0)


def test_a_job_that_no_operator_has_seen_counts_after_ten_minutes():
    fresh, old = job(age=0.16), job(age=0.17)
    for raw in (fresh, old):
        del raw["status"]
    assert evidence([fresh], "stable", now=NOW, window=WINDOW).unhandled == 0
    assert evidence([old], "stable", now=NOW, window=WINDOW).unhandled == 1


def test_overruns_and_fallbacks_are_counted_as_the_operator_counts_them():
    from trainingjob_api import TrainingJobStatus
    from trainingjob_operator import telemetry

    steps = [
        {"from": "dask", "to": "local", "reason": "SchedulerLost", "time": "2026-11-01T11:00:00Z"},
        {"from": "local", "to": "baseline", "reason": "NoPipelineFitted", "time": "2026-11-01T11:00:00Z"},
    ]
    for spent in (100, 104, 105, 106, 200):
        raw = job(**overrun(spent), fallbacks=steps)
        del raw["status"]["conditions"]
        registry = telemetry.CollectorRegistry()
        counted = telemetry.Metrics(registry)
        counted.changed(TrainingJobStatus(), TrainingJobStatus.model_validate(raw["status"]))
        found = evidence([raw], "stable", now=NOW, window=WINDOW)
        assert found.overruns == registry.get_sample_value("training_budget_overruns_total")
        assert found.fallbacks == registry.get_sample_value(
            "tpot_parallel_fallbacks_total", {"reason": "SchedulerLost"}
        )
        assert (
            registry.get_sample_value("training_jobs_finished_total", {"phase": "Succeeded"}) == found.ended
        )


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"items": [{"kind": "Pod", "metadata": {"uid": "u"}}]}', '{"items": [7]}']
)
def test_a_list_of_another_kind_is_rejected(text):
    with pytest.raises(GateError, match="--jobs"):
        read_jobs(text)


@pytest.fixture
def kubectl(tmp_path, monkeypatch):
    """Return a function that puts a program named kubectl on the path."""

    def put(script):
        program = tmp_path / "kubectl"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    return put


def test_kubectl_lists_all_namespaces(kubectl, tmp_path):
    kubectl(f'echo "$@" > {tmp_path}/asked; echo \'{{"items": []}}\'')
    assert list_jobs("/kube/config", "prod") == []
    assert (tmp_path / "asked").read_text().split() == [
        "--kubeconfig=/kube/config",
        "--context=prod",
        "get",
        "trainingjobs.automl.trainingjob.dev",
        "--all-namespaces",
        "--output=json",
    ]


def test_the_error_of_kubectl_is_shown(kubectl):
    kubectl("echo 'error: You must be logged in' >&2; exit 1")
    with pytest.raises(GateError, match="You must be logged in"):
        list_jobs(None, None)


def test_without_kubectl_the_message_names_an_alternative(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GateError, match="--jobs FILE"):
        list_jobs(None, None)
