"""The Dask operator's chart, packed from the installed dask-kubernetes into ``charts/`` of our chart.

The published chart is the same files with a version put in. A copy in the repository lets an install from
a checkout work without fetching anything; a test compares it with the locked package.
"""

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from importlib import metadata
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

__all__ = ["archive_name", "lock_text", "pack", "packed"]

NAME = "dask-kubernetes-operator"
_UNSET_VERSION = "0.0.1-set.by.chartpress"
_UNSET_TAG = "set-by-chartpress"


def archive_name() -> str:
    """Return the name of the archive below ``charts/``."""
    return f"{NAME}-{metadata.version('dask-kubernetes')}.tgz"


def packed() -> bytes:
    """Return the archive: equal bytes for an equal version of dask-kubernetes."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path, content in sorted(_members(metadata.version("dask-kubernetes"))):
            info = tarfile.TarInfo(f"{NAME}/{path}")
            info.size, info.mode = len(content), 0o644
            archive.addfile(info, io.BytesIO(content))
    return gzip.compress(plain.getvalue(), compresslevel=9, mtime=0)


def contents(archive: bytes) -> dict[str, bytes]:
    """Return the files in *archive* by name; compressors differ, what they hold must not."""
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as opened:
        return {
            member.name: extracted.read()
            for member in opened.getmembers()
            if (extracted := opened.extractfile(member)) is not None
        }


def lock_text(chart: dict[str, Any]) -> str:
    """Return the text of ``Chart.lock`` for the dependencies that *chart* (its ``Chart.yaml``) names."""
    wanted = [
        {key: dependency[key] for key in ("name", "version", "repository", "condition") if key in dependency}
        for dependency in chart["dependencies"]
    ]
    locked = [{key: dependency[key] for key in ("name", "version", "repository")} for dependency in wanted]
    # Helm hashes Go's JSON of both lists, which has no spaces and keeps this order of the keys.
    digest = hashlib.sha256(json.dumps([wanted, locked], separators=(",", ":")).encode()).hexdigest()
    # A fixed time: the lock says nothing new each time that it is written.
    text = {"dependencies": locked, "digest": f"sha256:{digest}", "generated": "2026-11-01T00:00:00Z"}
    return yaml.safe_dump(text, sort_keys=False)


def pack(chart: Path) -> None:
    """Write the archive and ``Chart.lock`` of the chart in the folder *chart*."""
    folder = chart / "charts"
    folder.mkdir(exist_ok=True)
    for stale in folder.glob(f"{NAME}-*.tgz"):
        if stale.name != archive_name():
            stale.unlink()
    target, fresh = folder / archive_name(), packed()
    if not target.exists() or contents(target.read_bytes()) != contents(fresh):
        target.write_bytes(fresh)
    described = yaml.safe_load((chart / "Chart.yaml").read_text(encoding="utf-8"))
    (chart / "Chart.lock").write_text(lock_text(described), encoding="utf-8")


def _members(version: str) -> Iterator[tuple[str, bytes]]:
    """Yield path and content of each file, with the version put in where the published chart has it."""
    root = Path(str(files("dask_kubernetes"))) / "operator/deployment/helm" / NAME
    for path in root.rglob("*"):
        if path.is_file():
            text = path.read_text(encoding="utf-8")
            if path.name == "Chart.yaml":
                text = text.replace(_UNSET_VERSION, version)
            elif path.name == "values.yaml":
                text = text.replace(_UNSET_TAG, version)
            yield path.relative_to(root).as_posix(), text.encode()
    licence = metadata.distribution("dask-kubernetes").read_text("licenses/LICENSE")
    yield "LICENSE", (licence or "").encode()
