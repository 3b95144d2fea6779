"""Files that break a rule from the time before it; the lists only become shorter.

``python -m housekeeping --shrink`` removes the entries that are not needed any more.
"""

import tomllib
from collections.abc import Iterable, Mapping

from housekeeping.tree import Problem, Tree

__all__ = ["PATH", "is_spared", "read_exceptions", "render"]

PATH = "tools/housekeeping/exceptions.toml"
_HEAD = "# Files from before a rule. Entries are only removed: python -m housekeeping --shrink\n"


def read_exceptions(tree: Tree) -> dict[str, list[str]]:
    """Return the files that are exempt, by rule."""
    return tomllib.loads((tree.text(PATH) if PATH in tree.paths else None) or "")


def is_spared(problem: Problem, exceptions: Mapping[str, Iterable[str]]) -> bool:
    """Return whether the file of *problem* is exempt from its rule."""
    return problem.path in exceptions.get(problem.rule, ())


def render(exceptions: Mapping[str, Iterable[str]], problems: Iterable[Problem]) -> str:
    """Return the file of exceptions with those alone that *problems* still need."""
    needed = {(problem.rule, problem.path) for problem in problems}
    text = _HEAD
    for rule, paths in exceptions.items():
        kept = "".join(f'    "{path}",\n' for path in sorted(paths) if (rule, path) in needed)
        text += f"\n{rule} = [\n{kept}]\n"
    return text
