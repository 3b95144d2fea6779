"""Where artifacts go: a byte store behind each scheme, and what is written once above all of them."""

from trainingjob_trainer.storage.client import s3_client
from trainingjob_trainer.storage.folder import FolderStore
from trainingjob_trainer.storage.manifest import Manifest, ManifestEntry, folder_name, publishable
from trainingjob_trainer.storage.output import OBJECT_STORES, Output, StateStore, open_output
from trainingjob_trainer.storage.s3 import S3Store, s3_failure
from trainingjob_trainer.storage.store import RetryPolicy, Store

__all__ = [
    "OBJECT_STORES",
    "FolderStore",
    "Manifest",
    "ManifestEntry",
    "Output",
    "RetryPolicy",
    "S3Store",
    "StateStore",
    "Store",
    "folder_name",
    "open_output",
    "publishable",
    "s3_client",
    "s3_failure",
]
