"""What is in force for a job: every value set, immutable, and serialisable."""

import hashlib
import json
from typing import Any

from pydantic import Field

from trainingjob_api.base import SpecModel
from trainingjob_api.scheduling import NodeSelector, Resources, SecretRef, Tolerations
from trainingjob_api.spec import Acceptance, Dataset, Trainer
from trainingjob_api.status import Resolved
from trainingjob_api.text import shorten
from trainingjob_api.vocabulary import FeatureType, ParallelMode, Task, ValidationStrategy

__all__ = [
    "ResolvedBudget",
    "ResolvedDask",
    "ResolvedOutput",
    "ResolvedRun",
    "ResolvedSearchSpace",
    "ResolvedValidation",
    "plan_digest",
]

_PLAN_DOMAIN = "trainingjob-plan-v1"


class ResolvedValidation(SpecModel):
    """How rows are split; ``strategy`` is never ``auto``."""

    holdout_fraction: float
    strategy: ValidationStrategy
    group_column: str | None = None
    time_column: str | None = None


class ResolvedBudget(SpecModel):
    """What the search may spend; times in seconds."""

    time_left_seconds: int
    per_run_limit_seconds: int
    generations: int
    population_size: int
    cv_folds: int


class ResolvedSearchSpace(SpecModel):
    """A preset's name or a tree, exactly one of them, and where it comes from."""

    preset: str | None = None
    tree: dict[str, Any] | None = None
    source: str


class ResolvedDask(SpecModel):
    """The Dask cluster of a distributed run."""

    workers: int
    ready_timeout_seconds: int
    worker_resources: Resources | None = None
    scheduler_resources: Resources | None = None
    node_selector: NodeSelector | None = None
    tolerations: Tolerations | None = None


class ResolvedOutput(SpecModel):
    """Where model and reports go."""

    uri: str
    endpoint: str | None = None
    credentials_secret_ref: SecretRef | None = None
    leaderboard_top_k: int


class ResolvedRun(SpecModel):
    """The values in force, made once by :func:`trainingjob_api.resolve.resolve`.

    ``None`` in ``metric``, ``positive_label`` and ``n_jobs``, and ``task: auto``, are left to the
    trainer, which alone sees the data and its own limits. ``sources`` says for each row of the
    environment table (by the field's path below ``spec``) whether the value is from ``spec``,
    ``environment``, ``rollout`` or ``default``.
    """

    name: str
    namespace: str | None = None
    uid: str | None = None
    dataset: Dataset
    target_column: str
    positive_label: str | None = None
    task: Task
    feature_types: dict[str, FeatureType] = Field(default_factory=dict)
    metric: str | None = None
    validation: ResolvedValidation
    automl_enabled: bool
    automl_fallback: bool
    budget: ResolvedBudget
    search_space: ResolvedSearchSpace
    parallel_mode: ParallelMode
    n_jobs: int | None = None
    memory_limit_mb: int
    dask_scheduler_file: str
    dask: ResolvedDask
    output: ResolvedOutput
    acceptance: Acceptance | None = None
    random_state: int
    active_deadline_seconds: int
    backoff_limit: int
    ttl_seconds_after_finished: int | None = None
    suspend: bool = False
    trainer: Trainer = Field(default_factory=Trainer)
    sources: dict[str, str] = Field(default_factory=dict)

    def search_digest(self) -> str:
        """Return the SHA-256 over all that decides which pipelines are evaluated and how they score.

        The budget's total, generations, parallelism and output are no part of it, so that a run can be
        resumed with more time or on other machines.
        """
        data = self.model_dump(mode="json", by_alias=True)
        budget = data["budget"]
        parts = {
            "dataset": {key: data["dataset"][key] for key in ("uri", "endpoint", "format", "sha256", "csv")},
            "budget": {key: budget[key] for key in ("cvFolds", "populationSize", "perRunLimitSeconds")},
            "searchSpace": {key: data["searchSpace"][key] for key in ("preset", "tree")},
            **{
                key: data[key]
                for key in (
                    "targetColumn",
                    "positiveLabel",
                    "task",
                    "featureTypes",
                    "metric",
                    "validation",
                    "randomState",
                )
            },
        }
        text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def summary(self, *, image: str | None = None) -> Resolved:
        """Return what ``status.resolved`` shows of it; the trainer's report refines it."""
        budget = self.budget
        return Resolved(
            target_column=self.target_column,
            positive_label=self.positive_label,
            task=self.task,
            metric=self.metric,
            strategy=self.validation.strategy,
            holdout_fraction=format(self.validation.holdout_fraction, ".6g"),
            automl_enabled=self.automl_enabled,
            automl_fallback=self.automl_fallback,
            time_left_seconds=budget.time_left_seconds,
            per_run_limit_seconds=budget.per_run_limit_seconds,
            generations=budget.generations,
            population_size=budget.population_size,
            cv_folds=budget.cv_folds,
            search_space=shorten(self.search_space.preset or self.search_space.source, 300),
            parallel_mode=self.parallel_mode,
            n_jobs=self.n_jobs,
            memory_limit_mb=self.memory_limit_mb,
            random_state=self.random_state,
            image=image,
            search_digest=self.search_digest(),
            sources=self.sources,
        )


def plan_digest(text: str, image: str) -> str:
    """Return the SHA-256 over a plan.

    Parameters
    ----------
    text
        The resolved run, byte for byte as its ConfigMap holds it.
    image
        Image of the trainer.
    """
    # An image's name has no zero byte, so that no two plans give one text.
    content = f"{_PLAN_DOMAIN}\0{image}\0{text}"
    return hashlib.sha256(content.encode(errors="surrogatepass")).hexdigest()
