"""The product without one of its parts: a copy of the trainer in which a single line is changed."""

import shutil
from pathlib import Path

from environments import ROOT

__all__ = ["WITHOUT", "copy_without"]

_PACKAGE = "trainingjob_trainer"
WITHOUT = {
    "portfolio": (
        "search_space/portfolio.py",
        "    entries = portfolio(context)\n",
        "    entries = portfolio(context)[:1]\n",
    ),
    "encodings": ("run/trainer.py", "    if others and names:\n", "    if False:\n"),
    "racing": ("search/engine.py", "race = Race.against(committed, self.ref.folds)", "race = None"),
    "refining": (
        "search_space/individual.py",
        "operator is Operator.REFINE and _refine(",
        "False and _refine(",
    ),
}
"""File, line and what takes its place; the ensemble has a field of its own in the job."""


def copy_without(part: str, cache: Path) -> Path:
    """Return a folder for ``PYTHONPATH`` with the trainer as it is now, without *part*."""
    name, line, instead = WITHOUT[part]
    folder = cache / "without" / part
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / "trainer_image" / _PACKAGE, folder / _PACKAGE)
    file = folder / _PACKAGE / name
    text = file.read_text()
    assert text.count(line) == 1, f"{name} has changed: {line.strip()!r} is not there once"
    file.write_text(text.replace(line, instead))
    return folder
