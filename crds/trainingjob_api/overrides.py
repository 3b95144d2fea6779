"""``--set path=value``: changes to a document before it is validated."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from trainingjob_api.errors import SpecError
from trainingjob_api.text import shorten
from trainingjob_api.yaml_text import parse_yaml

__all__ = ["apply_overrides"]

MAX_OVERRIDE_BYTES = 64 * 1024
MAX_PARTS = 16


def apply_overrides(document: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Return *document* with each ``path=value`` of *overrides* set in order.

    Parameters
    ----------
    document
        The document; it is not changed.
    overrides
        Each a dotted path that begins with ``spec`` or ``metadata`` and a YAML value.

    Raises
    ------
    SpecError
        If one has no ``=``, another root, or goes through something that is no mapping.
    """
    result = dict(document)
    for override in overrides:
        path, value = _split(override)
        _set(result, path, value)
    return result


def _split(override: str) -> tuple[list[str], Any]:
    path, sign, text = override.partition("=")
    # Split at dots that no backslash guards, since column names may hold dots.
    parts = [part.replace("\\.", ".") for part in re.split(r"(?<!\\)\.", path.strip())]
    example = "write it like --set spec.budget.timeLeftSeconds=30"
    if not sign or not all(parts) or len(parts) > MAX_PARTS:
        raise SpecError(shorten(path.strip(), 200), "is no path=value", example)
    if len(parts) < 2 or parts[0] not in {"spec", "metadata"}:  # noqa: PLR2004  # a root and a field
        raise SpecError(shorten(path.strip(), 200), "must begin with spec. or metadata.", example)
    return parts, parse_yaml(
        text, what="the value of --set", field=shorten(path.strip(), 200), max_bytes=MAX_OVERRIDE_BYTES
    )


def _set(document: dict[str, Any], path: list[str], value: Any) -> None:
    *parents, last = path
    here = document
    for depth, part in enumerate(parents):
        below = here.get(part)
        if below is not None and not isinstance(below, Mapping):
            raise SpecError(".".join(path[: depth + 1]), "holds no fields that --set could change")
        # A copy of each level on the way leaves the caller's document as it was.
        here[part] = dict(below or {})
        here = here[part]
    if value is None:
        here.pop(last, None)
    else:
        here[last] = value
