"""How pictures are drawn: as SVG that takes its colours and its fonts from the page around it."""

import io
import re
import warnings
from collections.abc import Callable
from typing import Any

from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

__all__ = ["ACCENT", "GRID", "INK", "MUTED", "SECOND", "THIRD", "draw", "shorten"]

# Colours that stand for variables of the page, so that one picture serves light and dark.
INK, MUTED, GRID, ACCENT, SECOND, THIRD = "#010101", "#010102", "#010103", "#010104", "#010105", "#010106"
_VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    GRID: "--line",
    ACCENT: "--accent",
    SECOND: "--second",
    THIRD: "--third",
}
_SETTINGS: dict[str, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    # Labels come from users' tables: a dollar sign is no formula.
    "text.parse_math": False,
    "text.color": INK,
    "axes.edgecolor": GRID,
    "axes.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlesize": 10,
    "axes.titlecolor": MUTED,
    "axes.titlelocation": "left",
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}
_PROLOGUE = re.compile(r"^.*?(?=<svg)", re.DOTALL)
_METADATA = re.compile(r"<metadata>.*?</metadata>", re.DOTALL)
_NAMESPACES = re.compile(r'\s(xmlns(:\w+)?|version)="[^"]*"')
_NAMES = re.compile(r'(\bid="|href="#|url\(#)')
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff￾￿]")


def shorten(text: str, length: int = 28) -> str:
    """Return a label that fits beside a picture and holds no control characters."""
    clean = _UNPRINTABLE.sub(" ", text)
    return clean if len(clean) <= length else clean[: length - 1] + "…"


def draw(
    name: str, paint: Callable[[list[Axes]], None], *, panels: int = 1, size: tuple[float, float] = (7.0, 3.4)
) -> Markup:
    """Return a picture as an ``<svg>`` element without references to anything outside it.

    Parameters
    ----------
    name
        Unique on the page: the identifiers within the picture derive from it.
    paint
        Draws on the panels' axes.
    panels
        How many stand side by side.
    size
        Width and height in inches.
    """
    stream = io.StringIO()
    # A font without some user's script would be a warning each; the page's own fonts draw the text.
    with rc_context({**_SETTINGS, "svg.hashsalt": name}), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.subplots(1, panels, squeeze=False)[0]
        paint(list(axes))
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    svg = _METADATA.sub("", _PROLOGUE.sub("", stream.getvalue(), count=1), count=1)
    head, rest = svg.split(">", 1)
    head = _NAMESPACES.sub("", head)
    head = re.sub(r'\s(width|height)="[^"]*"', "", head)
    # Every picture counts its parts from one; on one page their names must differ.
    rest = _NAMES.sub(rf"\g<1>{name}-", rest)
    for colour, variable in _VARIABLES.items():
        rest = rest.replace(colour, f"var({variable})")
    return Markup(f'{head} class="plot" aria-hidden="true" style="max-width:{size[0]:g}in">{rest}')  # noqa: S704 - matplotlib escapes the texts in it
