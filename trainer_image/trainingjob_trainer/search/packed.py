"""Tasks as bytes, so that a remote scheduler need not import what its workers run.

A scheduler unpickles the functions and arguments of each task. With these two it imports this module alone,
and stays a process of a few dozen MiB that is ready at once.
"""

import pickle
from collections.abc import Callable
from typing import Any

__all__ = ["call_packed", "pack_call"]


def pack_call(function: Callable[..., Any], arguments: tuple[Any, ...]) -> bytes:
    """Return a call as bytes; the function is named by its module."""
    return pickle.dumps((function, arguments), protocol=5)


def call_packed(packed: bytes) -> Any:
    """Make the call; runs on a worker, which takes code from its scheduler in any case."""
    function, arguments = pickle.loads(packed)
    return function(*arguments)
