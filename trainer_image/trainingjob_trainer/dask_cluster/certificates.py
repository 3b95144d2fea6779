"""Certificates of a Dask cluster as files in a folder."""

import os
import tempfile
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from trainingjob_api import Reason
from trainingjob_certificates import CertificateSet
from trainingjob_certificates import make as make_set
from trainingjob_trainer.errors import RunFailed, SpecInvalid

__all__ = ["CertificateSet", "make", "write"]

_PRIVATE = 0o600
_PUBLIC = 0o644


def make(*, days: int, hosts: Sequence[str] = (), keep_ca_key: bool = False) -> CertificateSet:
    """Make an authority and what it signs.

    Parameters
    ----------
    days
        How long they are valid.
    hosts
        Names and addresses of scheduler and workers. Dask does not compare them; other programs may.
    keep_ca_key
        Whether the authority can sign more later.

    Raises
    ------
    SpecInvalid
        ``HostInvalid``: one of `hosts` is neither a name nor an address.
    """
    try:
        return make_set(valid=timedelta(days=days), hosts=hosts, keep_ca_key=keep_ca_key)
    except ValueError as error:
        raise SpecInvalid(Reason.HOST_INVALID, f"--host {error}") from error


def write(made: CertificateSet, folder: Path, *, force: bool = False) -> list[Path]:
    """Write the files; keys can be read by their owner only.

    Parameters
    ----------
    made
        What to write.
    folder
        Made if it is not there.
    force
        Whether files that are there are overwritten.

    Returns
    -------
    list of Path

    Raises
    ------
    SpecInvalid
        ``CertificatesExist``: some are there already.
    RunFailed
        ``CertificatesUnwritable``.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        there = sorted(name for name in (*made.files, "ca.key") if (folder / name).exists())
        if there and not force:
            text = f"{folder} holds {', '.join(there)} already; --force overwrites, or name another folder"
            raise SpecInvalid(Reason.CERTIFICATES_EXIST, text)
        # An authority's key of an earlier set would be of no use beside this one.
        (folder / "ca.key").unlink(missing_ok=True)
        for name, content in made.files.items():
            _write_file(folder / name, content, _PRIVATE if name.endswith(".key") else _PUBLIC)
    except OSError as error:
        raise RunFailed(
            Reason.CERTIFICATES_UNWRITABLE, f"cannot write to {folder}: {error.strerror}"
        ) from error
    return [folder / name for name in made.files]


def _write_file(path: Path, content: bytes, mode: int) -> None:
    # A new file, never one with the mode or behind the link of an old one.
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        try:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
