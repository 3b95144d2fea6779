"""Check every house rule over the repository this file is in: ``python -m housekeeping``."""

import sys
from pathlib import Path

from housekeeping.commands import check_commands
from housekeeping.layout import check_layout
from housekeeping.links import check_links
from housekeeping.locks import check_locks
from housekeeping.names import check_names
from housekeeping.tree import Problem, Tree
from housekeeping.words import check_words

RULES = (check_layout, check_names, check_words, check_links, check_commands, check_locks)


def problems(root: Path) -> list[Problem]:
    """Return everything under *root* that breaks a rule."""
    tree = Tree(root)
    return [problem for rule in RULES for problem in rule(tree)]


def main() -> int:
    """Print the problems; return 1 if there are any."""
    found = problems(Path(__file__).resolve().parents[2])
    for problem in found:
        sys.stderr.write(f"{problem}\n")
    sys.stdout.write(f"house rules: {len(found) or 'no'} problem{'' if len(found) == 1 else 's'}\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
