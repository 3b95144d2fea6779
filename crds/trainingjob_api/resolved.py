"""From a job and an environment to the values in force: spec over environment over default.

The defaults of the project are those of the ``Resolved*`` models here and of the environment table.
"""

import functools
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field

from trainingjob_api.acceptance import Acceptance
from trainingjob_api.environment import (
    CONFIG_DICT,
    DASK_SCHEDULER_FILE,
    DEFAULT_SCHEDULER_FILE,
    TABLE,
    read_variable,
)
from trainingjob_api.errors import Problem, SpecError
from trainingjob_api.job import TrainingJob, check_deadline, check_spec
from trainingjob_api.load import read_text
from trainingjob_api.pods import NodeSelector, Resources, SecretRef, Tolerations, Trainer
from trainingjob_api.search_space import MAX_TREE_BYTES, dump_tree, parse_tree
from trainingjob_api.spec import Dataset, SearchSpace, TrainingJobSpec, Validation
from trainingjob_api.status import Resolved
from trainingjob_api.text import nearest, shorten
from trainingjob_api.types import SpecModel, Use
from trainingjob_api.vocabulary import (
    TPOT_GROUPS,
    Ensemble,
    FeatureType,
    ParallelMode,
    Preset,
    Task,
    ValidationStrategy,
)

__all__ = [
    "DEFAULT_CONFIG_MAP_KEY",
    "DEFAULT_TTL_SECONDS",
    "ResolvedBudget",
    "ResolvedDask",
    "ResolvedOutput",
    "ResolvedRun",
    "ResolvedSearchSpace",
    "ResolvedValidation",
    "plan_digest",
    "resolve",
]

DEFAULT_CONFIG_MAP_KEY = "search-space.yaml"
DEFAULT_TTL_SECONDS = 86_400
GRACE_SECONDS = 600
"""Time for scheduling, pulling, importing, reading and uploading, on top of the budget."""

_PLAN_DOMAIN = "trainingjob-plan-v1"
_SEARCH = Use(digest=True, listed=True)
_SHOWN = Use(digest=False, listed=True)
_PLAIN = Use(digest=False, listed=False)


class ResolvedValidation(SpecModel):
    """How rows are split; ``strategy`` is never ``auto``."""

    holdout_fraction: Annotated[float, _SEARCH] = 0.2
    strategy: Annotated[ValidationStrategy, _SEARCH]
    group_column: Annotated[str | None, _SEARCH] = None
    time_column: Annotated[str | None, _SEARCH] = None


class ResolvedBudget(SpecModel):
    """Limits of the search; times in seconds."""

    time_left_seconds: Annotated[int, _SHOWN]
    per_run_limit_seconds: Annotated[int, _SEARCH]
    generations: Annotated[int, _SHOWN]
    population_size: Annotated[int, _SEARCH]
    cv_folds: Annotated[int, _SEARCH]


class ResolvedSearchSpace(SpecModel):
    """The name of a preset or a tree, exactly one of them, and its source."""

    preset: Annotated[str | None, Use(digest=True, listed=False)] = None
    tree: Annotated[dict[str, Any] | None, Use(digest=True, listed=False)] = None
    source: Annotated[str, _PLAIN]


class ResolvedDask(SpecModel):
    """The Dask cluster of a distributed run."""

    workers: int = 2
    ready_timeout_seconds: int = 120
    worker_resources: Resources | None = None
    scheduler_resources: Resources | None = None
    node_selector: NodeSelector | None = None
    tolerations: Tolerations | None = None


class ResolvedOutput(SpecModel):
    """Where the model and its reports are stored."""

    uri: Annotated[str, _SHOWN] = "file://./runs"
    endpoint: Annotated[str | None, _PLAIN] = None
    credentials_secret_ref: Annotated[SecretRef | None, _PLAIN] = None
    leaderboard_top_k: Annotated[int, _SHOWN] = 10


class ResolvedRun(SpecModel):
    """The values in force, made once by :func:`resolve`.

    ``None`` in ``metric``, ``positive_label`` and ``n_jobs``, and ``task: auto``, are left to the trainer,
    which alone sees the data and its own limits. ``sources`` gives for each row of the environment table (by
    the path of the field below ``spec``) ``spec``, ``environment``, ``rollout`` or ``default``. Every field
    says by its :class:`Use` whether the search digest and the list of ``trainingjob validate`` contain it.
    """

    name: Annotated[str, _PLAIN]
    namespace: Annotated[str | None, _PLAIN] = None
    uid: Annotated[str | None, _PLAIN] = None
    dataset: Dataset
    target_column: Annotated[str, _SEARCH]
    positive_label: Annotated[str | None, _SEARCH] = None
    task: Annotated[Task, _SEARCH] = Task.AUTO
    feature_types: Annotated[dict[str, FeatureType], _SEARCH] = Field(default_factory=dict)
    metric: Annotated[str | None, _SEARCH] = None
    validation: ResolvedValidation
    automl_enabled: Annotated[bool, Use(digest=False, listed=True, path="automl.enabled")]
    automl_fallback: Annotated[bool, Use(digest=False, listed=True, path="automl.fallback")]
    ensemble: Annotated[Ensemble, _SHOWN] = Ensemble.AUTO
    budget: ResolvedBudget
    search_space: Annotated[ResolvedSearchSpace, _SHOWN]
    parallel_mode: Annotated[ParallelMode, _SHOWN]
    n_jobs: Annotated[int | None, _SHOWN] = None
    memory_limit_mb: Annotated[int, _SHOWN]
    dask_scheduler_file: Annotated[str, _PLAIN]
    dask: Annotated[ResolvedDask, _PLAIN]
    output: ResolvedOutput
    acceptance: Annotated[Acceptance | None, _SHOWN] = None
    random_state: Annotated[int, _SEARCH] = 0
    active_deadline_seconds: Annotated[int, _SHOWN]
    backoff_limit: Annotated[int, _PLAIN] = 2
    ttl_seconds_after_finished: Annotated[int | None, _PLAIN] = DEFAULT_TTL_SECONDS
    suspend: Annotated[bool, _PLAIN] = False
    trainer: Annotated[Trainer, _PLAIN] = Field(default_factory=Trainer)
    sources: Annotated[dict[str, str], _PLAIN] = Field(default_factory=dict)

    def search_digest(self) -> str:
        """Return the SHA-256 over all values that decide which pipelines are evaluated and how they score.

        The total budget, generations, parallelism and output are excluded, so that a run can be resumed with
        more time or on other machines.
        """
        parts: dict[str, Any] = {}
        for path, value in _used(self, self.model_dump(mode="json", by_alias=True), "digest"):
            parent, _, name = path.rpartition(".")
            (parts.setdefault(parent, {}) if parent else parts)[name] = value
        text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def listed(self) -> dict[str, Any]:
        """Return what ``trainingjob validate`` lists: JSON values by their path below ``spec``."""
        return dict(_used(self, self.model_dump(mode="json", by_alias=True), "listed"))

    def summary(self, *, image: str | None = None) -> Resolved:
        """Return ``status.resolved`` as far as it is known before the data is read."""
        values = {**dict(self), **dict(self.validation), **dict(self.budget)}
        values |= {
            "holdout_fraction": format(self.validation.holdout_fraction, ".6g"),
            "search_space": shorten(self.search_space.preset or self.search_space.source, 300),
            "image": image,
            "search_digest": self.search_digest(),
        }
        return Resolved(**{name: values[name] for name in Resolved.model_fields if name in values})


def _used(model: BaseModel, data: Mapping[str, Any], use: str, parent: str = "") -> Iterator[tuple[str, Any]]:
    """Yield path and JSON value of each field whose mark has *use*."""
    for name, info in type(model).model_fields.items():
        mark = Use.of(info)
        alias, value = str(info.alias), getattr(model, name)
        path = parent + (mark.path if mark and mark.path else alias)
        if mark is not None and getattr(mark, use):
            yield path, data[alias]
        elif isinstance(value, BaseModel):
            yield from _used(value, data[alias], use, f"{path}.")


def plan_digest(text: str, image: str) -> str:
    """Return the SHA-256 over a plan: the resolved run as its ConfigMap holds it, and the trainer's image."""
    # An image's name has no zero byte, so two different plans never give the same content.
    content = f"{_PLAN_DOMAIN}\0{image}\0{text}"
    return hashlib.sha256(content.encode(errors="surrogatepass")).hexdigest()


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
        ``automl.enabled`` according to a canary share: below an explicit field, above
        ``ENABLE_AUTOML=true`` and the default. ``None`` without a share.
    search_space_text
        Content of the key that ``searchSpace.configMapRef`` names, if there is one.

    Raises
    ------
    SpecError
        With every problem: bad variables (by name), a search space that does not parse, values that
        contradict each other once they are combined.
    """
    spec = job.spec
    values, sources, problems = _pick(spec, environment, rollout=rollout)
    problems += check_spec(spec)
    try:
        space, sources["searchSpace"] = _space(
            spec.search_space or SearchSpace(), environment, search_space_text
        )
    except SpecError as error:
        problems += error.problems
    budget = ResolvedBudget(
        **{row.attributes[1]: values[row.field] for row in TABLE if row.attributes[0] == "budget"}
    )
    if not problems:
        problems = check_deadline(spec.active_deadline_seconds, budget.time_left_seconds)
    if problems:
        raise SpecError(problems=problems)
    dask = ResolvedDask(**_given(spec.dask))
    wait = dask.ready_timeout_seconds if values["parallelMode"] is ParallelMode.DISTRIBUTED else 0
    scheduler_file = read_variable(environment, DASK_SCHEDULER_FILE)
    sources["daskSchedulerFile"] = "environment" if scheduler_file else "default"
    fields = {
        "active_deadline_seconds": _deadline(budget.time_left_seconds, wait),
        **_given(spec),
        **{"_".join(row.attributes): values[row.field] for row in TABLE if row.attributes[0] != "budget"},
        "validation": _validation(spec.validation or Validation()),
        "budget": budget,
        "search_space": space,
        "dask": dask,
        "output": ResolvedOutput(**_given(spec.output)),
        "acceptance": _acceptance(spec.acceptance),
    }
    return ResolvedRun(
        name=job.metadata.name,
        namespace=job.metadata.namespace,
        uid=job.metadata.uid,
        dask_scheduler_file=scheduler_file or DEFAULT_SCHEDULER_FILE,
        sources=sources,
        **{name: value for name, value in fields.items() if name != "automl"},
    )


def _given(part: SpecModel | None) -> dict[str, Any]:
    """Return the fields of *part* that are set; the defaults of the resolved model replace the others."""
    return {name: value for name, value in part or () if value is not None}


def _pick(
    spec: TrainingJobSpec, environment: Mapping[str, str], *, rollout: bool | None
) -> tuple[dict[str, Any], dict[str, str], list[Problem]]:
    """Return the values of the table and their sources, both by field, and the problems of variables."""
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    problems: list[Problem] = []
    for row in TABLE:
        try:
            # A bad variable is an error even where the spec hides it: the next job would meet it.
            variable = row.from_environment(environment)
        except SpecError as error:
            problems += error.problems
            variable = None
        choices = [(row.from_spec(spec), "spec"), (variable, "environment"), (row.default, "default")]
        if row.field == "automl.enabled":
            choices.insert(1, (rollout, "rollout"))
            if variable is False:
                # The operator's kill switch wins over everything.
                choices.insert(0, (variable, "environment"))
        known = ((value, source) for value, source in choices if value is not None)
        values[row.field], sources[row.field] = next(known, (None, "default"))
    limit = "budget.perRunLimitSeconds"
    values[limit] = min(values[limit], values["budget.timeLeftSeconds"])
    if values["parallelMode"] is ParallelMode.NONE:
        values["nJobs"], sources["nJobs"] = 1, sources["parallelMode"]
    return values, sources, problems


def _deadline(time_left: int, wait: int) -> int:
    return time_left + max(5, -(-time_left // 20)) + wait + GRACE_SECONDS


def _validation(validation: Validation) -> ResolvedValidation:
    strategy = validation.strategy or ValidationStrategy.AUTO
    if strategy is ValidationStrategy.AUTO and validation.group_column is not None:
        strategy = ValidationStrategy.GROUP
    elif strategy is ValidationStrategy.AUTO:
        known = validation.time_column is not None
        strategy = ValidationStrategy.TIME if known else ValidationStrategy.KFOLD
    return ResolvedValidation(**{**_given(validation), "strategy": strategy})


def _acceptance(acceptance: Acceptance | None) -> Acceptance | None:
    if acceptance is None or (acceptance.min_score is None and acceptance.must_beat_baseline is None):
        return None
    return acceptance.model_copy(update={"must_beat_baseline": bool(acceptance.must_beat_baseline)})


def _space(
    space: SearchSpace, environment: Mapping[str, str], config_map_text: str | None
) -> tuple[ResolvedSearchSpace, str]:
    """Return the search space in force, and ``spec``, ``environment`` or ``default``."""
    if space.preset is not None:
        return ResolvedSearchSpace(preset=space.preset.value, source="spec.searchSpace.preset"), "spec"
    if space.inline is not None:
        return _tree(space.inline, "spec.searchSpace.inline"), "spec"
    if space.config_map_ref is not None:
        name = "spec.searchSpace.configMapRef"
        if config_map_text is None:
            raise SpecError(
                name, "a ConfigMap can be read in a cluster only", "use searchSpace.inline in a local run"
            )
        return _tree(config_map_text, name), "spec"
    setting = read_variable(environment, CONFIG_DICT)
    if setting is not None:
        return _config_dict(setting), "environment"
    return ResolvedSearchSpace(preset=Preset.LINEAR.value, source="default"), "default"


@functools.lru_cache(maxsize=32)
def _tree(text: str, name: str, source: str | None = None) -> ResolvedSearchSpace:
    """Return the tree of a text; an operator needs the same one in each pass until a run starts."""
    return ResolvedSearchSpace(tree=dump_tree(parse_tree(text, field=name)), source=source or name)


def _config_dict(setting: str) -> ResolvedSearchSpace:
    """Read ``TPOT__CONFIG_DICT``: the name of a preset, a TPOT group, inline JSON, or a path."""
    presets = [preset.value for preset in Preset]
    if setting in presets:
        return ResolvedSearchSpace(preset=setting, source=CONFIG_DICT)
    if setting in TPOT_GROUPS:
        return ResolvedSearchSpace(tree={"type": "group", "names": [setting]}, source=CONFIG_DICT)
    if setting.startswith("{"):
        return _tree(setting, CONFIG_DICT)
    if "/" in setting or setting.endswith((".json", ".yaml", ".yml")):
        try:
            text = read_text(Path(setting), MAX_TREE_BYTES)
        except SpecError as error:
            raise SpecError(CONFIG_DICT, error.message, error.hint) from None
        return _tree(text, CONFIG_DICT, shorten(f"{CONFIG_DICT} ({setting})", 300))
    names = [*presets, *TPOT_GROUPS]
    guess = nearest(setting, names)
    raise SpecError(
        CONFIG_DICT,
        f"{shorten(setting, 60)!r} is not a preset, TPOT group, inline JSON or path",
        f"did you mean {guess}?" if guess else f"names are {', '.join(names)}",
    )
