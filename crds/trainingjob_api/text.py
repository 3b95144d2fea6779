"""Texts of bounded length."""

__all__ = ["CUT", "shorten"]

CUT = "…"
"""What a text that was cut ends in, wherever one is cut."""


def shorten(text: str, limit: int) -> str:
    """Return *text* in at most *limit* characters; one that is cut says so at its end."""
    return text if len(text) <= limit else text[: limit - len(CUT)].rstrip() + CUT
