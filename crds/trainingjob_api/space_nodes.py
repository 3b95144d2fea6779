"""The nodes of a declarative search space: a tree as data.

A node is a mapping with a ``type``; see each class for its fields. Nothing here is looked up,
imported or evaluated: names are checked against the allow-list by the trainer. How a tree is read
is in :mod:`trainingjob_api.search_space`.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import (
    Discriminator,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    StringConstraints,
    Tag,
    model_validator,
)

from trainingjob_api.base import ColumnName, CommonName, SpecModel

__all__ = [
    "ChoiceNode",
    "ChoiceValues",
    "DynamicLinearNode",
    "DynamicUnionNode",
    "EstimatorNode",
    "FeatureSetsNode",
    "GraphNode",
    "GroupNode",
    "Hyperparameter",
    "Range",
    "SequentialNode",
    "SpaceNode",
    "UnionNode",
    "WrapperNode",
    "children",
]

# One error for each bad value: a plain union has one for each of its members, and errors cost far more than
# values do.
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
    | Annotated[StrictStr, StringConstraints(max_length=256), Tag("#text")]
    | Annotated[None, Tag("#null")],
    Discriminator(
        _kind,
        custom_error_type="no_scalar",
        custom_error_message="must be true, false, a number, text or null",
    ),
]


class Range(SpecModel):
    """A numeric hyperparameter between two bounds, both included."""

    low: Number = Field(description="Lower bound.")
    high: Number = Field(description="Upper bound, above the lower one.")
    log: StrictBool = Field(default=False, description="Whether it is drawn on a logarithmic scale.")
    int_: StrictBool | None = Field(
        default=None, alias="int", description="Whether it is a whole number; default if both bounds are."
    )

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


class ChoiceValues(SpecModel):
    """A hyperparameter that takes one of several values."""

    choice: Annotated[tuple[Scalar, ...], Field(min_length=1, max_length=64, fail_fast=True)] = Field(
        description="The values."
    )


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
Branch = Field(min_length=1, max_length=64)


class SequentialNode(SpecModel):
    """Steps one after the other; the last one predicts."""

    type: Literal["sequential"] = Field(description="The kind of node.")
    steps: Annotated[tuple["SpaceNode", ...], Branch] = Field(description="The steps, in order.")


class ChoiceNode(SpecModel):
    """One of several options."""

    type: Literal["choice"] = Field(description="The kind of node.")
    options: Annotated[tuple["SpaceNode", ...], Branch] = Field(description="The options.")


class UnionNode(SpecModel):
    """Transformers side by side; their outputs are put together."""

    type: Literal["union"] = Field(description="The kind of node.")
    members: Annotated[tuple["SpaceNode", ...], Branch] = Field(description="The transformers.")


class DynamicUnionNode(SpecModel):
    """One to ``maxMembers`` transformers of one space side by side."""

    type: Literal["dynamicUnion"] = Field(description="The kind of node.")
    member: "SpaceNode" = Field(description="Space of each member.")
    max_members: Annotated[StrictInt, Field(ge=1, le=20)] = Field(default=4, description="Members at most.")


class DynamicLinearNode(SpecModel):
    """One to ``maxLength`` steps of one space, one after the other."""

    type: Literal["dynamicLinear"] = Field(description="The kind of node.")
    step: "SpaceNode" = Field(description="Space of each step.")
    max_length: Annotated[StrictInt, Field(ge=1, le=20)] = Field(default=4, description="Steps at most.")


class GraphNode(SpecModel):
    """A directed acyclic graph: leaves take the data, inner nodes their children, the root predicts."""

    type: Literal["graph"] = Field(description="The kind of node.")
    root: "SpaceNode" = Field(description="Space of the root.")
    leaf: "SpaceNode | None" = Field(
        default=None, description="Space of the leaves; default that of inner nodes."
    )
    inner: "SpaceNode | None" = Field(default=None, description="Space of the inner nodes.")
    max_size: Annotated[StrictInt, Field(ge=1, le=50)] = Field(default=10, description="Nodes at most.")


class WrapperNode(SpecModel):
    """An estimator around another one, such as a selector around a model."""

    type: Literal["wrapper"] = Field(description="The kind of node.")
    estimator: CommonName = Field(description="Name of the outer estimator.")
    hyperparameters: Hyperparameters = Field(default_factory=dict, description="Its hyperparameters.")
    inner: "SpaceNode" = Field(description="Space of the inner estimator.")


class GroupNode(SpecModel):
    """One estimator out of TPOT's groups, with TPOT's hyperparameters."""

    type: Literal["group"] = Field(description="The kind of node.")
    names: Annotated[tuple[CommonName, ...], Branch] = Field(description="Names of groups or of estimators.")


class FeatureSetsNode(SpecModel):
    """A selector of one of several sets of raw columns."""

    type: Literal["featureSets"] = Field(description="The kind of node.")
    sets: Annotated[
        dict[
            Annotated[str, StringConstraints(min_length=1, max_length=64)],
            Annotated[tuple[ColumnName, ...], Field(min_length=1, max_length=1_000, fail_fast=True)],
        ],
        Field(min_length=1, max_length=64),
    ] = Field(description="Columns by the name of the set.")


class EstimatorNode(SpecModel):
    """One estimator with hyperparameters of its own."""

    type: Literal["estimator"] = Field(description="The kind of node.")
    name: CommonName = Field(description="Name of the estimator, such as LogisticRegression.")
    hyperparameters: Hyperparameters = Field(
        default_factory=dict, description="A constant, {low, high, log, int} or {choice: [...]} by name."
    )


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

for _node in (
    SequentialNode,
    ChoiceNode,
    UnionNode,
    DynamicUnionNode,
    DynamicLinearNode,
    GraphNode,
    WrapperNode,
):
    _node.model_rebuild()


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
