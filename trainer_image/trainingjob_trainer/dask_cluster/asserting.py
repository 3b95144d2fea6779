"""What runs inside a scheduler on the trainer's behalf; it imports nothing: the scheduler stays light."""

from typing import Any

__all__ = ["read_settings"]


def read_settings(dask_scheduler: Any) -> dict[str, Any]:
    """Return the settings that the search relies on."""
    return {"allowed-failures": dask_scheduler.allowed_failures}
