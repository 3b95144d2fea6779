"""The status of a TrainingJob, and the parts that it shares with the trainer's report."""

from typing import Annotated

from pydantic import Field, StrictBool, StrictInt, StringConstraints

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

__all__ = [
    "MAX_STATUS_BYTES",
    "Artifact",
    "Attempt",
    "Best",
    "Condition",
    "Fallback",
    "LastReport",
    "LeaderboardEntry",
    "NotFitted",
    "ParetoPoint",
    "PlanRecord",
    "Progress",
    "Resolved",
    "TrainingJobStatus",
    "trim_status",
]

MAX_STATUS_BYTES = 32 * 1024
"""Size that the status, as JSON in UTF-8, stays under."""

_TRAIN_ROWS = "Most rows that a fold of the cross-validation learned from."
_TEST_ROWS = "Most rows that a fold of the cross-validation was scored on."

ShortKey = Annotated[str, StringConstraints(max_length=64)]
SourceWord = Annotated[str, StringConstraints(max_length=32)]
PodName = Annotated[str, StringConstraints(min_length=1, max_length=253)]
Generation = Annotated[StrictInt, Field(ge=0, le=9_007_199_254_740_991)]


class Condition(StatusModel):
    """A condition, as in metav1."""

    type: ConditionType = Field(description="Type of the condition.")
    status: ConditionStatus = Field(description="True, False or Unknown.")
    observed_generation: Generation | None = Field(
        default=None, description="Generation of the spec that the condition is about."
    )
    last_transition_time: Timestamp = Field(description="When the status of the condition last changed.")
    reason: ReasonWord = Field(description="PascalCase word that says why.")
    message: Message = Field(default="", description="What happened and what to do, for people.")


class Fallback(StatusModel):
    """A step down the ladder."""

    from_: SourceWord = Field(alias="from", description="What was used before: dask, local or tpot.")
    to: SourceWord = Field(description="What is used since: local or baseline.")
    reason: ReasonWord = Field(description="PascalCase word that says why, such as SchedulerLost.")
    time: Timestamp = Field(description="When it happened.")
    attempt: Annotated[StrictInt, Field(ge=1, le=1_000_000)] | None = Field(
        default=None, description="Number of the attempt that took it."
    )
    message: Annotated[str, StringConstraints(max_length=300)] = Field(
        default="", description="What happened, for people."
    )


class Progress(StatusModel):
    """How far the search is."""

    generation: Count = Field(default=0, description="Generations finished.")
    generations: Count | None = Field(default=None, description="Generations asked for.")
    population_size: Count | None = Field(default=None, description="Pipelines in a generation.")
    evaluated: Count = Field(default=0, description="Pipelines evaluated with a score.")
    failed: Count = Field(default=0, description="Pipelines that failed.")
    timed_out: Count = Field(default=0, description="Pipelines stopped at the limit.")
    best_score: Score | None = Field(default=None, description="Best cross-validated score until now.")
    elapsed_seconds: Count = Field(default=0, description="Seconds of the budget that are spent.")
    remaining_seconds: Count | None = Field(default=None, description="Seconds of the budget that are left.")
    updated_at: Timestamp | None = Field(default=None, description="When these numbers were taken.")


class NotFitted(StatusModel):
    """A pipeline that scored better than the one that ships, and could not be fitted."""

    pipeline: PipelineText = Field(description="The pipeline in one line.")
    score: Score | None = Field(default=None, description="Its cross-validated score.")
    reason: Annotated[str, StringConstraints(max_length=300)] = Field(
        description="Why it could not be fitted, for people."
    )


class Best(StatusModel):
    """The best pipeline until now, beside the baseline."""

    pipeline: PipelineText = Field(description="The pipeline in one line.")
    score: Score | None = Field(default=None, description="Its cross-validated score.")
    train_rows: Count | None = Field(default=None, description=_TRAIN_ROWS)
    test_rows: Count | None = Field(default=None, description=_TEST_ROWS)
    holdout_score: Score | None = Field(default=None, description="Its score on the hold-out rows.")
    holdout_rows: Count | None = Field(default=None, description="How many hold-out rows there are.")
    holdout_interval: Annotated[tuple[Score, ...], Field(min_length=2, max_length=2)] | None = Field(
        default=None,
        description="Lower and upper bound of the hold-out score with a confidence of 95 %, by a bootstrap "
        "over the hold-out rows, or over whole groups; unset where it cannot be taken.",
    )
    baseline_score: Score | None = Field(
        default=None, description="Cross-validated score of the baseline, on the same rows."
    )
    baseline_holdout_score: Score | None = Field(
        default=None, description="Score of the baseline on the hold-out rows."
    )
    not_fitted: Annotated[tuple[NotFitted, ...], Field(max_length=3, fail_fast=True)] | None = Field(
        default=None, description="Better pipelines that could not be fitted, best first."
    )


class LeaderboardEntry(StatusModel):
    """One row of the leaderboard."""

    rank: Annotated[StrictInt, Field(ge=1, le=1_000)] = Field(description="1 is the best.")
    pipeline: PipelineText = Field(description="The pipeline in one line.")
    score: Score = Field(description="Cross-validated score.")
    score_std: Score | None = Field(
        default=None, description="Standard deviation of the score over the folds."
    )
    train_rows: Count | None = Field(default=None, description=_TRAIN_ROWS)
    test_rows: Count | None = Field(default=None, description=_TEST_ROWS)
    complexity: Score | None = Field(default=None, description="KiB of the fitted pipeline.")
    fit_seconds: Score | None = Field(default=None, description="Seconds that its evaluation took.")
    origin: ShortKey | None = Field(
        default=None, description="Where it comes from: a seed's name or evolution."
    )
    key: ShortKey | None = Field(
        default=None, description="Fingerprint of the pipeline, as in the artifacts."
    )


class ParetoPoint(StatusModel):
    """One point of the front of score against complexity."""

    score: Score = Field(description="Cross-validated score.")
    train_rows: Count | None = Field(default=None, description=_TRAIN_ROWS)
    test_rows: Count | None = Field(default=None, description=_TEST_ROWS)
    complexity: Score = Field(description="KiB of the fitted pipeline.")
    pipeline: PipelineText = Field(description="The pipeline in one line.")
    key: ShortKey | None = Field(
        default=None, description="Fingerprint of the pipeline, as in the artifacts."
    )


class Artifact(StatusModel):
    """A file that the run left behind, its digest verified."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=128)] = Field(
        description="Name of the file, such as model.joblib."
    )
    uri: Uri = Field(description="Where it is.")
    sha256: Digest = Field(description="SHA-256 digest of its content.")
    size_bytes: Annotated[StrictInt, Field(ge=0, le=1_099_511_627_776)] = Field(
        description="Its size in bytes."
    )


class Attempt(StatusModel):
    """One pod of the trainer, remembered when it is gone."""

    number: Annotated[StrictInt, Field(ge=1, le=1_000_000)] = Field(description="1 is the first attempt.")
    pod: PodName | None = Field(default=None, description="Name of the pod.")
    pod_uid: Uid = Field(description="Uid of the pod.")
    node: PodName | None = Field(default=None, description="Name of its node.")
    start_time: Timestamp = Field(description="When the pod was made.")
    end_time: Timestamp | None = Field(
        default=None, description="When it ended, or was seen to be gone; unset while it is under way."
    )
    outcome: AttemptOutcome | None = Field(
        default=None,
        description="How it ended: Evicted was asked to go by its node or by whoever deleted it, Removed was "
        "gone before its end was seen; unset while it is under way.",
    )
    reason: ReasonWord | None = Field(
        default=None, description="PascalCase word that says what was wrong, if anything was."
    )
    exit_code: Annotated[StrictInt, Field(ge=-2_147_483_648, le=2_147_483_647)] | None = Field(
        default=None, description="Exit status of its container."
    )
    message: Annotated[str, StringConstraints(max_length=200)] | None = Field(
        default=None, description="What was wrong, for people; a text that is cut ends in …."
    )


class Resolved(StatusModel):
    """What is in force, from spec, environment, defaults and, at last, the data."""

    target_column: ColumnName | None = Field(default=None, description="Column to predict.")
    positive_label: Annotated[Annotated[str, StringConstraints(max_length=256)] | None, REFINED] = Field(
        default=None, description="Label that binary metrics count as positive."
    )
    task: Annotated[Task | None, REFINED] = Field(default=None, description="What is learnt.")
    metric: Annotated[CommonName | None, REFINED] = Field(
        default=None, description="The scikit-learn scorer."
    )
    strategy: ValidationStrategy | None = Field(default=None, description="How hold-out and folds are cut.")
    holdout_fraction: Score | None = Field(default=None, description="Share of the rows that is set aside.")
    automl_enabled: StrictBool | None = Field(default=None, description="Whether there is a search.")
    automl_fallback: StrictBool | None = Field(default=None, description="Whether a failure steps down.")
    time_left_seconds: Count | None = Field(default=None, description="Seconds of the whole budget.")
    per_run_limit_seconds: Count | None = Field(
        default=None, description="Seconds of one evaluation at most."
    )
    generations: Count | None = Field(default=None, description="Generations at most.")
    population_size: Count | None = Field(default=None, description="Pipelines in a generation.")
    cv_folds: Annotated[Count | None, REFINED] = Field(
        default=None, description="Folds, after any reduction by small classes."
    )
    search_space: Annotated[str, StringConstraints(max_length=300)] | None = Field(
        default=None, description="Name of the preset, or where the tree comes from."
    )
    parallel_mode: ParallelMode | None = Field(default=None, description="The mode that was asked for.")
    n_jobs: Annotated[Count | None, REFINED] = Field(default=None, description="Workers.")
    memory_limit_mb: Count | None = Field(default=None, description="Memory of each worker in MiB.")
    random_state: Annotated[StrictInt, Field(ge=0, le=4_294_967_295)] | None = Field(
        default=None, description="Seed of everything random."
    )
    rows: Annotated[Count | None, REFINED] = Field(default=None, description="Rows with a target.")
    columns: Annotated[Count | None, REFINED] = Field(default=None, description="Feature columns in use.")
    image: Annotated[str, StringConstraints(max_length=512)] | None = Field(
        default=None, description="Image of the trainer."
    )
    search_digest: Digest | None = Field(
        default=None, description="Digest over everything that decides which pipelines are evaluated and how."
    )
    sources: Annotated[dict[ShortKey, SourceWord], Field(max_length=32)] | None = Field(
        default=None, description="Where each value comes from: spec, environment, rollout or default."
    )

    def refined(self, told: "Resolved") -> "Resolved":
        """Return these values, refined by what the trainer found in data and pod; the plan's own stay."""
        found = {name: value for name, value in told if value is not None and name in _refined_names()}
        return self.model_copy(update=found)

    def changes(self, other: "Resolved") -> tuple[str, ...]:
        """Return the names of the plan's own values that differ in *other*."""
        return tuple(
            name for name, value in self if name not in _refined_names() and value != getattr(other, name)
        )


def _refined_names() -> frozenset[str]:
    return frozenset(name for name, info in Resolved.model_fields.items() if REFINED in info.metadata)


class PlanRecord(StatusModel):
    """What the operator holds everything of a run against, recorded before anything of it is made."""

    digest: Digest = Field(description="SHA-256 over the resolved run and the trainer's image.")
    report_key: Annotated[str, StringConstraints(min_length=44, max_length=44)] = Field(
        description="Public half of the Ed25519 key that the run signs its reports with, in base64."
    )


class LastReport(StatusModel):
    """The last report that the operator accepted; an older one never replaces it."""

    attempt: Annotated[StrictInt, Field(ge=1, le=1_000_000)] = Field(description="Number of the attempt.")
    sequence: Annotated[StrictInt, Field(ge=0, le=1_000_000_000)] = Field(description="Number of the report.")
    pod_uid: Uid = Field(description="Uid of the pod that wrote it.")


class TrainingJobStatus(StatusModel):
    """What the operator saw last. Written by the operator alone."""

    observed_generation: Generation | None = Field(
        default=None, description="Generation of the spec that the status is about."
    )
    phase: Phase | None = Field(
        default=None, description="Succeeded and Failed are final; conditions say more than the phase."
    )
    conditions: Annotated[tuple[Condition, ...], Field(max_length=16)] | None = Field(
        default=None,
        description="Conditions, one of each type.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
    start_time: Timestamp | None = Field(default=None, description="When the job began.")
    completion_time: Timestamp | None = Field(default=None, description="When the job ended.")
    attempts: Count | None = Field(default=None, description="Trainer pods started.")
    attempt_history: Annotated[tuple[Attempt, ...], Field(max_length=10)] | None = Field(
        default=None, description="The last attempts, the newest last; they outlive their pods."
    )
    plan: PlanRecord | None = Field(
        default=None, description="What the operator holds the run's ConfigMaps and reports against."
    )
    last_report: LastReport | None = Field(default=None, description="The last report that was accepted.")
    resolved: Resolved | None = Field(default=None, description="The values in force.")
    backend: Backend | None = Field(
        default=None, description="What evaluates pipelines now (dask, local, none), not what was asked for."
    )
    model_source: ModelSource | None = Field(
        default=None, description="Where the model comes from: tpot or baseline."
    )
    fallbacks: Annotated[tuple[Fallback, ...], Field(max_length=8)] | None = Field(
        default=None, description="Steps down the ladder, in order."
    )
    progress: Progress | None = Field(default=None, description="How far the search is.")
    best: Best | None = Field(default=None, description="The best pipeline until now.")
    leaderboard: Annotated[tuple[LeaderboardEntry, ...], Field(max_length=10)] | None = Field(
        default=None, description="The best pipelines; all of them are in leaderboard.json."
    )
    pareto_front: Annotated[tuple[ParetoPoint, ...], Field(max_length=20)] | None = Field(
        default=None, description="Score against complexity; all of it is in tp_pareto_front.json."
    )
    artifacts: Annotated[tuple[Artifact, ...], Field(max_length=16)] | None = Field(
        default=None, description="Files of the run, verified."
    )


def trim_status(status: TrainingJobStatus, limit: int = MAX_STATUS_BYTES) -> TrainingJobStatus:
    """Return *status*, with lists shortened until it is under *limit* bytes of JSON.

    The front goes first, then the leaderboard, artifacts and fallbacks, from their ends; the artifacts
    of the run hold all of it. Attempts go last, the oldest first. Conditions are never dropped.
    """
    for name in ("pareto_front", "leaderboard", "artifacts", "fallbacks", "attempt_history"):
        while len(status.model_dump_json(by_alias=True, exclude_none=True).encode()) >= limit:
            all_of_it = getattr(status, name) or ()
            rest = all_of_it[1:] if name == "attempt_history" else all_of_it[:-1]
            status = status.model_copy(update={name: rest or None})
            if not rest:
                break
    return status
