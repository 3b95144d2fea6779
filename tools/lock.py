"""Resolve the requirements of pyproject.toml into the files of locks/.

``make lock`` runs it. The locks are plain requirement files with hashes, valid for every supported Python
and platform at once, which uv and pip both install. They name no index, so any mirror serves them.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from housekeeping.locks import CONTENTS

ROOT = Path(__file__).resolve().parent.parent
OLDEST_PYTHON = "3.11"
DEV = "locks/dev.txt"


def sources(lock: str) -> tuple[str, ...]:
    """Return uv's arguments for the requirements of *lock*.

    The narrower locks are resolved under the pins of the widest one, so that images hold what was tested.
    """
    extras, groups, own = CONTENTS[lock]
    arguments = ["pyproject.toml"] if own else []
    for option, names in (("--extra", extras), ("--group", groups)):
        arguments += [part for name in names for part in (option, name)]
    return (*arguments, *(() if lock == DEV else ("--constraints", DEV)))


def compile_lock(target: str, *, upgrade: bool) -> None:
    """Write one lock, keeping its present pins where they still fit unless *upgrade* is set.

    Raises
    ------
    subprocess.CalledProcessError
        If the requirements have no common solution; uv has said why by then.
    """
    command = [
        str(Path(sys.executable).with_name("uv")),
        "pip",
        "compile",
        *sources(target),
        "--quiet",
        "--universal",
        "--python-version",
        OLDEST_PYTHON,
        "--generate-hashes",
        "--no-emit-index-url",
        "--no-emit-find-links",
        "--custom-compile-command",
        "make lock",
        "--output-file",
        target,
    ]
    if upgrade:
        command.append("--upgrade")
    subprocess.run(command, cwd=ROOT, check=True)


def main() -> int:
    """Write every lock; return the exit status."""
    parser = argparse.ArgumentParser(description="Write the lock files from pyproject.toml.")
    parser.add_argument("--upgrade", action="store_true", help="take newer releases")
    upgrade = bool(parser.parse_args().upgrade)
    for target in CONTENTS:
        # A constraint that is itself out of date would forbid the very change that is being locked.
        compile_lock(target, upgrade=upgrade or target != DEV)
        sys.stdout.write(f"{target}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
