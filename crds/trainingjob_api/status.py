"""The status of a TrainingJob, and the parts it shares with the trainer's report."""

from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, Field, StrictBool, StrictInt, create_model
from pydantic.alias_generators import to_snake

from trainingjob_api.reasons import Cause, Reason
from trainingjob_api.spec import Acceptance, TrainingJobSpec
from trainingjob_api.types import (
    REFINED,
    ColumnName,
    CommonName,
    Count,
    Digest,
    Message,
    PipelineText,
    ReasonWord,
    Score,
    StatusModel,
    Timestamp,
    Uid,
    Uri,
    Use,
    characters,
    fields_below,
    optional,
)
from trainingjob_api.vocabulary import (
    AttemptOutcome,
    Backend,
    ConditionStatus,
    ConditionType,
    ModelSource,
    ParallelMode,
    Phase,
    Task,
    ValidationStrategy,
)

MAX_STATUS_BYTES = 32 * 1024
"""Upper bound of the status as JSON in UTF-8."""

_TRAIN_ROWS = "Maximum number of training rows in a cross-validation fold."
_TEST_ROWS = "Maximum number of test rows in a cross-validation fold."

_Model = TypeVar("_Model", bound=BaseModel)
ShortKey = Annotated[str, characters(64)]
SourceWord = Annotated[str, characters(32)]
PodName = Annotated[str, characters(253, least=1)]
AttemptNumber = Annotated[StrictInt, Field(ge=1, le=1_000_000)]
Generation = Annotated[StrictInt, Field(ge=0, le=9_007_199_254_740_991)]


class Condition(StatusModel):
    """A condition, as in metav1."""

    type: ConditionType = Field(description="Type of the condition.")
    status: ConditionStatus = Field(description="True, False or Unknown.")
    observed_generation: Generation | None = optional("Generation of the spec that the condition refers to.")
    last_transition_time: Timestamp = Field(description="When the status of the condition last changed.")
    reason: ReasonWord = Field(description="Reason in PascalCase.")
    message: Message = Field(default="", description="What happened and what to do, in a sentence.")


class Fallback(StatusModel):
    """A fallback from Dask to local workers, or from the search to the baseline."""

    from_: SourceWord = Field(
        alias="from", description="Previous backend or model source: dask, local or tpot."
    )
    to: SourceWord = Field(description="Its replacement: local or baseline.")
    reason: ReasonWord = Field(description="Reason in PascalCase, such as SchedulerLost.")
    time: Timestamp = Field(description="When it happened.")
    attempt: AttemptNumber | None = optional("Number of the attempt in which it happened.")
    message: Annotated[str, characters(300)] = Field(default="", description="What happened, in a sentence.")


class Progress(StatusModel):
    """Progress of the search."""

    generation: Count = Field(default=0, description="Completed generations.")
    generations: Count | None = optional("Requested generations.")
    population_size: Count | None = optional("Pipelines per generation.")
    evaluated: Count = Field(default=0, description="Pipelines evaluated successfully.")
    failed: Count = Field(default=0, description="Pipelines that failed.")
    timed_out: Count = Field(default=0, description="Pipelines stopped at the time limit.")
    best_score: Score | None = optional("Best cross-validated score so far.")
    elapsed_seconds: Count = Field(default=0, description="Seconds of the budget used.")
    remaining_seconds: Count | None = optional("Seconds of the budget left.")
    updated_at: Timestamp | None = optional("When these numbers were recorded.")


class NotFitted(StatusModel):
    """A pipeline with a better score than the final model that could not be fitted."""

    pipeline: PipelineText = Field(description="The pipeline in one line.")
    score: Score | None = optional("Its cross-validated score.")
    reason: Annotated[str, characters(300)] = Field(description="Why it could not be fitted.")


class EnsembleMember(StatusModel):
    """A pipeline that a final model averages with others."""

    pipeline: PipelineText = Field(description="The pipeline in one line.")
    weight: Score = Field(description="Its share of the average, between 0 and 1.")
    key: ShortKey | None = optional("Fingerprint of the pipeline, as in the artifacts.")


class Best(StatusModel):
    """The best pipeline so far, compared with the baseline."""

    pipeline: PipelineText = Field(description="The pipeline in one line.")
    score: Score | None = optional("Its cross-validated score.")
    train_rows: Count | None = optional(_TRAIN_ROWS)
    test_rows: Count | None = optional(_TEST_ROWS)
    holdout_score: Score | None = optional("Its score on the hold-out rows.")
    holdout_rows: Count | None = optional("Number of hold-out rows.")
    holdout_interval: Annotated[tuple[Score, ...], Field(min_length=2, max_length=2)] | None = optional(
        "Lower and upper bound of the hold-out score with 95 % confidence, by a bootstrap "
        "over the hold-out rows, or over whole groups; unset if it cannot be computed."
    )
    baseline_score: Score | None = optional("Cross-validated score of the baseline, on the same rows.")
    baseline_holdout_score: Score | None = optional("Score of the baseline on the hold-out rows.")
    not_fitted: Annotated[tuple[NotFitted, ...], Field(max_length=3, fail_fast=True)] | None = optional(
        "Pipelines with a better score that could not be fitted, best first."
    )
    members: Annotated[tuple[EnsembleMember, ...], Field(max_length=8, fail_fast=True)] | None = optional(
        "Pipelines of an ensemble, the largest weight first; unset for a single pipeline."
    )


class LeaderboardEntry(StatusModel):
    """One row of the leaderboard."""

    rank: Annotated[StrictInt, Field(ge=1, le=1_000)] = Field(description="1 is the best.")
    pipeline: PipelineText = Field(description="The pipeline in one line.")
    score: Score = Field(description="Cross-validated score.")
    score_std: Score | None = optional("Standard deviation of the score over the folds.")
    train_rows: Count | None = optional(_TRAIN_ROWS)
    test_rows: Count | None = optional(_TEST_ROWS)
    complexity: Score | None = optional("Size of the fitted pipeline in KiB.")
    fit_seconds: Score | None = optional("Seconds spent on its evaluation.")
    origin: ShortKey | None = optional("Origin: the name of a seed or evolution.")
    key: ShortKey | None = optional("Fingerprint of the pipeline, as in the artifacts.")
    similar: Count | None = optional("Further pipelines with the same estimator and the same score.")


class ParetoPoint(StatusModel):
    """A point of the Pareto front of score and complexity."""

    score: Score = Field(description="Cross-validated score.")
    train_rows: Count | None = optional(_TRAIN_ROWS)
    test_rows: Count | None = optional(_TEST_ROWS)
    complexity: Score = Field(description="Size of the fitted pipeline in KiB.")
    pipeline: PipelineText = Field(description="The pipeline in one line.")
    key: ShortKey | None = optional("Fingerprint of the pipeline, as in the artifacts.")


class Artifact(StatusModel):
    """A verified file produced by the run."""

    name: Annotated[str, characters(128, least=1)] = Field(
        description="Name of the file, such as model.joblib."
    )
    uri: Uri = Field(description="Its address.")
    sha256: Digest = Field(description="SHA-256 digest of its content.")
    size_bytes: Annotated[StrictInt, Field(ge=0, le=1_099_511_627_776)] = Field(
        description="Its size in bytes."
    )


class Attempt(StatusModel):
    """One trainer pod; the record outlives the pod."""

    number: AttemptNumber = Field(description="1 is the first attempt.")
    pod: PodName | None = optional("Name of the pod.")
    pod_uid: Uid = Field(description="Uid of the pod.")
    node: PodName | None = optional("Name of its node.")
    start_time: Timestamp = Field(description="When the pod was created.")
    end_time: Timestamp | None = optional("When it ended or was found missing; unset while it runs.")
    outcome: AttemptOutcome | None = optional(
        "How it ended; unset while it runs. Evicted: stopped by its node or by a deletion. Removed: deleted "
        "before its end was observed."
    )
    reason: ReasonWord | None = optional("Reason of a failure, in PascalCase.")
    exit_code: Annotated[StrictInt, Field(ge=-2_147_483_648, le=2_147_483_647)] | None = optional(
        "Exit code of its container."
    )
    message: Annotated[str, characters(200)] | None = optional(
        "Cause of a failure, in a sentence; truncated text ends in …."
    )


def _with_marked_fields(model: type[_Model]) -> type[_Model]:
    """Return *model* with an optional field for each field of the spec whose mark has ``status``."""
    fields: dict[str, Any] = {
        to_snake(path.split(".")[-1]): (info.rebuild_annotation() | None, optional(str(info.description)))
        for path, info in fields_below(TrainingJobSpec)
        if (mark := Use.of(info)) is not None and mark.status
    }
    return create_model(model.__name__, __base__=model, __doc__=model.__doc__, **fields)


@_with_marked_fields
class Resolved(StatusModel):
    """The values in force, from spec, environment, defaults and, once it is read, the data."""

    target_column: ColumnName | None = optional("Column to predict.")
    positive_label: Annotated[Annotated[str, characters(256)] | None, REFINED] = optional(
        "Label that binary metrics count as positive."
    )
    task: Annotated[Task | None, REFINED] = optional("Classification or regression.")
    metric: Annotated[CommonName | None, REFINED] = optional("The scikit-learn scorer.")
    strategy: ValidationStrategy | None = optional("How the rows are split.")
    holdout_fraction: Score | None = optional("Fraction of the rows in the hold-out set.")
    automl_enabled: StrictBool | None = optional("Whether the search is enabled.")
    automl_fallback: StrictBool | None = optional("Whether a failure falls back.")
    time_left_seconds: Count | None = optional("Total budget in seconds.")
    per_run_limit_seconds: Count | None = optional("Time limit of one evaluation in seconds.")
    generations: Count | None = optional("Maximum generations.")
    population_size: Count | None = optional("Pipelines per generation.")
    cv_folds: Annotated[Count | None, REFINED] = optional(
        "Cross-validation folds, reduced if a class is too small."
    )
    search_space: Annotated[str, characters(300)] | None = optional(
        "Name of the preset, or the source of the tree."
    )
    parallel_mode: ParallelMode | None = optional("The requested mode.")
    n_jobs: Annotated[Count | None, REFINED] = optional("Number of workers.")
    memory_limit_mb: Count | None = optional("Memory of each worker in MiB.")
    random_state: Annotated[StrictInt, Field(ge=0, le=4_294_967_295)] | None = optional("Random seed.")
    rows: Annotated[Count | None, REFINED] = optional("Rows with a target value.")
    columns: Annotated[Count | None, REFINED] = optional("Feature columns used.")
    image: Annotated[str, characters(512)] | None = optional("Image of the trainer.")
    search_digest: Digest | None = optional(
        "Digest of all values that decide which pipelines are evaluated and how they score."
    )
    sources: Annotated[dict[ShortKey, SourceWord], Field(max_length=32)] | None = optional(
        "Source of each value: spec, environment, rollout or default."
    )

    def refined(self, reported: "Resolved") -> "Resolved":
        """Return these values with those that the trainer found in data and pod; the plan's own are kept."""
        found = {name: value for name, value in reported if value is not None and name in _refined_names()}
        return self.model_copy(update=found)

    def changes(self, other: "Resolved") -> tuple[str, ...]:
        """Return the names of the plan's own values that differ in *other*."""
        return tuple(
            name for name, value in self if name not in _refined_names() and value != getattr(other, name)
        )


def _refined_names() -> frozenset[str]:
    return frozenset(name for name, info in Resolved.model_fields.items() if REFINED in info.metadata)


class PlanRecord(StatusModel):
    """Digest and key of a run, recorded before any of its resources is created."""

    digest: Digest = Field(description="SHA-256 digest of the resolved run and the trainer's image.")
    report_key: Annotated[str, characters(44, least=44)] = Field(
        description="Public Ed25519 key that verifies the run's reports, in base64."
    )


class LastReport(StatusModel):
    """The last report accepted by the operator; older ones are rejected."""

    attempt: AttemptNumber = Field(description="Number of the attempt.")
    sequence: Annotated[StrictInt, Field(ge=0, le=1_000_000_000)] = Field(
        description="Sequence number of the report."
    )
    pod_uid: Uid = Field(description="Uid of the pod that wrote it.")


class TrainingJobStatus(StatusModel):
    """The observed state of the job; written by the operator alone."""

    observed_generation: Generation | None = optional("Generation of the spec that the status refers to.")
    phase: Phase | None = optional(
        "Phase of the job; Succeeded and Failed are final. The conditions give the details."
    )
    conditions: Annotated[tuple[Condition, ...], Field(max_length=16)] | None = optional(
        "Conditions, one of each type.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
    start_time: Timestamp | None = optional("When the job started.")
    completion_time: Timestamp | None = optional("When the job ended.")
    attempts: Count | None = optional("Trainer pods started.")
    attempt_history: Annotated[tuple[Attempt, ...], Field(max_length=10)] | None = optional(
        "The latest attempts, newest last; they outlive their pods."
    )
    plan: PlanRecord | None = optional("Digest and key that verify the run's ConfigMaps and reports.")
    last_report: LastReport | None = optional("The last accepted report.")
    resolved: Resolved | None = optional("The values in force.")
    backend: Backend | None = optional(
        "Backend that evaluates pipelines now (dask, local, none); may differ from the requested backend."
    )
    model_source: ModelSource | None = optional("Origin of the model: tpot or baseline.")
    fallbacks: Annotated[tuple[Fallback, ...], Field(max_length=8)] | None = optional(
        "Fallbacks so far, in order."
    )
    progress: Progress | None = optional("Progress of the search.")
    best: Best | None = optional("The best pipeline so far.")
    leaderboard: Annotated[tuple[LeaderboardEntry, ...], Field(max_length=10)] | None = optional(
        "The best pipelines; the complete list is in leaderboard.json."
    )
    pareto_front: Annotated[tuple[ParetoPoint, ...], Field(max_length=20)] | None = optional(
        "Pareto front of score and complexity; the complete front is in tp_pareto_front.json."
    )
    artifacts: Annotated[tuple[Artifact, ...], Field(max_length=16)] | None = optional(
        "Verified files of the run."
    )


def trim_status(status: TrainingJobStatus, limit: int = MAX_STATUS_BYTES) -> TrainingJobStatus:
    """Return *status* with lists shortened until it has fewer than *limit* bytes of JSON.

    The Pareto front is cut first, then leaderboard, artifacts and fallbacks, from their ends; the run's
    artifacts are complete. Attempts are cut last, oldest first. Conditions are never dropped.
    """
    for name in ("pareto_front", "leaderboard", "artifacts", "fallbacks", "attempt_history"):
        while len(status.model_dump_json(by_alias=True, exclude_none=True).encode()) >= limit:
            all_of_it = getattr(status, name) or ()
            rest = all_of_it[1:] if name == "attempt_history" else all_of_it[:-1]
            status = status.model_copy(update={name: rest or None})
            if not rest:
                break
    return status


@dataclass(frozen=True, slots=True)
class Verdict(Cause):
    """Whether a model is accepted, and why."""

    @property
    def accepted(self) -> bool | None:
        """Whether it is; ``None`` if the spec does not ask."""
        return None if self.reason == Reason.ACCEPTANCE_NOT_ASKED else self.reason == Reason.ACCEPTED


def judge(acceptance: Acceptance | None, best: Best | None) -> Verdict:
    """Return whether the hold-out scores of *best* meet *acceptance*."""
    if acceptance is None or (acceptance.min_score is None and not acceptance.must_beat_baseline):
        return Verdict(Reason.ACCEPTANCE_NOT_ASKED, "spec.acceptance is not set")
    if best is None or best.holdout_score is None:
        return Verdict(Reason.NO_HOLDOUT_SCORE, "the model has no hold-out score")
    score, baseline = best.holdout_score, best.baseline_holdout_score
    if acceptance.min_score is not None and float(score) < acceptance.min_score:
        text = f"the hold-out score {score} is below acceptance.minScore {acceptance.min_score:g}"
        return Verdict(Reason.BELOW_MIN_SCORE, text)
    if acceptance.must_beat_baseline:
        if baseline is None:
            return Verdict(Reason.NO_HOLDOUT_SCORE, "the baseline has no hold-out score to compare with")
        if float(score) <= float(baseline):
            text = f"the hold-out score {score} does not exceed the baseline's {baseline}"
            return Verdict(Reason.NOT_BETTER_THAN_BASELINE, text)
    return Verdict(Reason.ACCEPTED, f"the hold-out score {score} meets spec.acceptance")
