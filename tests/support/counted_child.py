"""The trainer's child as a module to start, which writes down its stack and that of its workers.

The child does so when it sends a task to a worker, a worker when it fits a pipeline.
"""

import json
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trainingjob_trainer.run import child

__all__ = ["STACKS", "own_frames"]

STACKS = "COUNTED_STACKS"
"""Environment variable: the file for the stacks."""


def own_frames() -> list[str]:
    """Return the functions of the trainer on the stack, the outermost first."""
    codes = [frame.f_code for frame, _ in traceback.walk_stack(None)]
    return [
        f"{Path(code.co_filename).stem}.{code.co_qualname}"
        for code in reversed(codes)
        if "/trainingjob_trainer/" in code.co_filename and code.co_name != "<module>"
    ]


def _counted(process: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any, **options: Any) -> Any:
        with Path(os.environ[STACKS]).open("a") as file:
            file.write(json.dumps([process, own_frames()]) + "\n")
        return function(*arguments, **options)

    return call


if __name__ == "__main__":
    from distributed import Client

    Client.submit = _counted("child", Client.submit)  # type: ignore[method-assign]
    sys.exit(child.main(sys.argv[1:]))
elif __name__ == "__mp_main__":  # a worker, which imports the main module of its parent
    from sklearn.pipeline import Pipeline

    Pipeline.fit = _counted("worker", Pipeline.fit)
