"""Write ``docs/licences.md``: the licence of every package in the images, from its installed metadata.

``python tools/licences.py`` writes it, ``--check`` compares. The names come from the locks, for the images'
Python and platform; the licences from what is installed here. A licence that has not been
reviewed is an error, never a line in the table.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from housekeeping.locks import read_lock

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/licences.md"
IMAGES = ("operator", "trainer")
IMAGE_PYTHON = "3.12"

# What may be in an image without a further thought: permissive, or copyleft by the file.
ALLOWED = frozenset(
    {"0BSD", "Apache-2.0", "BSD", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "ISC", "MIT", "MIT-0", "MIT-CMU"}
    | {"MPL-2.0", "PSF-2.0", "Unlicense", "Zlib"}
)
_WORDS = {
    "apache": "Apache-2.0",
    "apache 2.0": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "bsd 3-clause": "BSD-3-Clause",
    "bsd 3-clause license": "BSD-3-Clause",
    "isc license": "ISC",
    "mit license": "MIT",
}
_CLASSIFIERS = {
    "License :: OSI Approved :: Apache Software License": "Apache-2.0",
    "License :: OSI Approved :: BSD License": "BSD",
    "License :: OSI Approved :: ISC License (ISCL)": "ISC",
    "License :: OSI Approved :: MIT License": "MIT",
    "License :: OSI Approved :: Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "License :: OSI Approved :: Python Software Foundation License": "PSF-2.0",
}


_HEAD = """# Licences

Every Python package in the two images, by its own metadata; versions are in [locks/](../locks). Written by
`PYTHONPATH=tools python tools/licences.py` and checked by `tests/gitops/test_licences.py`. The licence files
themselves are in the images, beside the packages. `BSD` stands where the metadata do not say which one.

The project itself is under Apache-2.0 ([LICENSE](../LICENSE), [NOTICE](../NOTICE)); the base image and what
Debian brings are in the SBOM of each release ([supply chain](supply-chain.md)).

"""
_TABLE = "| Package | Licence | Image |\n|---|---|---|\n"


@dataclass(frozen=True)
class Review:
    """A licence reviewed by hand: the metadata is wrong or incomplete, or the licence has conditions."""

    licence: str
    note: str


REVIEWED: Mapping[str, Review] = {
    "func-timeout": Review(
        "LGPL-3.0", "its LICENSE file; used by TPOT, unchanged and replaceable, as the LGPL asks"
    ),
    "python-dateutil": Review(
        "Apache-2.0 OR BSD-3-Clause", "its LICENSE file; the metadata says Dual License"
    ),
    "stopit": Review("MIT", "its changelog and classifier; a left-over field says GPLv3"),
    "tpot": Review(
        "LGPL-3.0", "a library of the trainer, unchanged and replaceable, as the LGPL asks: NOTICE"
    ),
}


class UnknownLicenceError(Exception):
    """A package's licence cannot be told, or is none that is allowed; the message says what to do."""


def packages(root: Path = ROOT) -> dict[str, tuple[str, ...]]:
    """Return each package of the images with the images that hold it, by name."""
    environment = {
        "python_version": IMAGE_PYTHON,
        "python_full_version": f"{IMAGE_PYTHON}.0",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "platform_machine": "x86_64",
        "os_name": "posix",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }
    found: dict[str, tuple[str, ...]] = {}
    for image in IMAGES:
        for pin in read_lock((root / f"locks/{image}.txt").read_text(encoding="utf-8")):
            if pin.requirement.marker is None or pin.requirement.marker.evaluate(environment):
                found[pin.name] = (*found.get(pin.name, ()), image)
    return dict(sorted(found.items()))


def licence(name: str) -> str:
    """Return the licence of an installed package as an SPDX expression, as far as its metadata says.

    Raises
    ------
    UnknownLicenceError
        If it is not installed, says nothing that is known, or something that is not allowed.
    """
    if name in REVIEWED:
        return REVIEWED[name].licence
    try:
        metadata = distribution(name).metadata
    except PackageNotFoundError as error:
        raise UnknownLicenceError(f"{name}: not installed here; install locks/dev.txt") from error
    classifiers = metadata.get_all("Classifier", [])
    fields = {key: metadata[key] for key in ("License-Expression", "License") if key in metadata}
    for candidate in _candidates(fields.get("License-Expression"), fields.get("License"), classifiers):
        if allowed(candidate):
            return candidate
    raise UnknownLicenceError(
        f"{name}: no licence in its metadata that is allowed; read its LICENSE file and add it to REVIEWED"
    )


def allowed(expression: str) -> bool:
    """Return whether every licence that an SPDX expression names is an allowed one."""
    words = expression.replace("(", " ").replace(")", " ").split()
    names = [word for word in words if word not in {"AND", "OR"}]
    return bool(names) and all(name in ALLOWED for name in names)


def _candidates(expression: str | None, field: str | None, classifiers: Sequence[str]) -> Iterator[str]:
    """Yield what the metadata say, the most exact first."""
    if expression:
        # Only a licence that is not allowed makes this the last word.
        yield expression
        return
    first = (field or "").strip().partition("\n")[0].strip()
    yield _WORDS.get(first.lower(), first)
    yield from (_CLASSIFIERS[classifier] for classifier in classifiers if classifier in _CLASSIFIERS)


def page() -> str:
    """Return the whole page.

    Raises
    ------
    UnknownLicenceError
        As :func:`licence`.
    """
    lines = [f"| {name} | {licence(name)} | {', '.join(images)} |\n" for name, images in packages().items()]
    notes = [f"- **{name}**: {REVIEWED[name].note}.\n" for name in packages() if name in REVIEWED]
    return f"{_HEAD}## Looked at by hand\n\n{''.join(notes)}\n## All of them\n\n{_TABLE}{''.join(lines)}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check the page; return 1 if it is out of date or a licence is not known."""
    parser = argparse.ArgumentParser(description="List the licences of what the images hold.")
    parser.add_argument(
        "--check", action="store_true", help="change nothing; exit 1 if the page is out of date"
    )
    options = parser.parse_args(arguments)
    try:
        text = page()
    except UnknownLicenceError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if options.check:
        if PAGE.read_text(encoding="utf-8") == text:
            return 0
        sys.stderr.write("docs/licences.md is out of date: PYTHONPATH=tools python tools/licences.py\n")
        return 1
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
