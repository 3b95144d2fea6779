"""Addresses of datasets and outputs: their forms, and the types that hold them."""

from typing import Annotated

from pydantic import StringConstraints

__all__ = [
    "DATASET_FORMS",
    "DATASET_URI_PATTERN",
    "OUTPUT_FORMS",
    "OUTPUT_URI_PATTERN",
    "DatasetUri",
    "OutputUri",
]

_BUCKET = r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"
_CLAIM = r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?"
_PATH = r"[^\x00-\x1f\x7f]+"
# No "user:password@": an address is shown in status and logs.
_HOST = r"([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?"

DATASET_FORMS = "s3://bucket/key, pvc://claim/path, https://host/path, sample://name or file://path"
DATASET_URI_PATTERN = (
    rf"^(s3://{_BUCKET}/{_PATH}|pvc://{_CLAIM}/{_PATH}|https://{_HOST}/[^\x00-\x20\x7f]*"
    rf"|sample://[a-z0-9_]+|file://{_PATH})$"
)
OUTPUT_FORMS = "s3://bucket, s3://bucket/prefix, pvc://claim, pvc://claim/path or file://path"
OUTPUT_URI_PATTERN = rf"^(s3://{_BUCKET}(/{_PATH})?/?|pvc://{_CLAIM}(/{_PATH})?/?|file://{_PATH})$"

DatasetUri = Annotated[str, StringConstraints(min_length=1, max_length=1024, pattern=DATASET_URI_PATTERN)]
OutputUri = Annotated[str, StringConstraints(min_length=1, max_length=512, pattern=OUTPUT_URI_PATTERN)]
