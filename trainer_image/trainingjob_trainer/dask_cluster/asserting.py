"""What runs inside a scheduler on the trainer's behalf; it imports little: the scheduler stays light."""

import sys
from importlib.metadata import version
from typing import Any

__all__ = ["read_settings", "read_versions"]


def read_settings(dask_scheduler: Any) -> dict[str, Any]:
    """Return the settings that the search relies on."""
    return {"allowed-failures": dask_scheduler.allowed_failures}


def read_versions() -> dict[str, str]:
    """Return the versions of what scheduler and trainer must have in common to talk to each other."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    return {"python": python, "dask": version("dask"), "distributed": version("distributed")}
