"""From a job and an environment to the values in force: spec over environment over default.

A resolved run is the spec with every field filled in; defaults and marks are those of ``spec.py``.
"""

import functools
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import BaseModel, Field, TypeAdapter, ValidationError
from pydantic.alias_generators import to_snake
from pydantic.fields import FieldInfo

from trainingjob_api.errors import Problem, SpecError
from trainingjob_api.load import TrainingJob, check_spec, read_text, variable_problem
from trainingjob_api.search_space import MAX_TREE_BYTES, dump_tree, parse_tree
from trainingjob_api.spec import SearchSpace, TrainingJobSpec, Validation
from trainingjob_api.status import Resolved
from trainingjob_api.types import (
    PLAIN,
    SEARCH_ONLY,
    SHOWN,
    SpecModel,
    Use,
    field_class,
    fields_below,
    value_at,
)
from trainingjob_api.vocabulary import (
    CONFIG_DICT,
    DASK_SCHEDULER_FILE,
    DEFAULT_SCHEDULER_FILE,
    TPOT_GROUPS,
    ParallelMode,
    Preset,
    ValidationStrategy,
    did_you_mean,
    read_variable,
    shorten,
)

GRACE_SECONDS = 600
"""Time for scheduling, pulling, importing, reading and uploading, on top of the budget."""

_PLAN_DOMAIN = "trainingjob-plan-v1"
_TRUE = frozenset({"true", "1", "yes", "on"})
_FALSE = frozenset({"false", "0", "no", "off"})
_Model = TypeVar("_Model", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Row:
    """An environment variable that sets a field of the spec."""

    variable: str
    field: str
    """Dotted path below ``spec``, as users write it."""
    info: FieldInfo

    @property
    def default(self) -> Any:
        """Value in force if neither spec nor environment has one; ``None`` leaves it to the trainer."""
        return self.info.default

    def from_environment(self, environment: Mapping[str, str]) -> Any:
        """Return the variable's value, ``None`` if unset.

        Raises
        ------
        SpecError
            Naming the variable.
        """
        text = read_variable(environment, self.variable)
        if text is None:
            return None
        kind, word = field_class(TrainingJobSpec, self.field.split("."), object), text.lower()
        value: bool | int | str = text
        if kind is bool:
            if word not in _TRUE | _FALSE:
                raise SpecError(self.variable, f"must be true or false, not {shorten(text, 60)!r}")
            value = word in _TRUE
        elif kind is int:
            # int() would take underscores and the digits of other scripts.
            if not re.fullmatch(r"[+-]?[0-9]{1,18}", text):
                raise SpecError(self.variable, f"must be a whole number, not {shorten(text, 60)!r}")
            value = int(text)
        elif kind is ParallelMode:
            names = [*(mode.value for mode in ParallelMode), "off"]
            if word not in names:
                message = f"must be one of {', '.join(names[:-1])} or off, not {shorten(text, 60)!r}"
                raise SpecError(self.variable, message, did_you_mean(word, names))
            value = "none" if word == "off" else word
        try:
            annotation: Any = self.info.rebuild_annotation()
            return TypeAdapter(annotation).validate_python(value)
        except ValidationError as error:
            item = error.errors(include_url=False)[0]
            problem = variable_problem(self.variable, item, f"it sets {self.field}")
            raise SpecError(problems=[problem]) from None


TABLE = tuple(
    Row(mark.variable, path, info)
    for path, info in fields_below(TrainingJobSpec)
    if (mark := Use.of(info)) is not None and mark.variable is not None
)
"""The rows with one value; ``TPOT__CONFIG_DICT`` and ``TPOT__DASK_SCHEDULER_FILE`` are read separately."""


class ResolvedSearchSpace(SpecModel):
    """The name of a preset or a tree, exactly one of them, and its source."""

    preset: Annotated[str | None, SEARCH_ONLY] = None
    tree: Annotated[dict[str, Any] | None, SEARCH_ONLY] = None
    source: Annotated[str, PLAIN]


class _Identity(SpecModel):
    """The job that a run belongs to."""

    name: Annotated[str, PLAIN]
    namespace: Annotated[str | None, PLAIN] = None
    uid: Annotated[str | None, PLAIN] = None


class ResolvedRun(TrainingJobSpec, _Identity):
    """The spec with the values in force, made once by :func:`resolve`.

    ``validation.strategy`` is never ``auto``. ``None`` in ``metric``, ``positive_label`` and ``n_jobs``, and
    ``task: auto``, are left to the trainer, which alone sees the data and its own limits. ``sources`` gives
    for each row of the environment table (by the path of the field below ``spec``) ``spec``,
    ``environment``, ``rollout`` or ``default``.
    """

    # These differ from the spec in kind, not only in that they are set.
    automl: ClassVar[None] = None  # type: ignore[misc]
    automl_enabled: Annotated[bool, Use(digest=False, listed=True, path="automl.enabled")]
    automl_fallback: Annotated[bool, Use(digest=False, listed=True, path="automl.fallback")]
    search_space: Annotated[ResolvedSearchSpace, SHOWN]  # type: ignore[assignment]
    active_deadline_seconds: Annotated[int, SHOWN]
    dask_scheduler_file: Annotated[str, PLAIN]
    sources: Annotated[dict[str, str], PLAIN] = Field(default_factory=dict)

    def search_digest(self) -> str:
        """Return the SHA-256 over all values that decide which pipelines are evaluated and how they score.

        The total budget, generations, parallelism and output are excluded, so that a run can be resumed with
        more time or on other machines.
        """
        parts: dict[str, Any] = {}
        for path, value in self._used("digest").items():
            parent, _, name = path.rpartition(".")
            (parts.setdefault(parent, {}) if parent else parts)[name] = value
        text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def listed(self) -> dict[str, Any]:
        """Return what ``trainingjob validate`` lists: JSON values by their path below ``spec``."""
        return self._used("listed")

    def summary(self, *, image: str | None = None) -> Resolved:
        """Return ``status.resolved`` as far as it is known before the data is read."""
        values = {**dict(self), **dict(self.validation), **dict(self.budget)}
        values |= {to_snake(path.split(".")[-1]): value for path, value in self._used("status").items()}
        values |= {
            "holdout_fraction": format(self.validation.holdout_fraction, ".6g"),
            "search_space": shorten(self.search_space.preset or self.search_space.source, 300),
            "image": image,
            "search_digest": self.search_digest(),
        }
        return Resolved(**{name: values[name] for name in Resolved.model_fields if name in values})

    def _used(self, use: str) -> dict[str, Any]:
        """Return the JSON values of the fields whose mark has *use*, by their path below ``spec``."""
        return dict(_used(self, self.model_dump(mode="json", by_alias=True), use))


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
    """Return the values in force for *job* and the variables of the table.

    Parameters
    ----------
    job, environment
        The job, and environment variables, of which those of the table are read.
    rollout
        ``automl.enabled`` according to a canary share: below an explicit field, above
        ``ENABLE_AUTOML=true`` and the default. ``None`` without a share.
    search_space_text
        Content of the key that ``searchSpace.configMapRef`` names, if it exists.

    Raises
    ------
    SpecError
        With every problem: bad variables (by name), a search space that does not parse, values that
        contradict each other once they are combined.
    """
    spec, sources, problems = _with_environment(job.spec, environment, rollout=rollout)
    problems += check_spec(spec)
    try:
        space, sources["searchSpace"] = _space(spec.search_space, environment, search_space_text)
    except SpecError as error:
        problems += error.problems
    if problems:
        raise SpecError(problems=problems)
    scheduler_file = read_variable(environment, DASK_SCHEDULER_FILE)
    sources["daskSchedulerFile"] = "environment" if scheduler_file else "default"
    acceptance = spec.acceptance
    values = dict(spec) | {
        "validation": spec.validation.model_copy(update={"strategy": _strategy(spec.validation)}),
        "automl_enabled": spec.automl.enabled,
        "automl_fallback": spec.automl.fallback,
        "search_space": space,
        "acceptance": acceptance if acceptance is not None and acceptance.model_fields_set else None,
        "active_deadline_seconds": spec.active_deadline_seconds or _deadline(spec),
        "dask_scheduler_file": scheduler_file or DEFAULT_SCHEDULER_FILE,
        "sources": sources,
    }
    del values["automl"]
    return ResolvedRun(
        name=job.metadata.name, namespace=job.metadata.namespace, uid=job.metadata.uid, **values
    )


def _with_environment(
    spec: TrainingJobSpec, environment: Mapping[str, str], *, rollout: bool | None
) -> tuple[TrainingJobSpec, dict[str, str], list[Problem]]:
    """Return *spec* with the values of the table, their sources by field, and the problems of variables."""
    sources: dict[str, str] = {}
    problems: list[Problem] = []
    for row in TABLE:
        try:
            # A bad variable is an error even where the spec hides it: the next job would meet it.
            variable = row.from_environment(environment)
        except SpecError as error:
            problems += error.problems
            variable = None
        choices = [(value_at(spec, row.field), "spec"), (variable, "environment"), (row.default, "default")]
        if row.field == "automl.enabled":
            choices.insert(1, (rollout, "rollout"))
            if variable is False:
                # The operator's kill switch wins over everything.
                choices.insert(0, (variable, "environment"))
        known = ((value, source) for value, source in choices if value is not None)
        value, sources[row.field] = next(known, (None, "default"))
        spec = _with(spec, row.field, value)
    limit = min(spec.budget.per_run_limit_seconds, spec.budget.time_left_seconds)
    spec = _with(spec, "budget.perRunLimitSeconds", limit)
    if spec.parallel_mode is ParallelMode.NONE:
        spec, sources["nJobs"] = _with(spec, "nJobs", 1), sources["parallelMode"]
    return spec, sources, problems


def _with(model: _Model, path: str, value: Any) -> _Model:
    """Return *model* with *value* at the dotted *path*."""
    alias, _, rest = path.partition(".")
    name = to_snake(alias)
    return model.model_copy(update={name: _with(getattr(model, name), rest, value) if rest else value})


def _deadline(spec: TrainingJobSpec) -> int:
    time_left = spec.budget.time_left_seconds
    wait = spec.dask.ready_timeout_seconds if spec.parallel_mode is ParallelMode.DISTRIBUTED else 0
    return time_left + max(5, -(-time_left // 20)) + wait + GRACE_SECONDS


def _strategy(validation: Validation) -> ValidationStrategy:
    if validation.strategy is not ValidationStrategy.AUTO:
        return validation.strategy
    if validation.group_column is not None:
        return ValidationStrategy.GROUP
    return ValidationStrategy.KFOLD if validation.time_column is None else ValidationStrategy.TIME


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
    raise SpecError(
        CONFIG_DICT,
        f"{shorten(setting, 60)!r} is not a preset, TPOT group, inline JSON or path",
        did_you_mean(setting, names, f"names are {', '.join(names)}"),
    )
