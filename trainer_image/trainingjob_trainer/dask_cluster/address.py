"""Where the scheduler is: an address, or the scheduler file that holds it."""

import json
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from trainingjob_api import Reason
from trainingjob_trainer.errors import RunFailed, SpecInvalid

__all__ = ["own_host", "read_scheduler_file", "resolve_address", "valid_address"]

DEFAULT_PORT = 8786
_MAX_BYTES = 1024 * 1024
_SCHEMES = ("tcp", "tls")


def resolve_address(source: str | Path) -> str:
    """Return the scheduler's address, given it (``tcp://…`` or ``tls://…``) or the path of a scheduler file.

    Raises
    ------
    SpecInvalid
        ``SchedulerAddressInvalid``: the given address is not valid.
    RunFailed
        ``SchedulerUnavailable``: the file does not exist (yet), or holds no address.
    """
    if isinstance(source, str) and "://" in source:
        try:
            return valid_address(source)
        except ValueError as error:
            raise SpecInvalid(Reason.SCHEDULER_ADDRESS_INVALID, f"the scheduler's address {error}") from None
    return str(read_scheduler_file(Path(source))["address"])


def read_scheduler_file(path: Path) -> dict[str, Any]:
    """Return the content of a scheduler file, with a valid ``address``.

    Raises
    ------
    RunFailed
        ``SchedulerUnavailable``: the file does not exist (yet), or holds no address.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        raise _unavailable(path, "does not exist: no scheduler has started, or it has ended") from None
    except OSError as error:
        raise _unavailable(path, f"cannot be read: {error.strerror}") from None
    if len(raw) > _MAX_BYTES:
        raise _unavailable(path, f"is larger than {_MAX_BYTES} bytes")
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        raise _unavailable(path, "is not JSON") from None
    address = document.get("address") if isinstance(document, dict) else None
    if not isinstance(address, str):
        raise _unavailable(path, "holds no address")
    try:
        return {**document, "address": valid_address(address)}
    except ValueError as error:
        raise _unavailable(path, f"holds an address that {error}") from None


def valid_address(address: str) -> str:
    """Return `address` with its port, by default 8786.

    Raises
    ------
    ValueError
        It is not a ``tcp://`` or ``tls://`` address; the message continues "the address".
    """
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    plain = not (parts.path.strip("/") or parts.query or parts.fragment or parts.username)
    if parts.scheme not in _SCHEMES or not host or not plain or port == 0:
        raise ValueError("must look like tcp://host:8786 or tls://host:8786")
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}:{port or DEFAULT_PORT}"


def own_host(scheduler: str) -> str:
    """Return the address of this machine that reaches the scheduler; Dask would listen on all of them.

    Raises
    ------
    RunFailed
        ``SchedulerUnavailable``: the host name does not resolve, or there is no route.
    """
    parts = urlsplit(scheduler)
    try:
        family, kind, *_, target = socket.getaddrinfo(parts.hostname, parts.port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as probe:
            probe.connect(target)  # sends nothing
            return str(probe.getsockname()[0])
    except OSError as error:
        text = f"the scheduler at {scheduler} cannot be reached: {error.strerror}"
        raise RunFailed(Reason.SCHEDULER_UNAVAILABLE, text) from None


def _unavailable(path: Path, problem: str) -> RunFailed:
    return RunFailed(Reason.SCHEDULER_UNAVAILABLE, f"the scheduler file {path} {problem}")
