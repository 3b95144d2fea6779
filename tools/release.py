"""What the release workflow asks of the tree: whether a tag is its version, and values with the digests.

``python tools/release.py --version 0.2.0`` exits 1 where package or charts say something else.
``python tools/release.py --images FILE FILE`` prints values for the operator's chart; each FILE, named
operator or trainer, holds ``repository digest``. It runs before anything is installed.
"""

import argparse
import json
import re
import sys
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CHARTS = ("trainingjob-crds", "trainingjob-operator")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def differences(version: str, root: Path = ROOT) -> Iterator[str]:
    """Yield a message for each place that does not say *version*, a semantic one such as ``0.2.0-rc.1``."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    if project != version.replace("-rc.", "rc"):
        yield f"pyproject.toml says {project}, the tag {version}"
    for chart in CHARTS:
        text = (root / "helm" / chart / "Chart.yaml").read_text(encoding="utf-8")
        for field in ("version", "appVersion"):
            found = re.findall(rf'^{field}: "?([^"\s]+)"?$', text, re.MULTILINE)
            if found != [version]:
                yield f"helm/{chart}/Chart.yaml says {field} {found}, the tag {version}"


def values(files: Sequence[Path]) -> str:
    """Return values of the operator's chart that name both images by digest.

    Raises
    ------
    ValueError
        If *files* are not those of both images, or one holds no digest.
    """
    if sorted(path.name for path in files) != ["operator", "trainer"]:
        raise ValueError("two files are needed, operator and trainer")
    images = {}
    for path in files:
        repository, _, digest = path.read_text(encoding="utf-8").strip().partition(" ")
        if not repository or not _DIGEST.fullmatch(digest):
            raise ValueError(f"{path}: holds no repository with a digest")
        images[path.name] = {"repository": repository, "digest": digest}
    # JSON is YAML, and what a repository's name may hold needs no care in it.
    return f"{json.dumps({'image': images['operator'], 'trainer': {'image': images['trainer']}}, indent=2)}\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Check or print; return the exit status."""
    parser = argparse.ArgumentParser(description="Check a release's version, or print its images as values.")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--version", help="exit 1 where the tree says another version")
    what.add_argument(
        "--images", nargs="+", type=Path, metavar="FILE", help="print values with these digests"
    )
    options = parser.parse_args(arguments)
    if options.version:
        found = list(differences(options.version))
        sys.stderr.write("".join(f"{problem}\n" for problem in found))
        return 1 if found else 0
    try:
        sys.stdout.write(values(options.images))
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
