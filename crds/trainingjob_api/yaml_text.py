"""YAML from users, bounded: size, depth, nodes after aliases, one document, no duplicate keys."""

import re
from collections.abc import Hashable
from typing import Any

import yaml

from trainingjob_api.errors import SpecError
from trainingjob_api.text import shorten

__all__ = ["MAX_TEXT_BYTES", "parse_yaml"]

MAX_TEXT_BYTES = 256 * 1024
MAX_DEPTH = 64
MAX_NODES = 20_000


_TEXT = "tag:yaml.org,2002:str"
_MERGE = "tag:yaml.org,2002:merge"


class _Loader(yaml.SafeLoader):
    """A safe loader that refuses duplicate keys, and reads dates and 1e-3 as kubectl does."""

    yaml_implicit_resolvers = {  # noqa: RUF012  # PyYAML's own attribute
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Bound the depth while the text is read: PyYAML recurses."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _TooMuch(f"is nested deeper than {MAX_DEPTH} levels")
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002
        keys: set[str] = set()
        pairs = []
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _problem(key, "a key must be text")
            if key.tag == _MERGE:
                pairs.append((key, value))
                continue
            if key.value in keys:
                raise _problem(key, f"the key {shorten(key.value, 80)!r} appears twice")
            keys.add(key.value)
            # Keys are text: a column may be named 1 or no.
            pairs.append((yaml.ScalarNode(_TEXT, key.value, key.start_mark, key.end_mark), value))
        node.value = pairs
        return super().construct_mapping(node, deep=deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    # One way to match each text: a second one makes the time quadratic, with the interpreter's lock held.
    re.compile(r"^[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)[eE][-+]?[0-9]+$"),
    list("-+.0123456789"),
)


def _problem(node: yaml.Node, message: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=message, problem_mark=node.start_mark)


def parse_yaml(text: str, *, what: str, field: str = "", max_bytes: int = MAX_TEXT_BYTES) -> Any:
    """Return what the one YAML (or JSON) document of *text* holds.

    Parameters
    ----------
    text
        The document.
    what
        What the text is, for messages, such as ``the file job.yaml``.
    field
        The field that the text stands in, for the error.
    max_bytes
        Bound on the text in UTF-8.

    Raises
    ------
    SpecError
        If the text is too large, too deep, expands to too many nodes, repeats a key, holds several
        documents, asks for a Python object, or is no YAML.
    """
    if len(text) > max_bytes or len(text.encode(errors="replace")) > max_bytes:
        raise SpecError(field, f"{what} is larger than {max_bytes // 1024} KiB")
    try:
        return _construct(text, what, field)
    except SpecError:
        raise
    except _TooMuch as error:
        raise SpecError(field, f"{what} {error}") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        problem = _clean(error.problem or error.context or "")
        raise SpecError(field, f"{what} is not valid YAML: {where}{problem}") from None
    except yaml.YAMLError:
        raise SpecError(
            field, f"{what} is not valid YAML: it holds characters that YAML does not allow"
        ) from None
    except (ValueError, TypeError, AttributeError, LookupError, OverflowError):
        # Explicit tags such as !!int "x" fail inside PyYAML's constructors with bare errors.
        raise SpecError(field, f"{what} is not valid YAML: a value does not fit its tag") from None


class _TooMuch(Exception):  # noqa: N818  # private, never shown as a name
    """The document is beyond a bound."""


def _construct(text: str, what: str, field: str) -> Any:
    loader = _Loader(text)
    try:
        loader.get_event()  # type: ignore[no-untyped-call]
        if loader.check_event(yaml.StreamEndEvent):
            return None
        node = loader.compose_document()
        if not loader.check_event(yaml.StreamEndEvent):
            raise SpecError(
                field, f"{what} holds several YAML documents (---)", "keep one TrainingJob in a file"
            )
        _check_expansion(node)
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _check_expansion(root: yaml.Node | None) -> None:
    """Count nodes as if every alias were written out, and refuse aliases that hold themselves."""
    nodes = 0
    stack: list[tuple[Any, int]] = [(root, 1)]
    while stack:
        node, depth = stack.pop()
        nodes += 1
        if nodes > MAX_NODES:
            raise _TooMuch(f"holds more than {MAX_NODES} values once its aliases are written out")
        if depth > MAX_DEPTH:
            raise _TooMuch(f"is nested deeper than {MAX_DEPTH} levels, or an alias holds itself")
        if isinstance(node, yaml.MappingNode):
            stack.extend((child, depth + 1) for pair in node.value for child in pair)
        elif isinstance(node, yaml.SequenceNode):
            stack.extend((child, depth + 1) for child in node.value)


def _clean(text: str) -> str:
    return shorten(" ".join(text.split()), 200)
