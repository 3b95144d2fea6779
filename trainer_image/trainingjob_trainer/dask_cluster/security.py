"""Certificates of the three roles, from options or from Dask's own configuration in the environment."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import dask.config
from distributed import Security

from trainingjob_api import Reason
from trainingjob_trainer.errors import RunFailed, SpecInvalid

__all__ = ["CertificateFiles", "Role", "client_security", "role_security"]

Role = Literal["client", "scheduler", "worker"]
_TLS = "distributed.comm.tls"


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateFiles:
    """What the options name; None leaves it to the environment.

    Parameters
    ----------
    ca_file
        Certificate of the authority that signed all the others.
    cert, key
        Certificate and private key of the one role.
    """

    ca_file: Path | None = None
    cert: Path | None = None
    key: Path | None = None


def client_security(environment: Mapping[str, str]) -> Security | None:
    """Return what a client shows and demands; None if the environment names no certificates.

    Parameters
    ----------
    environment
        ``DASK_DISTRIBUTED__COMM__TLS__CA_FILE`` and below ``DASK_DISTRIBUTED__COMM__TLS__CLIENT`` the
        variables ``__CERT`` and ``__KEY``, as Dask itself reads them.

    Raises
    ------
    SpecInvalid
        ``CertificatesInvalid``: only some are named, or one cannot be read.
    RunFailed
        ``SchedulerUnavailable``: all are named and none is there, as where no cluster could be made.
    """
    named = _named("client", CertificateFiles(), environment)
    if all(_is_absent(value) for value in named.values()):
        places = ", ".join(str(value) for value in named.values())
        text = f"there is no Dask cluster for this run: none of its certificates is there ({places})"
        raise RunFailed(Reason.SCHEDULER_UNAVAILABLE, text)
    return role_security("client", CertificateFiles(), environment)


def role_security(role: Role, files: CertificateFiles, environment: Mapping[str, str]) -> Security | None:
    """Return what a role shows and demands; None if neither options nor environment name certificates.

    With certificates nothing is ever sent or taken without encryption.

    Parameters
    ----------
    role
        Whose certificate it is.
    files
        What the options name.
    environment
        ``DASK_DISTRIBUTED__COMM__TLS__*``, where the options are silent.

    Raises
    ------
    SpecInvalid
        ``CertificatesInvalid``: only some are named, or one cannot be read.
    """
    found = _named(role, files, environment)
    if not any(found.values()):
        config = dask.config.collect_env(dict(environment))
        if dask.config.get("distributed.comm.require-encryption", None, config=config):
            switch = _variable("require-encryption", above="distributed.comm")
            raise _invalid(f"{switch} is set, but no certificates are: name {', '.join(_names(found))}")
        return None
    _check(found)
    return Security(
        require_encryption=True,
        tls_ca_file=found["ca-file"],
        **{f"tls_{role}_cert": found[f"{role}.cert"], f"tls_{role}_key": found[f"{role}.key"]},
    )


def _named(role: Role, files: CertificateFiles, environment: Mapping[str, str]) -> dict[str, Any]:
    """Return Dask's settings of a role's certificates, and what each names."""
    config = dask.config.collect_env(dict(environment))
    asked = {
        "ca-file": files.ca_file,
        f"{role}.cert": files.cert,
        f"{role}.key": files.key,
    }
    return {
        name: str(given) if given else dask.config.get(f"{_TLS}.{name}", None, config=config)
        for name, given in asked.items()
    }


def _is_absent(value: Any) -> bool:
    """Whether a setting is a path at which there is nothing; a key in place of a path is none."""
    if not isinstance(value, str) or "\n" in value:
        return False
    try:
        return not Path(value).exists()
    except OSError:
        return False


def _check(found: Mapping[str, Any]) -> None:
    missing = [name for name, value in found.items() if not value]
    if missing:
        raise _invalid(
            f"TLS needs all of CA file, certificate and key; missing: {', '.join(_names(missing))}"
        )
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
    return [f"{_option(name)} ({_variable(name)})" for name in settings]


def _option(setting: str) -> str:
    return f"--tls-{setting.rpartition('.')[2]}"


def _variable(setting: str, above: str = _TLS) -> str:
    path = f"{above}.{setting}"
    return "DASK_" + path.replace("-", "_").replace(".", "__").upper()


def _invalid(message: str) -> SpecInvalid:
    return SpecInvalid(Reason.CERTIFICATES_INVALID, message)
