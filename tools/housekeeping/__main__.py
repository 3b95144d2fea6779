"""Check every house rule over the repository this file is in: ``python -m housekeeping``."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from housekeeping.commands import check_commands
from housekeeping.exceptions import PATH, is_spared, read_exceptions, render
from housekeeping.layout import check_layout
from housekeeping.links import check_links
from housekeeping.locks import check_locks
from housekeeping.names import check_names
from housekeeping.tree import Problem, Tree
from housekeeping.words import check_words

RULES = (check_layout, check_names, check_words, check_links, check_commands, check_locks)


def problems(root: Path) -> list[Problem]:
    """Return everything under *root* that breaks a rule and is not exempt from it."""
    tree = Tree(root)
    exceptions = read_exceptions(tree)
    return [problem for problem in _all(tree) if not is_spared(problem, exceptions)]


def _all(tree: Tree) -> list[Problem]:
    return [problem for rule in RULES for problem in rule(tree)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the problems; return 1 if there are any."""
    parser = argparse.ArgumentParser(description="Check the rules of this repository that no linter knows.")
    parser.add_argument("--shrink", action="store_true", help=f"remove entries of {PATH} that are obsolete")
    root = Path(__file__).resolve().parents[2]
    if parser.parse_args(arguments).shrink:
        tree = Tree(root)
        (root / PATH).write_text(render(read_exceptions(tree), _all(tree)), encoding="utf-8")
    found = problems(root)
    for problem in found:
        sys.stderr.write(f"{problem}\n")
    sys.stdout.write(f"house rules: {len(found) or 'no'} problem{'' if len(found) == 1 else 's'}\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
