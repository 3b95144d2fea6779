"""Where artifacts go: a folder, a mounted claim or an S3 bucket; nothing counts until its digest is verified.

The layout is the same everywhere: ``<output>/<name>-<uid8>/`` with ``manifest.json`` written last, and
``<output>/<name>/latest.json`` that points to it.
"""

from trainingjob_trainer.storage.client import s3_client
from trainingjob_trainer.storage.errors import s3_failure
from trainingjob_trainer.storage.folder import FolderOutput
from trainingjob_trainer.storage.journal_store import FolderState, S3State, StateStore
from trainingjob_trainer.storage.manifest import (
    Manifest,
    ManifestEntry,
    publishable,
    sha256_of,
    verify_folder,
)
from trainingjob_trainer.storage.output import Output, folder_name, open_output
from trainingjob_trainer.storage.retry import RetryPolicy
from trainingjob_trainer.storage.s3 import S3Output

__all__ = [
    "FolderOutput",
    "FolderState",
    "Manifest",
    "ManifestEntry",
    "Output",
    "RetryPolicy",
    "S3Output",
    "S3State",
    "StateStore",
    "folder_name",
    "open_output",
    "publishable",
    "s3_client",
    "s3_failure",
    "sha256_of",
    "verify_folder",
]
