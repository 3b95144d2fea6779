"""The resource as a whole, and how users' input is read: YAML and JSON files, overrides and variables.

Files are bounded in size, depth and number of nodes after aliases, and hold one document without duplicate
keys. An empty variable counts as unset, since Helm and shells write empty ones.
"""

import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, TypeVar, get_type_hints

import yaml
from pydantic import BaseModel, BeforeValidator, Field, StrictInt, ValidationError

from trainingjob_api.errors import Problem, SpecError, explain, plain_message
from trainingjob_api.spec import TrainingJobSpec
from trainingjob_api.status import TrainingJobStatus
from trainingjob_api.types import ObjectName, StatusModel, StrictModel, Timestamp, Uid
from trainingjob_api.vocabulary import API_VERSION, KIND, read_variable, shorten

MAX_TEXT_BYTES = 256 * 1024
MAX_DEPTH = 64
MAX_NODES = 20_000
MAX_OVERRIDE_BYTES = 64 * 1024
MAX_PARTS = 16

_PREFIX = "TRAININGJOB_"
_TEXT = "tag:yaml.org,2002:str"
_MERGE = "tag:yaml.org,2002:merge"
_Settings = TypeVar("_Settings")


class ObjectMeta(StatusModel):
    """The part of an object's metadata that the project reads; the rest is ignored."""

    name: ObjectName
    namespace: ObjectName | None = None
    uid: Uid | None = None
    generation: Annotated[StrictInt, Field(ge=0)] | None = None
    resource_version: str | None = None
    creation_timestamp: Timestamp | None = None
    deletion_timestamp: Timestamp | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)


class TrainingJob(StrictModel):
    """A table, a target and a budget; the operator turns it into a verified model."""

    api_version: Literal["automl.trainingjob.dev/v1alpha1"] = "automl.trainingjob.dev/v1alpha1"
    kind: Literal["TrainingJob"] = "TrainingJob"
    metadata: ObjectMeta
    spec: TrainingJobSpec
    status: TrainingJobStatus | None = None


def load_job(path: Path, overrides: Sequence[str] = ()) -> TrainingJob:
    r"""Return the TrainingJob that the YAML or JSON file at *path*, of at most 256 KiB, holds.

    An override such as ``spec.budget.timeLeftSeconds=30`` is a dotted path (a dot inside a key as ``\.``)
    and a YAML value; ``null`` unsets the field.

    Raises
    ------
    SpecError
        With every problem of file, overrides and fields.
    """
    document = parse_yaml(read_text(path, MAX_TEXT_BYTES), what=f"the file {path.name}")
    return parse_job(apply_overrides(_check_shape(document), overrides))


def parse_job(mapping: Mapping[str, Any]) -> TrainingJob:
    """Return the TrainingJob that *mapping*, as read from YAML or an API server, holds.

    Raises
    ------
    SpecError
        With every problem: unknown fields (with the nearest name), wrong types and values, and fields
        that contradict each other.
    """
    _check_shape(mapping)
    try:
        # By alias alone: the API server does not know the snake_case names either.
        job = TrainingJob.model_validate(mapping, by_alias=True, by_name=False)
    except ValidationError as error:
        raise SpecError(problems=explain(error, TrainingJob)) from None
    problems = [*check_spec(job.spec)]
    if problems:
        raise SpecError(problems=problems)
    return job


def check_spec(model: BaseModel, path: str = "spec") -> Iterator[Problem]:
    """Yield each violation of the rules of the spec, or of the part of it at *path*."""
    for rule in getattr(model, "rules", ()):
        if not (rule.in_cluster_only or rule.check.holds(model)):
            field = f"{path}.{rule.field}" if rule.field else path
            yield Problem(field, rule.message, rule.hint.format(model=model) or None)
    for name, info in type(model).model_fields.items():
        value, here = getattr(model, name), f"{path}.{info.alias}"
        if isinstance(value, BaseModel):
            yield from check_spec(value, here)
        elif isinstance(value, tuple):
            for index, part in enumerate(value):
                yield from check_spec(part, f"{here}[{index}]")


def read_text(path: Path, limit: int) -> str:
    """Return the text of a regular file of at most *limit* bytes in UTF-8.

    Raises
    ------
    SpecError
        If there is no such file, or it is too large or no UTF-8.
    """
    try:
        if not path.is_file():
            kind = "is not a regular file" if path.exists() else "does not exist"
            raise SpecError(message=f"the file {path} {kind}")
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise SpecError(
            message=f"the file {path} cannot be read: {error.strerror or 'unknown error'}"
        ) from None
    if len(content) > limit:
        raise SpecError(message=f"the file {path.name} is larger than {limit // 1024} KiB")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise SpecError(message=f"the file {path.name} is not UTF-8 text", hint="save it as UTF-8") from None


def _check_shape(document: Any) -> Mapping[str, Any]:
    """Reject documents that are not a TrainingJob, before validating fields."""
    if not document:
        raise SpecError(
            message="the document is empty", hint=f"write apiVersion, kind: {KIND}, metadata and spec"
        )
    if not isinstance(document, Mapping):
        raise SpecError(message=f"a {KIND} is a mapping, not a {type(document).__name__}")
    fields = {info.alias for info in TrainingJobSpec.model_fields.values()}
    if "kind" not in document and "apiVersion" not in document and not fields.isdisjoint(document):
        raise SpecError(
            message="this is a bare spec",
            hint=f"put it under spec:, beside apiVersion: {API_VERSION}, kind: {KIND} and metadata",
        )
    problems = [
        Problem(field, f"is {_shown(document.get(field))}", f"this version supports {field}: {wanted}")
        if field in document
        else Problem(field, "is missing", f"write {field}: {wanted}")
        for field, wanted in (("apiVersion", API_VERSION), ("kind", KIND))
        if document.get(field) != wanted
    ]
    if problems:
        raise SpecError(problems=problems)
    return document


def _shown(value: Any) -> str:
    return (
        shorten(repr(value), 80)
        if isinstance(value, str | int | float | bool | None)
        else f"a {type(value).__name__}"
    )


def apply_overrides(document: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Return *document*, which is not changed, with each ``path=value`` of *overrides* set in order.

    Raises
    ------
    SpecError
        If an override has no ``=``, begins with neither ``spec`` nor ``metadata``, or leads through a value
        that is not a mapping.
    """
    result = dict(document)
    example = "write it like --set spec.budget.timeLeftSeconds=30"
    for override in overrides:
        path, sign, text = override.partition("=")
        field = shorten(path.strip(), 200)
        # Split at unescaped dots: names of columns may contain dots.
        parts = [part.replace("\\.", ".") for part in re.split(r"(?<!\\)\.", path.strip())]
        if not sign or not all(parts) or len(parts) > MAX_PARTS:
            raise SpecError(field, "is not of the form path=value", example)
        if len(parts) == 1 or parts[0] not in {"spec", "metadata"}:
            raise SpecError(field, "must begin with spec. or metadata.", example)
        value = parse_yaml(text, what="the value of --set", field=field, max_bytes=MAX_OVERRIDE_BYTES)
        _set(result, parts, value)
    return result


def _set(document: dict[str, Any], path: list[str], value: Any) -> None:
    *parents, last = path
    here = document
    for depth, part in enumerate(parents):
        below = here.get(part)
        if below is not None and not isinstance(below, Mapping):
            raise SpecError(".".join(path[: depth + 1]), "has no fields that --set could change")
        # Copying each level keeps the caller's document unchanged.
        here[part] = dict(below or {})
        here = here[part]
    if value is None:
        here.pop(last, None)
    else:
        here[last] = value


class _Loader(yaml.SafeLoader):
    """A safe loader that rejects duplicate keys and reads dates and 1e-3 as kubectl does."""

    yaml_implicit_resolvers = {  # noqa: RUF012  # PyYAML's own attribute
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Limit the depth while reading: PyYAML recurses."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _Refused(f"is nested deeper than {MAX_DEPTH} levels")
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002
        keys: set[str] = set()
        pairs = []
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem="a key must be text", problem_mark=key.start_mark)
            if key.tag == _MERGE:
                pairs.append((key, value))
                continue
            if key.value in keys:
                problem = f"the key {shorten(key.value, 80)!r} appears twice"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            keys.add(key.value)
            # Keys are text: a column may be named 1 or no.
            pairs.append((yaml.ScalarNode(_TEXT, key.value, key.start_mark, key.end_mark), value))
        node.value = pairs
        return super().construct_mapping(node, deep=deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    # Each text has one way to match: ambiguity makes the time quadratic, with the GIL held.
    re.compile(r"^[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)[eE][-+]?[0-9]+$"),
    list("-+.0123456789"),
)


def parse_yaml(text: str, *, what: str, field: str = "", max_bytes: int = MAX_TEXT_BYTES) -> Any:
    """Return the value of *text*, a single YAML (or JSON) document; messages name *what* and its *field*.

    Raises
    ------
    SpecError
        If the text is too large, too deep, expands to too many nodes, repeats a key, has several documents,
        requests a Python object, or is not YAML.
    """
    if len(text) > max_bytes or len(text.encode(errors="replace")) > max_bytes:
        raise SpecError(field, f"{what} is larger than {max_bytes // 1024} KiB")
    try:
        return _construct(text)
    except _Refused as error:
        message, *hint = error.args
        raise SpecError(field, f"{what} {message}", *hint) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        problem = shorten(" ".join((error.problem or error.context or "").split()), 200)
        raise SpecError(field, f"{what} is not valid YAML: {where}{problem}") from None
    except yaml.YAMLError:
        raise SpecError(
            field, f"{what} is not valid YAML: it contains characters that YAML does not allow"
        ) from None
    except (ValueError, TypeError, AttributeError, LookupError, OverflowError):
        # Explicit tags such as !!int "x" fail inside PyYAML's constructors with bare errors.
        raise SpecError(field, f"{what} is not valid YAML: a value does not fit its tag") from None


class _Refused(Exception):  # noqa: N818  # private, never shown as a name
    """The text exceeds a bound or holds more than one document: message and hint."""


def _construct(text: str) -> Any:
    loader = _Loader(text)
    try:
        loader.get_event()  # type: ignore[no-untyped-call]
        if loader.check_event(yaml.StreamEndEvent):
            return None
        node = loader.compose_document()
        if not loader.check_event(yaml.StreamEndEvent):
            raise _Refused("contains several YAML documents (---)", "keep one TrainingJob in a file")
        _check_expansion(node)
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _check_expansion(root: yaml.Node | None) -> None:
    """Count nodes with every alias expanded, and reject aliases that contain themselves."""
    nodes = 0
    stack: list[tuple[Any, int]] = [(root, 1)]
    while stack:
        node, depth = stack.pop()
        nodes += 1
        if nodes > MAX_NODES:
            raise _Refused(f"has more than {MAX_NODES} values once its aliases are expanded")
        if depth > MAX_DEPTH:
            raise _Refused(f"is nested deeper than {MAX_DEPTH} levels, or an alias contains itself")
        if isinstance(node, yaml.MappingNode):
            stack.extend((child, depth + 1) for pair in node.value for child in pair)
        elif isinstance(node, yaml.SequenceNode):
            stack.extend((child, depth + 1) for child in node.value)


def variable_problem(variable: str, item: Any, hint: str | None) -> Problem:
    """Return the problem of a variable whose value pydantic rejects."""
    message = plain_message(item["type"], item["msg"], item.get("ctx") or {})
    return Problem(variable, f"{message}, not {shorten(str(item['input']), 60)!r}", hint)


@dataclass(frozen=True, slots=True)
class Variable:
    """Marks a setting that is not read from ``TRAININGJOB_<NAME>``; the first variable that is set wins."""

    names: tuple[str, ...]


def _split(text: object) -> object:
    return [word.strip() for word in text.split(",") if word.strip()] if isinstance(text, str) else text


Words: TypeAlias = Annotated[tuple[str, ...], BeforeValidator(_split)]
"""Words that a variable holds between commas."""


def variables_of(kind: type) -> dict[str, tuple[str, ...]]:
    """Return the names of the variables of each field of a settings class."""
    variables = {}
    for name, hint in get_type_hints(kind, include_extras=True).items():
        marks = [mark for mark in getattr(hint, "__metadata__", ()) if isinstance(mark, Variable)]
        variables[name] = marks[0].names if marks else (f"{_PREFIX}{name.upper()}",)
    return variables


def read_settings(kind: type[_Settings], environment: Mapping[str, str], **known: Any) -> _Settings:
    """Return settings read from *environment*, with *known* fields that no variable holds.

    *kind* is a pydantic dataclass; each field is read from the variable ``TRAININGJOB_<NAME>`` or those of
    its :class:`Variable`. An empty variable counts as unset, an empty flag as false.

    Raises
    ------
    SpecError
        Naming each variable that is missing or cannot be read.
    """
    variables, parameters = variables_of(kind), signature(kind).parameters
    texts: dict[str, Any] = dict(known)
    for name in variables.keys() - known.keys():
        found = (read_variable(environment, variable) for variable in variables[name])
        text = next((each for each in found if each is not None), None)
        if parameters[name].default is True and not environment.keys().isdisjoint(variables[name]):
            text = text or "false"  # an empty value must not allow what false forbids
        if text is not None:
            texts[name] = text
    try:
        return kind(**texts)
    except ValidationError as error:
        raise SpecError(
            problems=[
                Problem(variables[str(item["loc"][0])][0], "is required", "set it")
                if item["type"] in {"missing", "missing_keyword_only_argument"}
                else variable_problem(variables[str(item["loc"][0])][0], item, "correct or unset it")
                for item in error.errors(include_url=False)
            ]
        ) from None
