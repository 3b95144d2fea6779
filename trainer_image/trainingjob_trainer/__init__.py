"""The data plane of the TrainingJob operator: from a table and a TrainingJob to a verified model.

Every process starts with this package, so it imports nothing heavy.
"""

import os
from collections.abc import Mapping
from pathlib import Path

__all__ = ["with_safe_path"]


def with_safe_path(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which Python, and all that it starts, imports nothing from the current folder.

    Relative entries of ``PYTHONPATH`` are left out.
    """
    safe = {**environment, "PYTHONSAFEPATH": "1"}
    entries = [entry for entry in safe.pop("PYTHONPATH", "").split(os.pathsep) if Path(entry).is_absolute()]
    return safe | ({"PYTHONPATH": os.pathsep.join(entries)} if entries else {})
