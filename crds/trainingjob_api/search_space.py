"""Reading a declarative search space: from YAML, JSON or a mapping to a bounded tree of nodes."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter, ValidationError

from trainingjob_api.errors import MAX_PROBLEMS, Problem, SpecError
from trainingjob_api.hints import PYDANTIC_TYPES, nearest, path_text, plain_message, wrong_type
from trainingjob_api.space_nodes import (
    ChoiceNode,
    ChoiceValues,
    DynamicLinearNode,
    DynamicUnionNode,
    EstimatorNode,
    FeatureSetsNode,
    GraphNode,
    GroupNode,
    Hyperparameter,
    Range,
    SequentialNode,
    SpaceNode,
    UnionNode,
    WrapperNode,
    children,
)
from trainingjob_api.text import shorten
from trainingjob_api.yaml_text import parse_yaml

__all__ = [
    "MAX_TREE_BYTES",
    "MAX_TREE_DEPTH",
    "MAX_TREE_NODES",
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
    "dump_tree",
    "parse_tree",
    "walk",
]

MAX_TREE_BYTES = 64 * 1024
MAX_TREE_DEPTH = 12
MAX_TREE_NODES = 500
_MAX_VALUES = 20_000
_MAX_NESTING = 64
_MAX_KEYS = 64
_MAX_ERRORS = 10 * MAX_PROBLEMS
"""Errors of pydantic that are read: comparing them takes the square of their number."""

_NODES: dict[str, Any] = {
    "sequential": SequentialNode,
    "choice": ChoiceNode,
    "union": UnionNode,
    "dynamicUnion": DynamicUnionNode,
    "dynamicLinear": DynamicLinearNode,
    "graph": GraphNode,
    "wrapper": WrapperNode,
    "group": GroupNode,
    "featureSets": FeatureSetsNode,
    "estimator": EstimatorNode,
}
_ADAPTER: TypeAdapter[SpaceNode] = TypeAdapter(SpaceNode)


def parse_tree(source: str | Mapping[str, Any], *, field: str = "spec.searchSpace.inline") -> SpaceNode:
    """Return the tree that *source* holds.

    Parameters
    ----------
    source
        YAML or JSON text of at most 64 KiB, or a mapping read from it.
    field
        The field or variable that it comes from, for errors.

    Raises
    ------
    SpecError
        If it is no tree, or is deeper than 12 nodes or larger than 500.
    """
    tree = (
        parse_yaml(source, what="the search space", field=field, max_bytes=MAX_TREE_BYTES)
        if isinstance(source, str)
        else source
    )
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
    """Return *node* as plain data that :func:`parse_tree` reads back to an equal tree."""
    # Not exclude_none: null is a value that a hyperparameter may have.
    tree: dict[str, Any] = _ADAPTER.dump_python(node, mode="json", by_alias=True, exclude_unset=True)
    return tree


def walk(node: SpaceNode) -> Iterator[tuple[int, SpaceNode]]:
    """Yield *node* and all nodes below it, parents first, each with its depth (from 1)."""
    stack = [(1, node)]
    while stack:
        depth, here = stack.pop()
        yield depth, here
        stack.extend((depth + 1, child) for child in reversed(list(children(here))))


def _check_raw(tree: Any, field: str) -> None:
    """Bound nesting and values before pydantic, which recurses, sees them."""
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
    """Yield the errors without those of lists that are too short because their items are bad."""
    items = error.errors(include_url=False)[:_MAX_ERRORS]
    for item in items:
        loc = item["loc"]
        below = any(len(each["loc"]) > len(loc) and each["loc"][: len(loc)] == loc for each in items)
        if not (item["type"] == "too_short" and below):
            yield item


def _problem(item: Any, tree: Any, field: str) -> Problem:
    """Turn one of pydantic's errors into a sentence; *tree* tells fields from pydantic's own tags."""
    kind, context = item["type"], item.get("ctx") or {}
    path, here = _own_path(item["loc"], tree, keep_last=kind == "missing")
    where = path_text(path, field)
    if kind in {"union_tag_invalid", "union_tag_not_found", "model_attributes_type"}:
        return _not_a_node(where, here)
    if kind in PYDANTIC_TYPES:
        return wrong_type(where, PYDANTIC_TYPES[kind], item.get("input"))
    if kind == "extra_forbidden":
        _, parent = _own_path(item["loc"][:-1], tree, keep_last=False)
        names = _names(parent)
        found = nearest(str(path[-1]), names)
        hint = f"did you mean {found}?" if found else f"the fields are {', '.join(names)}"
        return Problem(where, "is no field here", hint)
    if kind == "string_pattern_mismatch":
        return Problem(where, "must be a plain name of letters, digits and _", "write no module path")
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
    found = nearest(tag, list(_NODES))
    hint = f"did you mean {found}?" if found else None
    return Problem(f"{where}.type", f"must be one of {kinds}, not {shorten(tag, 60)!r}", hint)


def _own_path(loc: Sequence[Any], tree: Any, *, keep_last: bool) -> tuple[list[Any], Any]:
    path: list[Any] = []
    here = tree
    for number, part in enumerate(loc):
        inside = (isinstance(here, Mapping) and part in here) or (
            isinstance(here, list | tuple) and isinstance(part, int) and part < len(here)
        )
        if inside:
            here = here[part]
            path.append(part)
        elif keep_last and number == len(loc) - 1:
            path.append(part)
    return path, here


def _names(parent: Any) -> list[str]:
    if isinstance(parent, Mapping):
        model = _NODES.get(str(parent.get("type"))) or (ChoiceValues if "choice" in parent else Range)
        return [info.alias or name for name, info in model.model_fields.items()]
    return []
