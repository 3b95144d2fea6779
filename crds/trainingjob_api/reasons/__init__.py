"""Reasons of conditions, fallbacks and failures, each a documented constant: the one complete registry.

A reason is API: it may be added, never renamed. Those of the control plane come from the operator (`course`);
those of the data plane come from the trainer, in its report, and pass through as they are (`data`, `run`).
Those of `tools` end a command on somebody's machine. ``docs/reference/conditions.md`` lists them all.
"""

from trainingjob_api.reasons.course import *  # noqa: F403  # the registry is all of them
from trainingjob_api.reasons.data import *  # noqa: F403  # the registry is all of them
from trainingjob_api.reasons.run import *  # noqa: F403  # the registry is all of them
from trainingjob_api.reasons.tools import *  # noqa: F403  # the registry is all of them

__all__ = [name for name in dir() if name.isupper()]  # one constant, one entry
