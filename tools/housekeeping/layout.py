"""Where things stand and how large they may grow."""

from collections.abc import Iterator

from housekeeping.tree import Problem, Tree

MAX_MODULE_LINES = 400
"""Past this a module has two subjects; about 300 is the aim."""

_SOURCES = ("crds/", "client/", "operator/", "trainer_image/", "tools/")


def check_layout(tree: Tree) -> Iterator[Problem]:
    """Yield a package where a plain folder must be, and each module that has outgrown its room."""
    if (tree.root / "operator/__init__.py").exists():
        yield Problem("operator/__init__.py", 0, "hides Python's own operator module; delete it")
    for path in tree.paths:
        if path.startswith(_SOURCES) and path.endswith(".py"):
            lines = len((tree.text(path) or "").splitlines())
            if lines > MAX_MODULE_LINES:
                yield Problem(path, lines, f"{lines} lines, at most {MAX_MODULE_LINES} are allowed: split it")
