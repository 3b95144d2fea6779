"""The README of a chart: by hand above a mark, below it the table of the values, which is generated.

A value is documented by a comment that begins with ``# --`` above it. One that is documented is one row,
whatever it holds; one that is not is a group, and its values are looked at in turn.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

__all__ = ["OPERATOR", "Value", "values_of", "write_readme"]

OPERATOR = "helm/trainingjob-operator"
MARK = "<!-- The table below is generated from values.yaml by `make charts`. -->"
_DEFAULT = re.compile(r"\s*@default -- (.*)$")


class Value(NamedTuple):
    """One documented value."""

    path: str
    default: str
    text: str


def values_of(source: str) -> Iterator[Value]:
    """Yield the documented values of *source*, the text of a ``values.yaml``.

    Raises
    ------
    ValueError
        Naming a value that has neither a description nor values below it.
    """
    root = yaml.compose(source, Loader=yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode):
        raise TypeError("values.yaml must hold a mapping")
    yield from _walk(root, (), source.splitlines())


def readme_text(chart: Path) -> str:
    """Return the README that belongs to the chart in the folder *chart*."""
    head, mark, _ = (chart / "README.md").read_text(encoding="utf-8").partition(MARK)
    if not mark:
        raise ValueError(f"{chart.name}/README.md has lost its mark: {MARK}")
    rows = [
        f"| `{value.path}` | {value.default} | {value.text} |"
        for value in values_of((chart / "values.yaml").read_text(encoding="utf-8"))
    ]
    return "\n".join([head.rstrip(), "", MARK, "", "| Value | Default | |", "|---|---|---|", *rows, ""])


def write_readme(chart: Path) -> None:
    """Write the README of the chart in the folder *chart*."""
    (chart / "README.md").write_text(readme_text(chart), encoding="utf-8")


def _walk(node: yaml.MappingNode, above: tuple[str, ...], lines: list[str]) -> Iterator[Value]:
    for key, value in node.value:
        path = (*above, key.value)
        text, default = _description(lines, key.start_mark.line)
        if text:
            shown = default or f"`{json.dumps(_plain(value), ensure_ascii=False)}`"
            yield Value(".".join(path), shown.replace("|", "\\|"), text.replace("|", "\\|"))
        elif isinstance(value, yaml.MappingNode) and value.value:
            yield from _walk(value, path, lines)
        else:
            raise ValueError(f"{'.'.join(path)}: has no description (a comment that begins with # --)")


def _description(lines: list[str], line: int) -> tuple[str, str | None]:
    """Return what the comment above *line* says, and the default that it names, if any."""
    comment: list[str] = []
    while line > 0 and lines[line - 1].lstrip().startswith("#"):
        line -= 1
        comment.insert(0, lines[line].lstrip().removeprefix("#"))
    if not comment or not comment[0].startswith(" -- "):
        return "", None
    defaults = [found.group(1) for line in comment if (found := _DEFAULT.match(line))]
    words = [line.strip().removeprefix("-- ") for line in comment if not _DEFAULT.match(line)]
    return " ".join(words), (defaults[0] if defaults else None)


def _plain(node: yaml.Node) -> Any:
    return yaml.safe_load(yaml.serialize(node))
