"""The front room: ``trainingjob`` on the command line, from options to exit status.

``app`` holds the commands, ``desk`` decides where output goes and what an error looks like, ``view`` keeps
what a run has told so far, ``live`` and ``lines`` show it, ``summary`` ends it. What a command works with
comes in through ``services``, so that tests put something else there.
"""

from trainingjob_trainer.cli.app import app, main

__all__ = ["app", "main"]
