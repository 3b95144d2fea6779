"""Settings that the trainer takes from its environment, not from a TrainingJob."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field
from pydantic.dataclasses import dataclass

from trainingjob_api import Reason, SpecError, Variable, Words, read_settings
from trainingjob_trainer.errors import SpecInvalid

_GIB = 1024**3
_Positive = Annotated[int, Field(ge=1)]
_Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainerSettings:
    """Limits and places of one trainer process.

    Each is the variable ``TRAININGJOB_<NAME>``, such as ``TRAININGJOB_MAX_BYTES``, unless it names another;
    lists are comma-separated.
    """

    max_bytes: _Positive = 2 * _GIB
    """Largest dataset file, in bytes as stored."""
    max_decompressed_bytes: _Positive = 8 * _GIB
    max_rows: _Positive = 5_000_000
    max_columns: _Positive = 10_000
    """Most columns of a table; found from the header, before the table is parsed."""
    allow_https: bool = False
    """Whether ``https://`` datasets are read at all."""
    allow_private_https: bool = False
    """Whether hosts of ``https://`` datasets may have addresses of this machine and of private networks."""
    allow_private_endpoints: bool = True
    """Whether S3 endpoints may have such addresses."""
    https_timeout_seconds: _Seconds = 30.0
    """Time-out of each network operation of an ``https://`` download."""
    allowed_endpoints: Words = ()
    """Host names that S3 endpoints and ``https://`` datasets may have, and those of Google's and Azure's
    storage; empty means any."""
    allow_google_metadata: bool = False
    """Whether ``gs://`` without credentials asks the metadata server for the pod's identity. Without workload
    identity that is the node's."""
    credentials_dir: Path | None = None
    """Folder with the keys for the dataset as files, such as ``AWS_ACCESS_KEY_ID``."""
    output_credentials_dir: Path | None = None
    s3_endpoint: Annotated[str | None, Variable(("AWS_ENDPOINT_URL", "S3_ENDPOINT"))] = None
    """S3 endpoint where the spec names none."""
    google_endpoint: Annotated[str | None, Variable(("GOOGLE_BASE_URL",))] = None
    """Another endpoint of Google's storage, such as an emulator's."""
    azure_endpoint: Annotated[str | None, Variable(("AZURE_STORAGE_ENDPOINT",))] = None
    s3_timeout_seconds: _Seconds = 20.0
    """Connect and read time-out of each request to a bucket."""
    pvc_root: Path = Path("/var/run/trainingjob/claims")
    """Folder under which claims are mounted: ``pvc://claim/path`` is ``<pvc_root>/claim/path``."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Read the settings from variables; raise ``InvalidEnvironment`` if one cannot be read."""
        try:
            return read_settings(cls, environment)
        except SpecError as error:
            raise SpecInvalid(Reason.INVALID_ENVIRONMENT, str(error)) from None
