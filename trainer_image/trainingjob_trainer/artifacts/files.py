"""Files that appear whole or not at all, and JSON without NaN, infinity or types of other libraries."""

import json
import math
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import UTC, date, datetime
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["SCHEMA_VERSION", "plain", "read_json", "write_json", "write_text"]

SCHEMA_VERSION = "1.0"
_MAX_BYTES = 64 * 1024 * 1024


def plain(value: Any) -> Any:
    """Return a value as plain JSON values; numbers that are not finite become None.

    Keys become strings, times ISO 8601 in UTC, arrays lists; values of unknown types become their text.
    """
    if isinstance(value, Enum):
        return plain(value.value)
    match value:
        case None | bool():
            result: Any = value
        case int():
            result = int(value)
        case float():
            result = float(value) if math.isfinite(value) else None
        case np.generic() | np.ndarray():
            result = plain(value.tolist())
        case Mapping():
            result = {_key(key): plain(item) for key, item in value.items()}
        case list() | tuple():
            result = [plain(item) for item in value]
        case AbstractSet():
            result = sorted((plain(item) for item in value), key=str)
        case date():
            result = _time(value)
        case _:
            # Lone surrogates, which a table may hold, cannot be written as UTF-8.
            result = str(value).encode("utf-8", errors="replace").decode("utf-8")
    return result


def _key(key: Any) -> str:
    inner = plain(key)
    return inner if isinstance(inner, str) else json.dumps(inner)


def _time(value: date) -> str:
    if not isinstance(value, datetime):
        return value.isoformat()
    aware = value if value.tzinfo else value.replace(tzinfo=UTC)
    return aware.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def write_json(path: Path, content: Mapping[str, Any]) -> Path:
    """Write a document and return its path; equal content gives equal bytes."""
    return write_text(path, json.dumps(plain(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> Path:
    """Write a UTF-8 text file atomically and return its path."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8", newline="\n")
    return partial.replace(path)


def read_json(path: Path) -> dict[str, Any]:
    """Return a document that `write_json` wrote.

    Raises
    ------
    OSError
        The file cannot be read.
    ValueError
        It is larger than 64 MiB, not JSON, or not an object.
    """
    if path.stat().st_size > _MAX_BYTES:
        raise ValueError(f"{path.name} is larger than {_MAX_BYTES} bytes")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise ValueError(f"{path.name} is nested too deeply") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path.name} is not a JSON object")  # noqa: TRY004 - the content is wrong, not a type
    return content
