"""The declarative search space: a tree as data, and how it is read from YAML, JSON or a mapping.

A node is a mapping with a ``type``; see each class for its fields. Nothing here is looked up, imported or
evaluated: the trainer checks names against its allow-list.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, Self, TypeAlias, get_args

from pydantic import (
    Discriminator,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    Tag,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from trainingjob_api.errors import (
    MAX_PROBLEMS,
    PYDANTIC_TYPES,
    Problem,
    SpecError,
    path_text,
    plain_message,
    wrong_type,
)
from trainingjob_api.load import parse_yaml
from trainingjob_api.types import ColumnName, CommonName, StrictModel, characters
from trainingjob_api.vocabulary import did_you_mean, shorten

MAX_TREE_BYTES = 64 * 1024
MAX_TREE_DEPTH = 12
MAX_TREE_NODES = 500
_MAX_VALUES = 20_000
_MAX_NESTING = 64
_MAX_KEYS = 64
_MAX_ERRORS = 10 * MAX_PROBLEMS
"""Errors of pydantic that are read; comparing them is quadratic in their number."""

# Tagged unions give one error for each bad value, plain ones one for each member; errors cost far more than
# values.
_Int = Annotated[StrictInt, Field(ge=-(2**63), le=2**63 - 1), Tag("#int")]
_Float = Annotated[StrictFloat, Tag("#float")]
_KINDS = {bool: "#bool", int: "#int", float: "#float", str: "#text", type(None): "#null"}


def _kind(value: Any) -> str | None:
    return _KINDS.get(type(value))


Number: TypeAlias = Annotated[
    _Int | _Float,
    Discriminator(_kind, custom_error_type="no_number", custom_error_message="must be a number"),
]
Scalar: TypeAlias = Annotated[
    Annotated[StrictBool, Tag("#bool")]
    | _Int
    | _Float
    | Annotated[StrictStr, characters(256), Tag("#text")]
    | Annotated[None, Tag("#null")],
    Discriminator(
        _kind,
        custom_error_type="no_scalar",
        custom_error_message="must be true, false, a number, text or null",
    ),
]


class Range(StrictModel):
    """A numeric hyperparameter between two bounds, both included; `log` samples it on a logarithmic scale."""

    low: Number
    high: Number
    log: StrictBool = False
    int_: StrictBool | None = Field(default=None, alias="int")
    """Whether it is a whole number; by default if both bounds are."""

    @property
    def integer(self) -> bool:
        """Whether values are whole numbers."""
        return (
            self.int_ if self.int_ is not None else isinstance(self.low, int) and isinstance(self.high, int)
        )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.low < self.high:
            raise ValueError("low must be below high")
        if self.log and self.low <= 0:
            raise ValueError("a range on a logarithmic scale must be above 0")
        if self.int_ and not (float(self.low).is_integer() and float(self.high).is_integer()):
            raise ValueError("the bounds of a range of whole numbers must be whole numbers")
        return self


class ChoiceValues(StrictModel):
    """A hyperparameter that takes one of several values."""

    choice: Annotated[tuple[Scalar, ...], Field(min_length=1, max_length=64, fail_fast=True)]


def _parameter_kind(value: Any) -> str:
    if isinstance(value, Range) or (isinstance(value, Mapping) and "choice" not in value):
        return "#range"
    return "#choice" if isinstance(value, Mapping | ChoiceValues) else "#constant"


Hyperparameter: TypeAlias = Annotated[
    Annotated[Range, Tag("#range")]
    | Annotated[ChoiceValues, Tag("#choice")]
    | Annotated[Scalar, Tag("#constant")],
    Discriminator(_parameter_kind),
]
Hyperparameters: TypeAlias = Annotated[dict[CommonName, Hyperparameter], Field(max_length=64)]
Branch: TypeAlias = Annotated[tuple["SpaceNode", ...], Field(min_length=1, max_length=64)]


class SequentialNode(StrictModel):
    """Steps in sequence; the last one predicts."""

    type: Literal["sequential"]
    steps: Branch


class ChoiceNode(StrictModel):
    """One of several options."""

    type: Literal["choice"]
    options: Branch


class UnionNode(StrictModel):
    """Transformers in parallel; their outputs are concatenated."""

    type: Literal["union"]
    members: Branch


class DynamicUnionNode(StrictModel):
    """One to ``maxMembers`` transformers of one space in parallel."""

    type: Literal["dynamicUnion"]
    member: "SpaceNode"
    max_members: Annotated[StrictInt, Field(ge=1, le=20)] = 4


class DynamicLinearNode(StrictModel):
    """One to ``maxLength`` steps of one space in sequence."""

    type: Literal["dynamicLinear"]
    step: "SpaceNode"
    max_length: Annotated[StrictInt, Field(ge=1, le=20)] = 4


class GraphNode(StrictModel):
    """A directed acyclic graph of at most ``maxSize`` nodes.

    Leaves, which have the space of inner nodes if none of their own, read the data; inner nodes read their
    children; the root predicts.
    """

    type: Literal["graph"]
    root: "SpaceNode"
    leaf: "SpaceNode | None" = None
    inner: "SpaceNode | None" = None
    max_size: Annotated[StrictInt, Field(ge=1, le=50)] = 10


class WrapperNode(StrictModel):
    """An estimator around another one, such as a selector around a model."""

    type: Literal["wrapper"]
    estimator: CommonName
    hyperparameters: Hyperparameters = Field(default_factory=dict)
    inner: "SpaceNode"


class GroupNode(StrictModel):
    """One estimator from TPOT's groups, or of those named, with TPOT's hyperparameters."""

    type: Literal["group"]
    names: Annotated[tuple[CommonName, ...], Field(min_length=1, max_length=64)]


class FeatureSetsNode(StrictModel):
    """A selector that picks one of several named sets of raw columns."""

    type: Literal["featureSets"]
    sets: Annotated[
        dict[
            Annotated[str, characters(64, least=1)],
            Annotated[tuple[ColumnName, ...], Field(min_length=1, max_length=1_000, fail_fast=True)],
        ],
        Field(min_length=1, max_length=64),
    ]


class EstimatorNode(StrictModel):
    """One estimator by its class name; a hyperparameter is a constant, a range or a choice."""

    type: Literal["estimator"]
    name: CommonName
    hyperparameters: Hyperparameters = Field(default_factory=dict)


SpaceNode: TypeAlias = Annotated[
    SequentialNode
    | ChoiceNode
    | UnionNode
    | DynamicUnionNode
    | DynamicLinearNode
    | GraphNode
    | WrapperNode
    | GroupNode
    | FeatureSetsNode
    | EstimatorNode,
    Field(discriminator="type"),
]

_NODES: dict[str, Any] = {
    get_args(node.model_fields["type"].annotation)[0]: node for node in get_args(get_args(SpaceNode)[0])
}
for _node in _NODES.values():
    _node.model_rebuild()
_ADAPTER: TypeAdapter[SpaceNode] = TypeAdapter(SpaceNode)


def children(node: SpaceNode) -> Iterator[SpaceNode]:
    """Yield the nodes right below *node*, in the order of its fields."""
    match node:
        case SequentialNode(steps=nodes) | ChoiceNode(options=nodes) | UnionNode(members=nodes):
            yield from nodes
        case DynamicUnionNode(member=inner) | DynamicLinearNode(step=inner) | WrapperNode(inner=inner):
            yield inner
        case GraphNode():
            yield from (each for each in (node.root, node.leaf, node.inner) if each is not None)
        case GroupNode() | FeatureSetsNode() | EstimatorNode():
            return


def parse_tree(source: str | Mapping[str, Any], *, field: str = "spec.searchSpace.inline") -> SpaceNode:
    """Return the tree that *source* holds.

    Errors begin with *field*, the field or variable that has the text, of at most 64 KiB, or the mapping.

    Raises
    ------
    SpecError
        If it is not a tree, is deeper than 12 nodes or has more than 500.
    """
    tree: Any = source
    if isinstance(source, str):
        tree = parse_yaml(source, what="the search space", field=field, max_bytes=MAX_TREE_BYTES)
    _check_raw(tree, field)
    try:
        node = _ADAPTER.validate_python(tree, by_alias=True, by_name=False)
    except ValidationError as error:
        problems = (_problem(item, tree, field) for item in _own_errors(error))
        raise SpecError(problems=problems, more=error.error_count() > _MAX_ERRORS) from None
    for number, (depth, _) in enumerate(walk(node), start=1):
        if depth > MAX_TREE_DEPTH:
            raise SpecError(field, f"the search space is deeper than {MAX_TREE_DEPTH} nodes", "flatten it")
        if number > MAX_TREE_NODES:
            raise SpecError(field, f"the search space has more than {MAX_TREE_NODES} nodes", "use groups")
    return node


def dump_tree(node: SpaceNode) -> dict[str, Any]:
    """Return *node* as plain data; :func:`parse_tree` reads it back to an equal tree."""
    # Not exclude_none: null is a valid value of a hyperparameter.
    tree: dict[str, Any] = _ADAPTER.dump_python(node, mode="json", by_alias=True, exclude_unset=True)
    return tree


def walk(node: SpaceNode) -> Iterator[tuple[int, SpaceNode]]:
    """Yield *node* and its descendants, parents first, each with its depth (from 1)."""
    stack = [(1, node)]
    while stack:
        depth, here = stack.pop()
        yield depth, here
        stack.extend((depth + 1, child) for child in reversed(list(children(here))))


def _check_raw(tree: Any, field: str) -> None:
    """Limit nesting and size before pydantic, which recurses, validates."""
    if not isinstance(tree, Mapping):
        raise SpecError(
            field, "a search space is a mapping with a type", f"type is one of {', '.join(_NODES)}"
        )
    stack: list[tuple[Any, int]] = [(tree, 1)]
    count = 0
    while stack:
        value, depth = stack.pop()
        count += 1
        if depth > _MAX_NESTING or count > _MAX_VALUES:
            raise SpecError(field, f"the search space is nested deeper than {_MAX_NESTING} or too large")
        if isinstance(value, Mapping):
            if len(value) > _MAX_KEYS:
                raise SpecError(field, f"a mapping of the search space has more than {_MAX_KEYS} keys")
            stack.extend((each, depth + 1) for each in value.values())
        elif isinstance(value, list | tuple):
            stack.extend((each, depth + 1) for each in value)


def _own_errors(error: ValidationError) -> Iterator[Any]:
    """Yield the errors; skip "too short" for a list that is short only because its items are invalid."""
    items = error.errors(include_url=False)[:_MAX_ERRORS]
    for item in items:
        loc = item["loc"]
        below = any(len(each["loc"]) > len(loc) and each["loc"][: len(loc)] == loc for each in items)
        if not (item["type"] == "too_short" and below):
            yield item


def _problem(item: Any, tree: Any, field: str) -> Problem:
    kind, context = item["type"], item.get("ctx") or {}
    path, here = _own_path(item["loc"], tree)
    where = path_text([*path, item["loc"][-1]] if kind == "missing" else path, field)
    if kind in {"union_tag_invalid", "union_tag_not_found", "model_attributes_type"}:
        return _not_a_node(where, here)
    if kind in PYDANTIC_TYPES:
        return wrong_type(where, PYDANTIC_TYPES[kind], item.get("input"))
    if kind == "extra_forbidden":
        names = _names(_own_path(item["loc"][:-1], tree)[1])
        hint = did_you_mean(str(path[-1]), names, f"the fields are {', '.join(names)}")
        return Problem(where, "is not a field of this node", hint)
    if kind == "string_pattern_mismatch":
        return Problem(where, "must be a plain name of letters, digits and _", "leave out the module path")
    return Problem(where, plain_message(kind, item["msg"], context))


def _not_a_node(where: str, value: Any) -> Problem:
    kinds = ", ".join(_NODES)
    if not isinstance(value, Mapping):
        return Problem(where, "must be a node: a mapping with a type", f"type is one of {kinds}")
    if "type" not in value:
        return Problem(f"{where}.type", "is required", f"it is one of {kinds}")
    tag = value["type"]
    if not isinstance(tag, str):
        return Problem(f"{where}.type", f"must be one of {kinds}")
    text = f"must be one of {kinds}, not {shorten(tag, 60)!r}"
    return Problem(f"{where}.type", text, did_you_mean(tag, _NODES))


def _own_path(loc: Sequence[Any], tree: Any) -> tuple[list[Any], Any]:
    """Return the parts of a location that are in *tree*, without pydantic's own tags, and the value there."""
    path: list[Any] = []
    for part in loc:
        if (isinstance(tree, Mapping) and part in tree) or (
            isinstance(tree, list | tuple) and isinstance(part, int) and part < len(tree)
        ):
            tree = tree[part]
            path.append(part)
    return path, tree


def _names(parent: Any) -> list[str]:
    if isinstance(parent, Mapping):
        model = _NODES.get(str(parent.get("type"))) or (ChoiceValues if "choice" in parent else Range)
        return [info.alias or name for name, info in model.model_fields.items()]
    return []
