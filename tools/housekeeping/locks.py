"""The committed locks still satisfy pyproject.toml; checked without asking any registry."""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from housekeeping.tree import Problem, Tree

PYTHONS = ("3.11", "3.12", "3.13")
PLATFORMS = (
    {"sys_platform": "linux", "platform_system": "Linux"},
    {"sys_platform": "darwin", "platform_system": "Darwin"},
)

# lock file -> what of pyproject.toml it must hold: (extras, groups, the project's own dependencies)
CONTENTS: dict[str, tuple[tuple[str, ...], tuple[str, ...], bool]] = {
    "locks/dev.txt": (("trainer", "cloud", "operator", "cluster"), ("dev",), True),
    "locks/trainer.txt": (("trainer", "cloud"), (), True),
    "locks/operator.txt": (("operator",), (), True),
    "locks/build.txt": ((), ("build",), False),
    "locks/bootstrap.txt": ((), ("bootstrap",), False),
}
_ENTRY = re.compile(r"^(?=\S)(?!#)(.+?)(?:\s*\\)?$((?:\n[ \t]+--hash=\S+(?:\s*\\)?$)*)", re.MULTILINE)


@dataclass(frozen=True)
class Pin:
    """One line of a lock: a release, the environments it is for, and whether hashes stand under it."""

    requirement: Requirement
    hashed: bool

    @property
    def name(self) -> str:
        """The normalised name."""
        return canonicalize_name(self.requirement.name)

    @property
    def version(self) -> Version | None:
        """The one version, or None if the line pins none."""
        match = re.fullmatch(r"==([^*,]+)", str(self.requirement.specifier))
        return Version(match.group(1)) if match else None


def read_lock(text: str) -> list[Pin]:
    """Parse the lines of a lock file.

    Raises
    ------
    packaging.requirements.InvalidRequirement
        If a line is neither a requirement, a hash nor a comment.
    """
    return [Pin(Requirement(line), bool(hashes)) for line, hashes in _ENTRY.findall(text)]


def wanted(project: Mapping[str, Any], lock: str) -> list[Requirement]:
    """Return the requirements of *project* (a parsed pyproject.toml) that *lock* must hold."""
    extras, groups, own = CONTENTS[lock]
    lines: list[str] = list(project["project"]["dependencies"]) if own else []
    for extra in extras:
        lines += project["project"]["optional-dependencies"][extra]
    for group in groups:
        lines += _group(project["dependency-groups"], group)
    return [Requirement(line) for line in lines]


def check_locks(tree: Tree) -> Iterator[Problem]:
    """Yield whatever a lock lacks, holds at a wrong version, without a hash or against the widest lock."""
    project = tomllib.loads((tree.root / "pyproject.toml").read_text(encoding="utf-8"))
    excluded = {canonicalize_name(name) for name in project["tool"]["uv"]["exclude-dependencies"]}
    widest = {(pin.name, pin.version) for pin in read_lock(tree.text("locks/dev.txt") or "")}
    for lock in CONTENTS:
        text = tree.text(lock)
        if text is None:
            yield Problem(lock, 0, "not text; run make lock")
            continue
        pins = read_lock(text)
        for pin in pins:
            if not pin.hashed or pin.version is None:
                yield Problem(lock, 0, f"{pin.requirement}: not one version with hashes; run make lock")
            if pin.name in excluded:
                yield Problem(lock, 0, f"{pin.name}: excluded in pyproject.toml; run make lock")
            if (pin.name, pin.version) not in widest:
                yield Problem(lock, 0, f"{pin.requirement}: not the release of locks/dev.txt; run make lock")
        for requirement in wanted(project, lock):
            for message in unsatisfied(requirement, pins):
                yield Problem(lock, 0, message)


def unsatisfied(requirement: Requirement, pins: Sequence[Pin]) -> Iterator[str]:
    """Yield a message for each environment in which *pins* do not give *requirement* one release."""
    for python in PYTHONS:
        for platform in PLATFORMS:
            environment = {**platform, "python_version": python, "python_full_version": f"{python}.0"}
            if requirement.marker and not requirement.marker.evaluate(environment):
                continue
            versions = [
                pin.version
                for pin in pins
                if pin.name == canonicalize_name(requirement.name)
                and (pin.requirement.marker is None or pin.requirement.marker.evaluate(environment))
            ]
            if len(versions) != 1 or versions[0] is None or versions[0] not in requirement.specifier:
                found = ", ".join(map(str, versions)) or "nothing"
                where = f"Python {python} on {platform['platform_system']}"
                yield f"{requirement}: {found} locked for {where}; run make lock"


def _group(groups: Mapping[str, Sequence[Any]], name: str) -> list[str]:
    lines: list[str] = []
    for entry in groups[name]:
        lines += [entry] if isinstance(entry, str) else _group(groups, entry["include-group"])
    return lines
