"""Texts of bounded length, and the nearest known name for a misspelt name."""

import difflib
import re
from collections.abc import Iterable

__all__ = ["CUT", "nearest", "nearest_names", "shorten"]

CUT = "…"
"""End of every text that was cut."""


def shorten(text: str, limit: int) -> str:
    """Return *text* in at most *limit* characters, ending in ``…`` if it was cut."""
    return text if len(text) <= limit else text[: limit - len(CUT)].rstrip() + CUT


def nearest_names(word: str, names: Iterable[str], *, most: int = 3, cutoff: float = 0.6) -> list[str]:
    """Return the *names* most similar to *word*, best first, whatever their case and punctuation."""

    def plain(text: str) -> str:
        return re.sub(r"[\W_]", "", text.casefold()) or text

    by_plain: dict[str, str] = {}
    for name in names:
        by_plain.setdefault(plain(name), name)
    found = difflib.get_close_matches(plain(word[:100]), by_plain, n=most, cutoff=cutoff)
    return [by_plain[each] for each in found]


def nearest(word: str, names: Iterable[str]) -> str | None:
    """Return the name that *word* was probably meant to be, if any."""
    return next(iter(nearest_names(word, names, most=1)), None)
