"""TLS between client, scheduler and workers: which certificates a role uses, and new ones as files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import dask.config

from trainingjob_api import Reason
from trainingjob_trainer.dask_cluster.process import replace_file
from trainingjob_trainer.errors import RunFailed, SpecInvalid

if TYPE_CHECKING:
    from distributed import Security

    from trainingjob_certificates import CertificateSet

__all__ = [
    "CertificateFiles",
    "Role",
    "client_security",
    "make_certificates",
    "role_security",
    "write_certificates",
]

Role = Literal["client", "scheduler", "worker"]
_TLS = "distributed.comm.tls"
_PRIVATE = 0o600
_PUBLIC = 0o644


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateFiles:
    """The files that the options name; None leaves a file to the environment."""

    ca_file: Path | None = None
    cert: Path | None = None
    key: Path | None = None


def client_security(environment: Mapping[str, str]) -> "Security | None":
    """Return a client's TLS settings; None if the environment names no certificates.

    Parameters
    ----------
    environment
        ``DASK_DISTRIBUTED__COMM__TLS__CA_FILE``, ``…__CLIENT__CERT`` and ``…__CLIENT__KEY``, as Dask reads
        them.

    Raises
    ------
    SpecInvalid
        ``CertificatesInvalid``: only some are named, or one cannot be read.
    RunFailed
        ``SchedulerUnavailable``: all are named and none exists, because no cluster could be created.
    """
    named = _named("client", CertificateFiles(), environment)
    if all(_is_absent(value) for value in named.values()):
        places = ", ".join(str(value) for value in named.values())
        text = f"there is no Dask cluster for this run: none of its certificates exists ({places})"
        raise RunFailed(Reason.SCHEDULER_UNAVAILABLE, text)
    return role_security("client", CertificateFiles(), environment)


def role_security(role: Role, files: CertificateFiles, environment: Mapping[str, str]) -> "Security | None":
    """Return a role's TLS settings; None if neither files nor environment name certificates.

    With certificates, every connection must be encrypted. ``DASK_DISTRIBUTED__COMM__TLS__*`` in the
    environment fills in for missing files.

    Raises
    ------
    SpecInvalid
        ``CertificatesInvalid``: only some are named, or one cannot be read.
    """
    # `trainingjob certs` needs nothing of distributed.
    from distributed import Security  # noqa: PLC0415

    found = _named(role, files, environment)
    if not any(found.values()):
        config = dask.config.collect_env(dict(environment))
        if dask.config.get("distributed.comm.require-encryption", None, config=config):
            switch = _variable("require-encryption", above="distributed.comm")
            raise _invalid(f"{switch} is set without certificates: name {', '.join(_names(found))}")
        return None
    _check(found)
    return Security(
        require_encryption=True,
        tls_ca_file=found["ca-file"],
        **{f"tls_{role}_cert": found[f"{role}.cert"], f"tls_{role}_key": found[f"{role}.key"]},
    )


def _named(role: Role, files: CertificateFiles, environment: Mapping[str, str]) -> dict[str, Any]:
    """Return Dask's settings of a role's certificates with their values."""
    config = dask.config.collect_env(dict(environment))
    asked = {"ca-file": files.ca_file, f"{role}.cert": files.cert, f"{role}.key": files.key}
    return {
        name: str(given) if given else dask.config.get(f"{_TLS}.{name}", None, config=config)
        for name, given in asked.items()
    }


def _is_absent(value: Any) -> bool:
    """Whether a setting is a path that does not exist; a key in place of a path is not."""
    if not isinstance(value, str) or "\n" in value:
        return False
    try:
        return not Path(value).exists()
    except OSError:
        return False


def _check(found: Mapping[str, Any]) -> None:
    missing = [name for name, value in found.items() if not value]
    if missing:
        raise _invalid(f"TLS needs CA file, certificate and key; missing: {', '.join(_names(missing))}")
    for name, value in found.items():
        label = " or ".join(_names([name]))
        if not isinstance(value, str) or "\n" in value:
            raise _invalid(f"{label} must be the path of a file")
        try:
            with Path(value).open("rb") as file:
                file.read(1)
        except OSError as error:
            raise _invalid(f"{label}: {value} cannot be read: {error.strerror}") from None


def _names(settings: Mapping[str, Any] | list[str]) -> list[str]:
    return [f"--tls-{name.rpartition('.')[2]} ({_variable(name)})" for name in settings]


def _variable(setting: str, above: str = _TLS) -> str:
    return "DASK_" + f"{above}.{setting}".replace("-", "_").replace(".", "__").upper()


def _invalid(message: str) -> SpecInvalid:
    return SpecInvalid(Reason.CERTIFICATES_INVALID, message)


def make_certificates(*, days: int, hosts: Sequence[str] = (), keep_ca_key: bool = False) -> "CertificateSet":
    """Return a new authority, and a certificate and key signed by it for each role.

    Parameters
    ----------
    hosts
        Names and addresses of scheduler and workers. Dask does not compare them; other programs may.
    keep_ca_key
        Whether the authority can sign more certificates later.

    Raises
    ------
    SpecInvalid
        ``HostInvalid``: one of `hosts` is neither a name nor an address.
    """
    # Neither a scheduler nor a health check needs cryptography.
    from trainingjob_certificates import make  # noqa: PLC0415

    try:
        return make(valid=timedelta(days=days), hosts=hosts, keep_ca_key=keep_ca_key)
    except ValueError as error:
        raise SpecInvalid(Reason.HOST_INVALID, f"--host {error}") from error


def write_certificates(made: "CertificateSet", folder: Path, *, force: bool = False) -> list[Path]:
    """Write the files and return them; only their owner can read the keys.

    Raises
    ------
    SpecInvalid
        ``CertificatesExist``: some exist already and `force` is not set.
    RunFailed
        ``CertificatesUnwritable``.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        there = sorted(name for name in (*made.files, "ca.key") if (folder / name).exists())
        if there and not force:
            text = f"{folder} already holds {', '.join(there)}; --force overwrites, or name another folder"
            raise SpecInvalid(Reason.CERTIFICATES_EXIST, text)
        # The key of an earlier authority would be of no use beside this set.
        (folder / "ca.key").unlink(missing_ok=True)
        for name, content in made.files.items():
            replace_file(folder / name, content, _PRIVATE if name.endswith(".key") else _PUBLIC)
    except OSError as error:
        text = f"cannot write to {folder}: {error.strerror}"
        raise RunFailed(Reason.CERTIFICATES_UNWRITABLE, text) from error
    return [folder / name for name in made.files]
