"""Golden files with expected content; UPDATE_GOLDEN=1 writes them again."""

import os
from pathlib import Path

import yaml


def check_golden(path: Path, value) -> None:
    """Hold *value* against the YAML file at *path*."""
    text = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=110)
    check_text(path, text)


def check_text(path: Path, text: str) -> None:
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text)
    assert path.read_text() == text, f"{path.name} is out of date; UPDATE_GOLDEN=1 writes it again"
