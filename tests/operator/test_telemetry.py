"""The log has one schema; what gauges and counters say of many jobs; readiness notices a watch that hangs."""

import asyncio
import io
import json
import logging
import re
import warnings
from datetime import UTC, datetime, timedelta

import kopf
import pytest
from prometheus_client import CollectorRegistry

from support.fake_kubernetes.client import Fault
from trainingjob_api import Best, Fallback, Phase, Progress, Resolved, TrainingJobStatus
from trainingjob_operator.children import Child
from trainingjob_operator.reconciler import JobKey
from trainingjob_operator.telemetry import WATCH_LAG_SECONDS, Health, Metrics, configure_logs, set_log_context
from trainingjob_operator.transport import ApiFault
from trainingjob_operator.workqueue import WorkQueue

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@pytest.fixture
def lines():
    """Read what the log has."""
    root, stream = logging.getLogger(), io.StringIO()
    before = root.handlers[:], root.level
    # Another test may have turned it on, and its own context of warnings has undone it since.
    logging.captureWarnings(capture=False)
    configure_logs(stream)
    set_log_context()
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.handlers[:], root.level = before
    logging.captureWarnings(capture=False)


def test_every_line_has_time_level_and_event(lines):
    logging.getLogger("kopf.activities").warning("a line\nof %s", "Kopf's")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("a warning", stacklevel=1)
    logging.getLogger("asyncio").error("it failed", exc_info=ValueError("why"))
    told = ("a line", "a warning", "it failed")
    found = [line for line in lines() if any(words in line["event"] for words in told)]
    assert [line["level"] for line in found] == ["warning", "warning", "error"]
    assert all(
        list(line)[:3] == ["time", "level", "event"] and TIME.fullmatch(line["time"]) for line in found
    )
    assert found[0]["event"] == "a line\nof Kopf's"
    assert "a warning" in found[1]["event"]
    assert "ValueError: why" in found[2]["traceback"]


def test_a_line_of_a_pass_names_job_uid_and_attempt(lines, cluster, operation):
    cluster.submit()
    operation.settle()
    cluster.run_pod()
    operation.settle()
    cluster.report(raw="nonsense")
    operation.settle()
    first, *_, refused = lines()
    uid = cluster.job["metadata"]["uid"]
    assert (first["event"], first["job"], first["uid"]) == ("phase changed", "team/churn", uid)
    assert (first["phase"], first["reason"]) == ("Pending", "CreatingResources")
    assert "attempt" not in first
    assert (refused["event"], refused["reason"], refused["attempt"]) == ("report rejected", "Malformed", 1)


def test_a_call_that_fails_is_named_with_method_path_and_code(lines, cluster, operation):
    operation.client.faults = [Fault(403, "POST", "events", times=9, message="not allowed")]
    cluster.submit()
    operation.settle()
    [refused, *_] = [line for line in lines() if line["event"] == "event refused"]
    assert (refused["method"], refused["code"]) == ("POST", 403)
    assert refused["path"] == "/api/v1/namespaces/team/events"
    assert refused["detail"] == "not allowed"


@pytest.mark.parametrize("orphan", [False, True], ids=["with its Job", "orphan"])
def test_a_child_that_is_rejected_while_a_trainer_runs_is_named(lines, cluster, operation, orphan):
    cluster.submit()
    operation.settle()
    cluster.run_pod()
    operation.settle()
    if orphan:
        cluster.orphan_pods()
    cluster.lose(Child.ROLE)
    operation.client.faults = [Fault(403, "POST", "roles", times=9, message="not allowed")]
    operation.settle()
    assert cluster.ready == ("False", "Searching"), "the run continues"
    [refused, *_] = [line for line in lines() if line["event"] == "child not created"]
    assert (refused["level"], refused["reason"]) == ("warning", "Forbidden")
    assert "the Role of this job: not allowed" in refused["detail"]


def test_a_pass_that_fails_is_named_with_its_call(lines, operation):
    queue = WorkQueue(operation.reconciler.reconcile, workers=1, metrics=operation.metrics)
    operation.client.faults = [Fault(500, "GET", "trainingjobs")]

    asyncio.run(queue._pass(operation.key))
    [line] = lines()
    assert (line["event"], line["job"], line["code"]) == ("pass failed", "team/churn", 500)
    assert line["path"].endswith("/trainingjobs/churn")


def test_a_log_line_of_kopf_about_a_job_has_the_keys_of_the_job(lines):
    reference = {"kind": "TrainingJob", "namespace": "team", "name": "churn", "uid": "u"}
    logger = logging.getLogger("kopf.objects")
    logger.warning("x", extra={"k8s_ref": reference, "settings": kopf.OperatorSettings()})
    logger.warning("x", extra={"k8s_ref": reference | {"kind": "Pod"}, "k8s_skip": True})
    job, pod = lines()
    assert (job["job"], job["uid"]) == ("team/churn", "u")
    assert pod["object"] == "Pod team/churn"
    assert "settings" not in job


def test_every_write_has_our_field_manager(cluster, operation):
    operation.run_to_success(cluster)
    managers = {
        method: {query.get("fieldManager") for verb, query in operation.client.queries if verb == method}
        for method in ("GET", "POST", "PATCH", "DELETE")
    }
    assert managers["POST"] == managers["PATCH"] == {"trainingjob-operator"}
    assert managers["GET"] == {None}


def test_a_fault_without_a_call_has_the_same_keys():
    assert ApiFault(0, "x").fields == {"method": "", "path": "", "code": 0, "detail": "x"}


NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)


@pytest.fixture
def metrics():
    return Metrics(CollectorRegistry())


def value(metrics, name, **labels):
    return metrics.registry.get_sample_value(name, labels)


def status(phase=Phase.SEARCHING, *, minutes=0, generation=1, score="0.5", **fields):
    time = NOW + timedelta(minutes=minutes)
    progress = Progress(generation=generation, population_size=32, best_score=score, updated_at=time)
    said = {
        "progress": progress,
        "resolved": Resolved(metric="f1", automl_enabled=True, time_left_seconds=60),
    }
    if phase.terminal:
        said |= {"start_time": NOW, "completion_time": time, "best": Best(pipeline="p", score=score)}
    return TrainingJobStatus(phase=phase, **said | fields)


def test_jobs_are_counted_by_phase_and_absent_phases_are_zero(metrics):
    metrics.seen("a", "n", "a", status())
    metrics.seen("b", "n", "b", status())
    metrics.seen("b", "n", "b", status(Phase.SUCCEEDED))
    assert value(metrics, "trainingjobs", phase="Searching") == 1
    assert value(metrics, "trainingjobs", phase="Succeeded") == 1
    assert value(metrics, "trainingjobs", phase="Failed") == 0
    metrics.gone("b")
    assert value(metrics, "trainingjobs", phase="Succeeded") == 0


def test_unlabelled_gauges_show_the_newest_job(metrics):
    metrics.seen("a", "n", "a", status(minutes=2, generation=7))
    metrics.seen("b", "n", "b", status(minutes=1, generation=3))
    assert value(metrics, "tp_generation") == 7
    assert value(metrics, "tp_population_size") == 32
    metrics.seen("c", "n", "c", status(Phase.SUCCEEDED, minutes=1, score="0.7"))
    metrics.seen("d", "n", "d", status(Phase.SUCCEEDED, minutes=2, score="0.6"))
    assert value(metrics, "training_best_score", metric="f1") == 0.6


def test_with_job_labels_each_job_has_its_own_gauges():
    metrics = Metrics(CollectorRegistry(), job_label=True)
    metrics.seen("a", "n", "a", status(generation=7))
    metrics.seen("b", "n", "b", status(generation=3))
    assert value(metrics, "tp_generation", namespace="n", job="a") == 7
    assert value(metrics, "tp_generation", namespace="n", job="b") == 3


def test_failures_in_a_row_end_with_the_first_tpot_model(metrics):
    for number, source in enumerate(["baseline", "tpot", "baseline", None]):
        phase = Phase.FAILED if source is None else Phase.SUCCEEDED
        metrics.seen(str(number), "n", str(number), status(phase, minutes=number, model_source=source))
    plain = Resolved(metric="f1", automl_enabled=False)
    metrics.seen("9", "n", "9", status(Phase.SUCCEEDED, minutes=9, model_source="baseline", resolved=plain))
    assert value(metrics, "tpot_consecutive_failures") == 2


def test_an_end_is_counted_once(metrics):
    end = status(Phase.SUCCEEDED, minutes=2, model_source="tpot")
    metrics.changed(status(), end)
    metrics.changed(end, end)
    assert value(metrics, "training_duration_seconds_count", mode="tpot") == 1
    assert value(metrics, "training_duration_seconds_sum", mode="tpot") == 120
    assert value(metrics, "training_jobs_finished_total", phase="Succeeded") == 1


@pytest.mark.parametrize(("elapsed", "overruns"), [(60, 0), (65, 0), (66, 1)])
def test_an_overrun_is_more_than_the_grace(metrics, elapsed, overruns):
    end = status(Phase.SUCCEEDED, minutes=2, progress=Progress(elapsed_seconds=elapsed))
    metrics.changed(status(), end)
    assert value(metrics, "training_budget_overruns_total") == overruns


def test_evaluations_are_counted_as_they_come_and_never_back(metrics):
    first = TrainingJobStatus(progress=Progress(evaluated=5, failed=1))
    second = TrainingJobStatus(progress=Progress(evaluated=9, failed=1, timed_out=2))
    metrics.changed(TrainingJobStatus(), first)
    metrics.changed(first, second)
    metrics.changed(second, first)
    assert value(metrics, "training_evaluations_total", outcome="ok") == 9
    assert value(metrics, "training_evaluations_total", outcome="failed") == 1
    assert value(metrics, "training_evaluations_total", outcome="timeout") == 2


@pytest.mark.parametrize(
    ("step", "counted"),
    [(("dask", "local"), 1), (("local", "none"), 1), (("tpot", "baseline"), None)],
    ids=str,
)
def test_fallbacks_from_parallel_evaluation_are_counted(metrics, step, counted):
    fallback = Fallback(from_=step[0], to=step[1], reason="Why", time=NOW)
    metrics.changed(TrainingJobStatus(), TrainingJobStatus(fallbacks=(fallback,)))
    assert value(metrics, "tpot_parallel_fallbacks_total", reason="Why") == counted


@pytest.mark.parametrize(("elapsed", "overruns"), [(1050, 0), (1051, 1)])
def test_the_grace_grows_with_the_budget(metrics, elapsed, overruns):
    resolved = Resolved(metric="f1", automl_enabled=True, time_left_seconds=1000)
    end = status(Phase.SUCCEEDED, minutes=2, progress=Progress(elapsed_seconds=elapsed), resolved=resolved)
    metrics.changed(status(), end)
    assert value(metrics, "training_budget_overruns_total") == overruns


def test_a_repeated_fallback_is_counted_once(metrics):
    first = Fallback(from_="dask", to="local", reason="SchedulerLost", time=NOW)
    second = Fallback(from_="local", to="none", reason="OutOfMemory", time=NOW)
    one, both = TrainingJobStatus(fallbacks=(first,)), TrainingJobStatus(fallbacks=(first, second))
    metrics.changed(TrainingJobStatus(), one)
    metrics.changed(one, both)
    metrics.changed(both, both)
    assert value(metrics, "tpot_parallel_fallbacks_total", reason="SchedulerLost") == 1
    assert value(metrics, "tpot_parallel_fallbacks_total", reason="OutOfMemory") == 1


def test_a_job_that_failed_has_no_duration(metrics):
    metrics.changed(status(), status(Phase.FAILED, minutes=2))
    assert value(metrics, "training_jobs_finished_total", phase="Failed") == 1
    assert not any(
        value(metrics, "training_duration_seconds_count", mode=mode) for mode in ("tpot", "baseline")
    )


A, B = JobKey("n", "a"), JobKey("n", "b")


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def health(clock):
    return Health(clock)


def test_the_operator_is_not_ready_before_the_first_list(health):
    assert not health.ready
    health.listed({})
    assert health.ready


def test_a_watch_that_delivers_the_objects_of_the_list_is_alive(health, clock):
    health.delivered(A, "5")
    health.listed({A: "5"})
    clock.now = 1000
    assert health.ready


def test_a_watch_that_delivers_nothing_is_stalled(health, clock):
    health.delivered(A, "5")
    clock.now = 10
    health.listed({A: "6", B: "7"})
    clock.now += WATCH_LAG_SECONDS
    assert health.ready
    clock.now += 1
    assert health.stalled()
    assert not health.ready
    health.delivered(A, "6")
    health.delivered(B, "7")
    assert health.ready


def test_a_single_lost_event_is_not_a_stall(health, clock):
    health.listed({A: "6"})
    clock.now = 50
    health.delivered(B, "9")
    clock.now = 1000
    assert health.ready


def test_a_watch_may_be_ahead_of_the_list(health, clock):
    health.delivered(A, "12")
    clock.now = 10
    health.listed({A: "9"})
    clock.now = 1000
    assert health.ready


def test_a_job_that_is_gone_is_not_waited_for(health, clock):
    health.listed({A: "6"})
    clock.now = 10
    health.listed({})
    clock.now = 1000
    assert health.ready


def test_another_list_does_not_restart_the_wait(health, clock):
    health.listed({A: "6"})
    clock.now = WATCH_LAG_SECONDS
    health.listed({A: "6"})
    clock.now += 1
    assert health.stalled()
