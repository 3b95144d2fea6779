"""How far up the ladder a child begins."""

from enum import StrEnum

__all__ = ["Mode"]


class Mode(StrEnum):
    """How far up the ladder a child begins; the parent goes down after each crash."""

    FULL = "full"
    LOCAL = "local"
    """A search with one worker of this process, where the job asks for a Dask cluster."""
    FINISH = "finish"
    """No more search: fit the best of what the journal holds."""
    BASELINE = "baseline"
    DUMMY = "dummy"
