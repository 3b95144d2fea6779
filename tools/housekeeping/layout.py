"""Where modules are, what they are called and how long they may be."""

from collections.abc import Iterator
from pathlib import PurePosixPath

from housekeeping.tree import Problem, Tree

MAX_MODULE_LINES = 400
"""A longer module has two subjects."""

_NOUNS = ("binding", "string")
_PRODUCTION = ("crds/", "certificates/", "client/", "operator/", "trainer_image/")


def check_layout(tree: Tree) -> Iterator[Problem]:
    """Yield a package where a plain folder must be, and each module that is too long or badly named."""
    if (tree.root / "operator/__init__.py").exists():
        yield Problem("operator/__init__.py", 0, "hides Python's own operator module; delete it")
    modules = {
        path for path in tree.paths if path.endswith(".py") and path.startswith((*_PRODUCTION, "tools/"))
    }
    for path in sorted(modules):
        lines = len((tree.text(path) or "").splitlines())
        if lines > MAX_MODULE_LINES:
            message = f"{lines} lines, at most {MAX_MODULE_LINES} are allowed: split it"
            yield Problem(path, lines, message)
        if not path.startswith(_PRODUCTION):
            continue
        name = PurePosixPath(path)
        if name.stem.endswith("ing") and not name.stem.endswith(_NOUNS):
            yield Problem(path, 0, "name the module by a noun, not by an -ing form")
        plural = name.with_stem(f"{name.stem}s")
        for other in (str(plural), str(plural.with_suffix("") / "__init__.py")):
            if other in modules:
                yield Problem(path, 0, f"differs from {other} by an s only; rename one of them")
