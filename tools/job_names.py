"""Give each TrainingJob in Git a name with the digest of its spec: ``churn`` becomes ``churn-3f9c1a2b``.

A job's spec is immutable, but for three fields. Named after its spec, an edited job is a new one, made
beside the old one, which GitOps tools then prune: nothing has to be replaced by force. ::

    python tools/job_names.py gitops/jobs          # write the names
    python tools/job_names.py --check gitops/jobs  # in CI: exit 1 where an edit left the name as it was
"""

import argparse
import hashlib
import json
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

GROUP = "automl.trainingjob.dev/"
MUTABLE = ("suspend", "ttlSecondsAfterFinished", "acceptance")
MAX_NAME = 253
DIGITS = 8
_HASH = re.compile(rf"-[0-9a-f]{{{DIGITS}}}$")


@dataclass(frozen=True)
class Place:
    """Where a job's name stands in a text, and what it should be."""

    start: int
    end: int
    name: str
    wanted: str


def hashed(name: str, spec: dict[str, Any]) -> str:
    """Return *name* with the digest of what is immutable in *spec*, in place of the one it may have."""
    fixed = {key: value for key, value in spec.items() if key not in MUTABLE}
    text = json.dumps(fixed, sort_keys=True, separators=(",", ":"), default=str)
    digest = hashlib.sha256(text.encode()).hexdigest()[:DIGITS]
    return f"{_HASH.sub('', name)[: MAX_NAME - DIGITS - 1]}-{digest}"


def places(text: str) -> Iterator[Place]:
    """Yield each TrainingJob of a YAML stream.

    Raises
    ------
    yaml.YAMLError
        If *text* is no YAML.
    ValueError
        If a job has no name.
    """
    documents = yaml.compose_all(text, Loader=yaml.SafeLoader)
    for node, job in zip(documents, yaml.safe_load_all(text), strict=True):
        if not isinstance(job, dict) or job.get("kind") != "TrainingJob":
            continue
        if not str(job.get("apiVersion")).startswith(GROUP):
            continue
        name = _child(_child(node, "metadata"), "name")
        if name is None or not name.value:
            raise ValueError("a TrainingJob without metadata.name: give it one")
        wanted = hashed(name.value, job.get("spec") or {})
        yield Place(name.start_mark.index, name.end_mark.index, name.value, wanted)


def renamed(text: str) -> str:
    """Return *text* with every job's name in order; nothing else changes, comments included."""
    for place in reversed(list(places(text))):
        text = text[: place.start] + place.wanted + text[place.end :]
    return text


def _child(node: Any, key: str) -> Any:
    if not isinstance(node, yaml.MappingNode):
        return None
    return next((value for name, value in node.value if name.value == key), None)


def _files(paths: Sequence[str]) -> Iterator[Path]:
    for path in map(Path, paths):
        yield from sorted([*path.rglob("*.yaml"), *path.rglob("*.yml")]) if path.is_dir() else [path]


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check the names; return 1 if one was wrong under ``--check``, 2 if a file cannot be read."""
    parser = argparse.ArgumentParser(description="Name TrainingJobs after what their specs say.")
    parser.add_argument(
        "--check", action="store_true", help="change nothing; exit 1 if a name is not in order"
    )
    parser.add_argument("paths", nargs="+", metavar="PATH", help="a file, or a folder with all below it")
    options = parser.parse_args(arguments)
    wrong = 0
    for path in _files(options.paths):
        try:
            text = path.read_text(encoding="utf-8")
            found = [place for place in places(text) if place.name != place.wanted]
            if found and not options.check:
                path.write_text(renamed(text), encoding="utf-8")
        except (OSError, ValueError, yaml.YAMLError) as error:
            sys.stderr.write(f"{path}: {error}\n")
            return 2
        for place in found:
            sys.stdout.write(f"{path}: {place.name} -> {place.wanted}\n")
        wrong += len(found)
    return 1 if wrong and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
