"""What the trainer's surroundings decide, as opposed to what a TrainingJob asks for."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from trainingjob_api import Reason
from trainingjob_trainer.errors import SpecInvalid

__all__ = ["TrainerSettings", "with_safe_path"]

_GIB = 1024**3
_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off", ""})


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainerSettings:
    """Limits and places of one trainer process.

    Parameters
    ----------
    max_bytes
        Largest dataset file, in bytes as stored.
    max_decompressed_bytes
        Largest dataset after decompression, in bytes.
    max_rows
        Most rows of a table.
    max_columns
        Most columns of a table; found from the header, before the table is parsed.
    allow_https
        Whether ``https://`` datasets are read at all.
    allow_private_https
        Whether the hosts of ``https://`` datasets may have addresses of this machine and of private networks.
    allow_private_endpoints
        Whether S3 endpoints may have such addresses.
    https_timeout_seconds
        Time-out of each network operation of an ``https://`` download.
    allowed_endpoints
        Host names that S3 endpoints and ``https://`` datasets may have; empty means any.
    credentials_dir
        Folder with the dataset's ``AWS_ACCESS_KEY_ID`` and ``AWS_SECRET_ACCESS_KEY`` as files.
    output_credentials_dir
        The same for the output.
    s3_endpoint
        S3 endpoint where the spec names none.
    s3_timeout_seconds
        Connect and read time-out of each S3 request.
    pvc_root
        Folder under which claims are mounted: ``pvc://claim/path`` is ``<pvc_root>/claim/path``.
    """

    max_bytes: int = 2 * _GIB
    max_decompressed_bytes: int = 8 * _GIB
    max_rows: int = 5_000_000
    max_columns: int = 10_000
    allow_https: bool = False
    allow_private_https: bool = False
    allow_private_endpoints: bool = True
    https_timeout_seconds: float = 30.0
    allowed_endpoints: tuple[str, ...] = ()
    credentials_dir: Path | None = None
    output_credentials_dir: Path | None = None
    s3_endpoint: str | None = None
    s3_timeout_seconds: float = 20.0
    pvc_root: Path = Path("/var/run/trainingjob/claims")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Read the settings from environment variables.

        Parameters
        ----------
        environment
            ``TRAININGJOB_MAX_BYTES``, ``TRAININGJOB_MAX_DECOMPRESSED_BYTES``, ``TRAININGJOB_MAX_ROWS``,
            ``TRAININGJOB_MAX_COLUMNS``, ``TRAININGJOB_ALLOW_HTTPS``, ``TRAININGJOB_ALLOW_PRIVATE_HTTPS``,
            ``TRAININGJOB_ALLOW_PRIVATE_ENDPOINTS``,
            ``TRAININGJOB_HTTPS_TIMEOUT_SECONDS``, ``TRAININGJOB_ALLOWED_ENDPOINTS`` (comma-separated),
            ``TRAININGJOB_CREDENTIALS_DIR``,
            ``TRAININGJOB_OUTPUT_CREDENTIALS_DIR``, ``AWS_ENDPOINT_URL`` or ``S3_ENDPOINT``,
            ``TRAININGJOB_S3_TIMEOUT_SECONDS`` and ``TRAININGJOB_PVC_ROOT``.

        Raises
        ------
        SpecInvalid
            With reason ``InvalidEnvironment`` if a variable cannot be read.
        """
        base = cls()
        hosts = environment.get("TRAININGJOB_ALLOWED_ENDPOINTS", "")
        return cls(
            max_bytes=_whole(environment, "TRAININGJOB_MAX_BYTES", base.max_bytes),
            max_decompressed_bytes=_whole(
                environment, "TRAININGJOB_MAX_DECOMPRESSED_BYTES", base.max_decompressed_bytes
            ),
            max_rows=_whole(environment, "TRAININGJOB_MAX_ROWS", base.max_rows),
            max_columns=_whole(environment, "TRAININGJOB_MAX_COLUMNS", base.max_columns),
            allow_https=_flag(environment, "TRAININGJOB_ALLOW_HTTPS", default=base.allow_https),
            allow_private_https=_flag(
                environment, "TRAININGJOB_ALLOW_PRIVATE_HTTPS", default=base.allow_private_https
            ),
            allow_private_endpoints=_flag(
                environment, "TRAININGJOB_ALLOW_PRIVATE_ENDPOINTS", default=base.allow_private_endpoints
            ),
            https_timeout_seconds=float(
                _whole(environment, "TRAININGJOB_HTTPS_TIMEOUT_SECONDS", int(base.https_timeout_seconds))
            ),
            allowed_endpoints=tuple(host.strip() for host in hosts.split(",") if host.strip()),
            credentials_dir=_folder(environment, "TRAININGJOB_CREDENTIALS_DIR"),
            output_credentials_dir=_folder(environment, "TRAININGJOB_OUTPUT_CREDENTIALS_DIR"),
            s3_endpoint=environment.get("AWS_ENDPOINT_URL") or environment.get("S3_ENDPOINT") or None,
            s3_timeout_seconds=float(
                _whole(environment, "TRAININGJOB_S3_TIMEOUT_SECONDS", int(base.s3_timeout_seconds))
            ),
            pvc_root=_folder(environment, "TRAININGJOB_PVC_ROOT") or base.pvc_root,
        )


def _whole(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, "")
    if not text:
        return default
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise SpecInvalid(
            Reason.INVALID_ENVIRONMENT,
            f"{name}={text!r} is not a whole number of at least 1; correct or unset it",
        )
    return value


def _flag(environment: Mapping[str, str], name: str, *, default: bool) -> bool:
    text = environment.get(name)
    if text is None:
        return default
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise SpecInvalid(
        Reason.INVALID_ENVIRONMENT, f"{name}={text!r} is neither true nor false; correct or unset it"
    )


def _folder(environment: Mapping[str, str], name: str) -> Path | None:
    text = environment.get(name, "")
    return Path(text) if text else None


def with_safe_path(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which Python, and all that it starts, imports nothing from the current folder.

    Parameters
    ----------
    environment
        Of which relative entries of ``PYTHONPATH`` are left out.
    """
    safe = {**environment, "PYTHONSAFEPATH": "1"}
    entries = [entry for entry in safe.pop("PYTHONPATH", "").split(os.pathsep) if Path(entry).is_absolute()]
    return safe | ({"PYTHONPATH": os.pathsep.join(entries)} if entries else {})
