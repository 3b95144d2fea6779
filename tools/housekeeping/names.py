"""No tracked file names a package registry's host or a path of one developer's machine.

The user chooses where packages come from: a host in the tree breaks every mirror.
"""

import re
from collections.abc import Iterator

from housekeeping.tree import Problem, Tree

# Joined here so that this file keeps its own rule.
REGISTRY_HOSTS = tuple(
    ".".join(labels)
    for labels in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("npmjs", "org"),
        ("npmjs", "com"),
        ("yarnpkg", "com"),
        ("deb", "debian", "org"),
        ("security", "debian", "org"),
        ("crates", "io"),
        ("proxy", "golang", "org"),
    )
)

_RULES = (
    (re.compile("|".join(rf"\b{re.escape(host)}\b" for host in REGISTRY_HOSTS)), "names a registry host"),
    (
        re.compile(r"(?<![\w.$}])/(?:root|home/\w+|Users/\w+|work/\.?\w+|opt/wheels|tmp/w)/"),
        "names a path of one machine",
    ),
)


def check_names(tree: Tree) -> Iterator[Problem]:
    """Yield each line that names a host or path it should not."""
    for path in tree.paths:
        text = tree.text(path)
        if text is None:
            continue
        for rule, message in _RULES:
            for match in rule.finditer(text):
                yield Problem(path, text.count("\n", 0, match.start()) + 1, f"{message}: {match.group()}")
