"""Every relative link in a Markdown file leads to a file, and to a heading where it names one."""

import posixpath
import re
from collections.abc import Iterator
from urllib.parse import unquote

from housekeeping.tree import Problem, Tree

_FENCE = re.compile(r"^(```|~~~).*?^\1[^\n]*$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]*`")
_LINK = re.compile(r"\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)|^\[[^\]]+\]:\s+(\S+)", re.MULTILINE)
_HEADING = re.compile(r"^#{1,6}[ \t]+(.+?)[ \t]*#*$", re.MULTILINE)
_ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:|//", re.IGNORECASE)


def anchors(markdown: str) -> set[str]:
    """Return the fragments that GitHub gives the headings of *markdown*."""
    found: dict[str, int] = {}
    names = set()
    for title in _HEADING.findall(_blank(_FENCE, markdown)):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title)
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        seen = found.get(slug, 0)
        found[slug] = seen + 1
        names.add(f"{slug}-{seen}" if seen else slug)
    return names


def check_links(tree: Tree) -> Iterator[Problem]:
    """Yield each relative link that leads nowhere; addresses on the web are not visited."""
    for path in tree.paths:
        text = tree.text(path) if path.endswith(".md") else None
        if text is None:
            continue
        prose = _blank(_CODE, _blank(_FENCE, text))
        for match in _LINK.finditer(prose):
            target = match.group(1) or match.group(2)
            message = None if _ELSEWHERE.match(target) else _broken(tree, path, target)
            if message:
                yield Problem(path, text.count("\n", 0, match.start()) + 1, message)


def _broken(tree: Tree, path: str, target: str) -> str | None:
    name, _, fragment = unquote(target).partition("#")
    goal = posixpath.normpath(posixpath.join(posixpath.dirname(path), name)) if name else path
    if not (goal in tree.paths or any(other.startswith(f"{goal}/") for other in tree.paths)):
        return f"link to {target}: the repository has no {goal}"
    if fragment and goal.endswith(".md") and fragment not in anchors(tree.text(goal) or ""):
        return f"link to {target}: {goal} has no such heading"
    return None


def _blank(pattern: re.Pattern[str], text: str) -> str:
    """Return *text* with what matches replaced by blanks, so that positions stay."""
    return pattern.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), text)
