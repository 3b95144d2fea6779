"""How to reach a scheduler: its address or the file that holds it, and the TLS settings of each role."""

import json
import os
import socket
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

import dask.config

from trainingjob_api import Reason
from trainingjob_trainer.errors import RunFailed, SpecInvalid

if TYPE_CHECKING:
    from distributed import Security

_DEFAULT_PORT = 8786
_MAX_BYTES = 1024 * 1024
_SCHEMES = ("tcp", "tls")

Role = Literal["client", "scheduler", "worker"]
_TLS = "distributed.comm.tls"
_PRIVATE = 0o600
_PUBLIC = 0o644


def resolve_address(source: str | Path) -> str:
    """Return the scheduler's address, given it (``tcp://…`` or ``tls://…``) or the path of a scheduler file.

    Raise ``SchedulerAddressInvalid`` if the given address is not valid, ``SchedulerUnavailable`` if the file
    does not exist (yet) or holds no address.
    """
    if isinstance(source, str) and "://" in source:
        try:
            return valid_address(source)
        except ValueError as error:
            raise SpecInvalid(Reason.SCHEDULER_ADDRESS_INVALID, f"the scheduler's address {error}") from None
    return str(read_scheduler_file(Path(source))["address"])


def read_scheduler_file(path: Path) -> dict[str, Any]:
    """Return the content of a scheduler file, with a valid ``address``; raise as `resolve_address`."""

    def unavailable(problem: str) -> RunFailed:
        return RunFailed(Reason.SCHEDULER_UNAVAILABLE, f"the scheduler file {path} {problem}")

    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        raise unavailable("does not exist: no scheduler has started, or it has ended") from None
    except OSError as error:
        raise unavailable(f"cannot be read: {error.strerror}") from None
    if len(raw) > _MAX_BYTES:
        raise unavailable(f"is larger than {_MAX_BYTES} bytes")
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        raise unavailable("is not JSON") from None
    address = document.get("address") if isinstance(document, dict) else None
    if not isinstance(address, str):
        raise unavailable("holds no address")
    try:
        return {**document, "address": valid_address(address)}
    except ValueError as error:
        raise unavailable(f"holds an address that {error}") from None


def valid_address(address: str) -> str:
    """Return `address` with its port, by default 8786; a `ValueError` continues "the address"."""
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    plain = not (parts.path.strip("/") or parts.query or parts.fragment or parts.username)
    if parts.scheme not in _SCHEMES or not host or not plain or port == 0:
        raise ValueError("must look like tcp://host:8786 or tls://host:8786")
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}:{port or _DEFAULT_PORT}"


def own_host(scheduler: str) -> str:
    """Return the address of this machine that reaches the scheduler; Dask would listen on all of them."""
    parts = urlsplit(scheduler)
    try:
        family, kind, *_, target = socket.getaddrinfo(parts.hostname, parts.port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as probe:
            probe.connect(target)  # sends nothing
            return str(probe.getsockname()[0])
    except OSError as error:
        text = f"the scheduler at {scheduler} cannot be reached: {error.strerror}"
        raise RunFailed(Reason.SCHEDULER_UNAVAILABLE, text) from None


def client_security(environment: Mapping[str, str]) -> "Security | None":
    """Return a client's TLS settings; None if the environment names no certificates.

    Raise ``SchedulerUnavailable`` if all are named and none exists, because no cluster could be created; else
    as `role_security`.
    """
    named = _named("client", environment)
    if all(_is_absent(value) for value in named.values()):
        places = ", ".join(str(value) for value in named.values())
        text = f"there is no Dask cluster for this run: none of its certificates exists ({places})"
        raise RunFailed(Reason.SCHEDULER_UNAVAILABLE, text)
    return role_security("client", environment)


def role_security(
    role: Role,
    environment: Mapping[str, str],
    *,
    ca_file: Path | None = None,
    cert: Path | None = None,
    key: Path | None = None,
) -> "Security | None":
    """Return a role's TLS settings; None if neither the files nor the environment name certificates.

    With certificates, every connection must be encrypted. Dask's variables in the environment
    (``DASK_DISTRIBUTED__COMM__TLS__CA_FILE``, ``…__<ROLE>__CERT``, ``…__<ROLE>__KEY``) fill in for missing
    files. Raise ``CertificatesInvalid`` if only some are named, or one cannot be read.
    """
    # `trainingjob certs` needs nothing of distributed.
    from distributed import Security  # noqa: PLC0415

    found = _named(role, environment, ca_file, cert, key)
    if not any(found.values()):
        config = dask.config.collect_env(dict(environment))
        if dask.config.get("distributed.comm.require-encryption", None, config=config):
            switch = _variable("require-encryption", above="distributed.comm")
            raise _invalid(f"{switch} is set without certificates: name {_names(found)}")
        return None
    missing = [name for name, value in found.items() if not value]
    if missing:
        raise _invalid(f"TLS needs CA file, certificate and key; missing: {_names(missing)}")
    for name, value in found.items():
        if not isinstance(value, str) or "\n" in value:
            raise _invalid(f"{_names([name])} must be the path of a file")
        try:
            with Path(value).open("rb") as file:
                file.read(1)
        except OSError as error:
            raise _invalid(f"{_names([name])}: {value} cannot be read: {error.strerror}") from None
    return Security(
        require_encryption=True,
        tls_ca_file=found["ca-file"],
        **{f"tls_{role}_cert": found[f"{role}.cert"], f"tls_{role}_key": found[f"{role}.key"]},
    )


def _named(role: Role, environment: Mapping[str, str], *given: Path | None) -> dict[str, Any]:
    """Return Dask's settings of a role's certificates; `given` has its CA file, certificate and key."""
    config = dask.config.collect_env(dict(environment))
    names = ("ca-file", f"{role}.cert", f"{role}.key")
    return {
        name: str(path) if path else dask.config.get(f"{_TLS}.{name}", None, config=config)
        for name, path in zip_longest(names, given)
    }


def _is_absent(value: Any) -> bool:
    """Return whether a setting is a path that does not exist; a key in place of a path is not."""
    if not isinstance(value, str) or "\n" in value:
        return False
    try:
        return not Path(value).exists()
    except OSError:
        return False


def _names(settings: Iterable[str]) -> str:
    return ", ".join(f"--tls-{name.rpartition('.')[2]} ({_variable(name)})" for name in settings)


def _variable(setting: str, above: str = _TLS) -> str:
    return "DASK_" + f"{above}.{setting}".replace("-", "_").replace(".", "__").upper()


def _invalid(message: str) -> SpecInvalid:
    return SpecInvalid(Reason.CERTIFICATES_INVALID, message)


def write_certificates(
    folder: Path, *, days: int, hosts: Sequence[str], keep_ca_key: bool, force: bool
) -> tuple[list[Path], datetime]:
    """Make an authority, and a certificate and key of it for each role; only their owner can read the keys.

    Scheduler and workers have `hosts` in their certificates. Dask does not compare them; other programs may.
    Returns the files, and when the certificates expire.

    Raises
    ------
    SpecInvalid
        ``HostInvalid``, or ``CertificatesExist`` if some exist already and `force` is not set.
    RunFailed
        ``CertificatesUnwritable``.
    """
    # Neither a scheduler nor a health check needs cryptography.
    from trainingjob_certificates import make  # noqa: PLC0415

    try:
        made = make(valid=timedelta(days=days), hosts=hosts, keep_ca_key=keep_ca_key)
    except ValueError as error:
        raise SpecInvalid(Reason.HOST_INVALID, f"--host {error}") from error
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
    return [folder / name for name in made.files], made.expires


def replace_file(path: Path, content: bytes, mode: int) -> None:
    """Write a file atomically, as a new one: neither the mode nor the link of an old file is kept."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        try:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
