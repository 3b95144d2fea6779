"""What is counted, and what a gauge means when there are many jobs."""

from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import CollectorRegistry

from trainingjob_api import Best, Fallback, Phase, Progress, Resolved, TrainingJobStatus
from trainingjob_operator.telemetry import Metrics

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


def test_unlabelled_gauges_speak_of_the_newest_job(metrics):
    metrics.seen("a", "n", "a", status(minutes=2, generation=7))
    metrics.seen("b", "n", "b", status(minutes=1, generation=3))
    assert value(metrics, "tp_generation") == 7
    assert value(metrics, "tp_population_size") == 32
    metrics.seen("c", "n", "c", status(Phase.SUCCEEDED, minutes=1, score="0.7"))
    metrics.seen("d", "n", "d", status(Phase.SUCCEEDED, minutes=2, score="0.6"))
    assert value(metrics, "training_best_score", metric="f1") == 0.6


def test_with_job_labels_each_job_has_its_own():
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
def test_steps_down_from_parallel_evaluation(metrics, step, counted):
    fallback = Fallback(from_=step[0], to=step[1], reason="Why", time=NOW)
    metrics.changed(TrainingJobStatus(), TrainingJobStatus(fallbacks=(fallback,)))
    assert value(metrics, "tpot_parallel_fallbacks_total", reason="Why") == counted


@pytest.mark.parametrize(("elapsed", "overruns"), [(1050, 0), (1051, 1)])
def test_the_grace_grows_with_the_budget(metrics, elapsed, overruns):
    resolved = Resolved(metric="f1", automl_enabled=True, time_left_seconds=1000)
    end = status(Phase.SUCCEEDED, minutes=2, progress=Progress(elapsed_seconds=elapsed), resolved=resolved)
    metrics.changed(status(), end)
    assert value(metrics, "training_budget_overruns_total") == overruns


def test_a_step_down_is_counted_once_however_often_it_is_told(metrics):
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
