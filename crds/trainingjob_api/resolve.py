"""From a job and an environment to the values in force: spec over environment over default.

The defaults of the project live here and in the environment table, nowhere else.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from trainingjob_api.checks import check_deadline, check_spec
from trainingjob_api.environment import (
    DASK_SCHEDULER_FILE,
    DEFAULT_SCHEDULER_FILE,
    TABLE,
    read_variable,
)
from trainingjob_api.errors import Problem, SpecError
from trainingjob_api.job import TrainingJob
from trainingjob_api.resolved import (
    ResolvedBudget,
    ResolvedDask,
    ResolvedOutput,
    ResolvedRun,
    ResolvedSearchSpace,
    ResolvedValidation,
)
from trainingjob_api.space_source import resolve_space
from trainingjob_api.spec import Acceptance, Dask, Output, SearchSpace, Trainer, TrainingJobSpec, Validation
from trainingjob_api.vocabulary import ParallelMode, Task, ValidationStrategy

__all__ = ["DEFAULT_CONFIG_MAP_KEY", "DEFAULT_OUTPUT_URI", "resolve"]

DEFAULT_OUTPUT_URI = "file://./runs"
DEFAULT_CONFIG_MAP_KEY = "search-space.yaml"
DEFAULT_HOLDOUT_FRACTION = 0.2
DEFAULT_WORKERS = 2
DEFAULT_READY_TIMEOUT_SECONDS = 120
DEFAULT_LEADERBOARD_TOP_K = 10
DEFAULT_RANDOM_STATE = 0
DEFAULT_BACKOFF_LIMIT = 2
DEFAULT_TTL_SECONDS = 86_400
GRACE_SECONDS = 600
"""Time for scheduling, pulling, importing, reading and uploading, on top of the budget."""


@dataclass
class _Values:
    """Values by field as they are picked, where each is from, and what was wrong."""

    values: dict[str, Any] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def put(self, name: str, value: Any, source: str) -> None:
        self.values[name], self.sources[name] = value, source


def resolve(
    job: TrainingJob,
    environment: Mapping[str, str],
    *,
    rollout: bool | None = None,
    search_space_text: str | None = None,
) -> ResolvedRun:
    """Return the values in force for *job*.

    Parameters
    ----------
    job
        The job.
    environment
        Variables of the table; others are ignored.
    rollout
        What a canary share says about ``automl.enabled``: below an explicit field, above
        ``ENABLE_AUTOML=true`` and the default. ``None`` where there is no share.
    search_space_text
        Content of the key that ``searchSpace.configMapRef`` names, where there is one.

    Raises
    ------
    SpecError
        With every problem: bad variables (by name), a search space that does not parse, values that
        contradict each other once they are together.
    """
    spec = job.spec
    found = _pick(spec, environment)
    _decide_automl(found, spec, environment, rollout=rollout)
    found.problems += check_spec(spec)
    space = None
    try:
        space, source = resolve_space(spec.search_space or SearchSpace(), environment, search_space_text)
        found.sources["searchSpace"] = source
    except SpecError as error:
        found.problems += error.problems
    if not found.problems:
        found.problems += _check_together(spec, found)
    if found.problems or space is None:
        raise SpecError(problems=list(dict.fromkeys(found.problems)))
    return _assemble(job, found, space, environment)


def _pick(spec: TrainingJobSpec, environment: Mapping[str, str]) -> _Values:
    found = _Values()
    for row in TABLE:
        try:
            # A bad variable is an error even where the spec hides it: the next job would meet it.
            variable = row.from_environment(environment)
        except SpecError as error:
            found.problems += error.problems
            variable = None
        for value, source in (
            (row.from_spec(spec), "spec"),
            (variable, "environment"),
            (row.default, "default"),
        ):
            if value is not None or source == "default":
                found.put(row.field, value, source)
                break
    budget = "budget.timeLeftSeconds", "budget.perRunLimitSeconds"
    time_left, per_run = (found.values[name] for name in budget)
    found.values[budget[1]] = min(per_run, time_left)
    if found.values["parallelMode"] is ParallelMode.NONE:
        found.put("nJobs", 1, found.sources["parallelMode"])
    return found


def _decide_automl(
    found: _Values, spec: TrainingJobSpec, environment: Mapping[str, str], *, rollout: bool | None
) -> None:
    """Put the kill switch above all, and the canary share between spec and environment."""
    row = TABLE[0]
    try:
        switch = row.from_environment(environment)
    except SpecError:
        return
    if switch is False:
        found.put(row.field, value=False, source="environment")
    elif row.from_spec(spec) is None and rollout is not None:
        found.put(row.field, rollout, "rollout")


def _check_together(spec: TrainingJobSpec, found: _Values) -> list[Problem]:
    return check_deadline(spec.active_deadline_seconds, found.values["budget.timeLeftSeconds"])


def _assemble(
    job: TrainingJob, found: _Values, space: ResolvedSearchSpace, environment: Mapping[str, str]
) -> ResolvedRun:
    spec, values = job.spec, found.values
    budget = ResolvedBudget(
        time_left_seconds=values["budget.timeLeftSeconds"],
        per_run_limit_seconds=values["budget.perRunLimitSeconds"],
        generations=values["budget.generations"],
        population_size=values["budget.populationSize"],
        cv_folds=values["budget.cvFolds"],
    )
    dask = _dask(spec.dask or Dask())
    mode = values["parallelMode"]
    wait = dask.ready_timeout_seconds if mode is ParallelMode.DISTRIBUTED else 0
    scheduler_file = read_variable(environment, DASK_SCHEDULER_FILE)
    found.sources["daskSchedulerFile"] = "environment" if scheduler_file else "default"
    return ResolvedRun(
        name=job.metadata.name,
        namespace=job.metadata.namespace,
        uid=job.metadata.uid,
        dataset=spec.dataset,
        target_column=spec.target_column,
        positive_label=spec.positive_label,
        task=spec.task or Task.AUTO,
        feature_types=spec.feature_types or {},
        metric=values["metric"],
        validation=_validation(spec.validation or Validation()),
        automl_enabled=values["automl.enabled"],
        automl_fallback=values["automl.fallback"],
        budget=budget,
        search_space=space,
        parallel_mode=mode,
        n_jobs=values["nJobs"],
        memory_limit_mb=values["memoryLimitMb"],
        dask_scheduler_file=scheduler_file or DEFAULT_SCHEDULER_FILE,
        dask=dask,
        output=_output(spec.output or Output()),
        acceptance=_acceptance(spec.acceptance),
        random_state=_or(spec.random_state, DEFAULT_RANDOM_STATE),
        active_deadline_seconds=_or(spec.active_deadline_seconds, _deadline(budget.time_left_seconds, wait)),
        backoff_limit=_or(spec.backoff_limit, DEFAULT_BACKOFF_LIMIT),
        ttl_seconds_after_finished=_or(spec.ttl_seconds_after_finished, DEFAULT_TTL_SECONDS),
        suspend=bool(spec.suspend),
        trainer=spec.trainer or Trainer(),
        sources=found.sources,
    )


def _or(value: int | None, default: int) -> int:
    return default if value is None else value


def _deadline(time_left: int, wait: int) -> int:
    return time_left + max(5, -(-time_left // 20)) + wait + GRACE_SECONDS


def _validation(validation: Validation) -> ResolvedValidation:
    strategy = validation.strategy or ValidationStrategy.AUTO
    if strategy is ValidationStrategy.AUTO:
        strategy = (
            ValidationStrategy.GROUP
            if validation.group_column is not None
            else ValidationStrategy.TIME
            if validation.time_column is not None
            else ValidationStrategy.KFOLD
        )
    fraction = validation.holdout_fraction
    return ResolvedValidation(
        holdout_fraction=DEFAULT_HOLDOUT_FRACTION if fraction is None else fraction,
        strategy=strategy,
        group_column=validation.group_column,
        time_column=validation.time_column,
    )


def _dask(dask: Dask) -> ResolvedDask:
    return ResolvedDask(
        workers=_or(dask.workers, DEFAULT_WORKERS),
        ready_timeout_seconds=_or(dask.ready_timeout_seconds, DEFAULT_READY_TIMEOUT_SECONDS),
        worker_resources=dask.worker_resources,
        scheduler_resources=dask.scheduler_resources,
        node_selector=dask.node_selector,
        tolerations=dask.tolerations,
    )


def _output(output: Output) -> ResolvedOutput:
    return ResolvedOutput(
        uri=output.uri or DEFAULT_OUTPUT_URI,
        endpoint=output.endpoint,
        credentials_secret_ref=output.credentials_secret_ref,
        leaderboard_top_k=_or(output.leaderboard_top_k, DEFAULT_LEADERBOARD_TOP_K),
    )


def _acceptance(acceptance: Acceptance | None) -> Acceptance | None:
    if acceptance is None or (acceptance.min_score is None and acceptance.must_beat_baseline is None):
        return None
    return acceptance.model_copy(update={"must_beat_baseline": bool(acceptance.must_beat_baseline)})
