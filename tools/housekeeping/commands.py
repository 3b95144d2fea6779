"""The commands that a reader sees first are those that exist and that continuous integration runs."""

import re
from collections.abc import Iterator

from housekeeping.tree import Problem, Tree

TARGETS = ("run", "test", "check", "bench", "e2e", "crd", "lock", "clean", "help")
FIRST = ("make run", "make test")
_BLOCK = re.compile(r"^```[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)


def check_commands(tree: Tree) -> Iterator[Problem]:
    """Yield missing Makefile targets, and differences between README, Makefile and ``.ci/run``."""
    readme, makefile, script = (_read(tree, path) for path in ("README.md", "Makefile", ".ci/run"))
    targets = set(re.findall(r"^([a-z][a-z0-9]*):", makefile, re.MULTILINE))
    for target in TARGETS:
        if target not in targets:
            yield Problem("Makefile", 0, f"has no target {target}")

    first_block = _BLOCK.search(readme)
    shown = [line.split("#")[0].strip() for line in first_block.group(1).splitlines()] if first_block else []
    if tuple(filter(None, shown)) != FIRST:
        yield Problem("README.md", 0, f"the first code block must be exactly: {', '.join(FIRST)}")
    for target in set(re.findall(r"\bmake ([a-z][a-z0-9]*)\b", "\n".join(_BLOCK.findall(readme)))) - targets:
        yield Problem("README.md", 0, f"shows make {target}, which the Makefile does not have")

    run = re.findall(r"^make ([a-z0-9]+)", script, re.MULTILINE)
    if run != ["test", "check"]:
        yield Problem(".ci/run", 0, f"must run make test, then make check; runs {run}")


def _read(tree: Tree, path: str) -> str:
    return (tree.root / path).read_text(encoding="utf-8")
