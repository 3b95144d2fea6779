"""What the trainer's surroundings decide, as opposed to what a TrainingJob asks for."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field
from pydantic.dataclasses import dataclass

from trainingjob_api import Reason, SpecError
from trainingjob_api.environment import Variable, Words, read_settings
from trainingjob_trainer.errors import SpecInvalid

__all__ = ["TrainerSettings"]

_GIB = 1024**3
_Positive = Annotated[int, Field(ge=1)]
_Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


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
        Host names that S3 endpoints and ``https://`` datasets may have, and those of Google's and Azure's
        storage; empty means any.
    allow_google_metadata
        Whether ``gs://`` without credentials asks the metadata server for the pod's identity. Without
        workload identity that is the node's.
    credentials_dir
        Folder with the keys for the dataset as files, such as ``AWS_ACCESS_KEY_ID``.
    output_credentials_dir
        The same for the output.
    s3_endpoint
        S3 endpoint where the spec names none.
    google_endpoint, azure_endpoint
        Other endpoints of Google's and Azure's storage, such as an emulator's.
    s3_timeout_seconds
        Connect and read time-out of each request to a bucket.
    pvc_root
        Folder under which claims are mounted: ``pvc://claim/path`` is ``<pvc_root>/claim/path``.
    """

    max_bytes: _Positive = 2 * _GIB
    max_decompressed_bytes: _Positive = 8 * _GIB
    max_rows: _Positive = 5_000_000
    max_columns: _Positive = 10_000
    allow_https: bool = False
    allow_private_https: bool = False
    allow_private_endpoints: bool = True
    https_timeout_seconds: _Seconds = 30.0
    allowed_endpoints: Words = ()
    allow_google_metadata: bool = False
    credentials_dir: Path | None = None
    output_credentials_dir: Path | None = None
    s3_endpoint: Annotated[str | None, Variable(("AWS_ENDPOINT_URL", "S3_ENDPOINT"))] = None
    google_endpoint: Annotated[str | None, Variable(("GOOGLE_BASE_URL",))] = None
    azure_endpoint: Annotated[str | None, Variable(("AZURE_STORAGE_ENDPOINT",))] = None
    s3_timeout_seconds: _Seconds = 20.0
    pvc_root: Path = Path("/var/run/trainingjob/claims")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Read the settings from environment variables.

        Parameters
        ----------
        environment
            ``TRAININGJOB_<NAME>`` for each parameter, such as ``TRAININGJOB_MAX_BYTES``, and
            ``AWS_ENDPOINT_URL`` or ``S3_ENDPOINT``, ``GOOGLE_BASE_URL`` and ``AZURE_STORAGE_ENDPOINT``;
            lists are comma-separated.

        Raises
        ------
        SpecInvalid
            With reason ``InvalidEnvironment`` if a variable cannot be read.
        """
        try:
            return read_settings(cls, environment)
        except SpecError as error:
            raise SpecInvalid(Reason.INVALID_ENVIRONMENT, str(error)) from None
