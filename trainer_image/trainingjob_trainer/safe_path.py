"""Keeps the current folder off Python's path. Every process starts with this, so it imports nothing heavy."""

import os
from collections.abc import Mapping
from pathlib import Path

__all__ = ["with_safe_path"]


def with_safe_path(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which Python, and all that it starts, imports nothing from the current folder.

    Parameters
    ----------
    environment
        Of which relative entries of ``PYTHONPATH`` are left out.
    """
    safe = {**environment, "PYTHONSAFEPATH": "1"}
    entries = [entry for entry in safe.pop("PYTHONPATH", "").split(os.pathsep) if Path(entry).is_absolute()]
    return safe | ({"PYTHONPATH": os.pathsep.join(entries)} if entries else {})
