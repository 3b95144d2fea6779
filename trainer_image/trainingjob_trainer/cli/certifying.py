"""``trainingjob certs``: certificates for a Dask cluster, and how they are named to each role."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.text import Text

from trainingjob_trainer.cli.documents import success
from trainingjob_trainer.cli.text import plain
from trainingjob_trainer.dask_cluster.certificates import make, write

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from trainingjob_trainer.cli.desk import Desk

__all__ = ["make_certificates"]

_PREFIX = "DASK_DISTRIBUTED__COMM__TLS__"


def make_certificates(
    desk: Desk, folder: Path, *, days: int, hosts: Sequence[str], keep_ca_key: bool, force: bool
) -> dict[str, Any]:
    """Make the files and say how each role is told of them.

    Returns
    -------
    dict
        The document for ``--json``.

    Raises
    ------
    TrainingError
        If they cannot be made or written.
    """
    made = make(days=days, hosts=hosts, keep_ca_key=keep_ca_key)
    files = write(made, folder, force=force)
    expires = made.expires.isoformat(timespec="seconds").replace("+00:00", "Z")
    if not desk.as_json:
        console = desk.console()
        if not desk.quiet:
            for line in _lines(folder):
                console.print(Text(line), soft_wrap=True)
        kept = "" if keep_ca_key else "; the authority's key was thrown away"
        last = f"{len(files)} files in {plain(folder)}, valid until {expires}{kept}"
        console.print(Text(last, "bold green"), soft_wrap=True)
    return success("certs", folder=str(folder), files=[str(path) for path in files], expires=expires)


def _lines(folder: Path) -> list[str]:
    where = plain(folder)
    given = f"--tls-ca-file {where}/ca.crt --tls-cert {where}/{{role}}.crt --tls-key {where}/{{role}}.key"
    return [
        *(f"trainingjob {role} {given.format(role=role)}" for role in ("scheduler", "worker")),
        "For `trainingjob run`, set in its environment:",
        f"  {_PREFIX}CA_FILE={where}/ca.crt",
        f"  {_PREFIX}CLIENT__CERT={where}/client.crt",
        f"  {_PREFIX}CLIENT__KEY={where}/client.key",
    ]
