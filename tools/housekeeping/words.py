"""Plain English: words that a reader of technical documentation stumbles over, in code, docs and charts."""

import re
from collections.abc import Iterator

from housekeeping.tree import Problem, Tree

__all__ = ["WORDS", "check_words", "words_in"]

WORDS = {
    r"anew": "again",
    r"at work": "running",
    r"believe[sd]?": "accept, trust",
    r"for ever": "forever, indefinitely",
    r"go(es)? on": "continue, resume",
    r"mend(s|ed|ing)?": "fix, repair",
    r"mercy": "retry",
    r"minds?": "handle, watch",
    r"nobody": "no one, or name the actor",
    r"somebody": "name the actor",
    r"tells?": "report, show, name",
    r"whoever": "name the actor",
}
"""Each word, as a pattern, with what to write instead."""

_SOURCES = ("crds/", "certificates/", "client/", "operator/", "trainer_image/", "tools/", "docs/", "helm/")
_SUFFIXES = (".py", ".md", ".yaml", ".tpl", ".txt", ".json", ".j2", ".html")
_FILES = ("README.md", "CONTRIBUTING.md", "Makefile")
_HERE = "tools/housekeeping/words.py"
_PATTERN = re.compile("|".join(rf"(?P<w{n}>\b{word}\b)" for n, word in enumerate(WORDS)), re.IGNORECASE)


def words_in(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield line, word and what to write instead, for each word to avoid in *text*."""
    instead = list(WORDS.values())
    for match in _PATTERN.finditer(text):
        number = int(str(match.lastgroup)[1:]) if match.lastgroup else 0
        yield text.count("\n", 0, match.start()) + 1, match.group(), instead[number]


def check_words(tree: Tree) -> Iterator[Problem]:
    """Yield each word to avoid in code, documentation and charts."""
    for path in tree.paths:
        if path != _HERE and (path in _FILES or (path.startswith(_SOURCES) and path.endswith(_SUFFIXES))):
            for line, word, instead in words_in(tree.text(path) or ""):
                yield Problem(path, line, f"avoid {word!r}; write: {instead}")
