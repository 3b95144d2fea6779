"""From a dataset's address to a checked table in memory."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from trainingjob_api import Reason
from trainingjob_api.spec import Dataset
from trainingjob_api.vocabulary import DatasetFormat
from trainingjob_trainer.data.csv_file import CsvLayout, read_csv
from trainingjob_trainer.data.files import fetch, inflate, sniff
from trainingjob_trainer.data.parquet_file import read_parquet
from trainingjob_trainer.data.samples import make_sample
from trainingjob_trainer.data.sources import open_source, public_uri
from trainingjob_trainer.errors import DataError
from trainingjob_trainer.settings import TrainerSettings

__all__ = ["Table", "load_table"]

_SAMPLE = "sample://"


@dataclass(frozen=True, slots=True)
class Table:
    """A table as it was read, before its text is understood.

    Parameters
    ----------
    frame
        All columns, target included; names are unique strings.
    sha256
        Digest of the file as stored (of the CSV text for ``sample://``), 64 hex digits.
    size_bytes
        Size of the file as stored, in bytes.
    uri
        Where it was read from, without a query, which may hold a signature.
    format
        ``csv`` or ``parquet``.
    csv
        Layout of a CSV file; None for Parquet and samples.
    index_names
        Columns that pandas gives back as the index of a frame, such as those of a Parquet file.
    """

    frame: pd.DataFrame
    sha256: str
    size_bytes: int
    uri: str
    format: str
    csv: CsvLayout | None = None
    index_names: tuple[str, ...] = ()


def load_table(dataset: Dataset, *, settings: TrainerSettings, scratch: Path) -> Table:
    """Read the table that *dataset* names.

    The file is copied to a folder of its own under *scratch* first, so that what is parsed is what
    the digest was computed of; the folder is gone when the call returns or raises.

    Parameters
    ----------
    dataset
        Address, format and pin.
    settings
        Limits, in bytes, rows and columns.
    scratch
        An existing folder with room for the file, decompressed.

    Raises
    ------
    DataError
        If the table is missing, too large, malformed, or has another digest than the pin.
    SpecInvalid
        If the address cannot be used, such as ``https://`` where it is not allowed.
    """
    if dataset.uri.startswith(_SAMPLE):
        return _load_sample(dataset)
    with tempfile.TemporaryDirectory(prefix="dataset-", dir=scratch) as folder:
        with open_source(dataset, settings) as chunks:
            fetched = fetch(
                chunks, Path(folder) / "stored", limit=settings.max_bytes, uri=public_uri(dataset.uri)
            )
        _check_pin(dataset, fetched.sha256)
        plain = inflate(fetched.path, Path(folder) / "plain", limit=settings.max_decompressed_bytes)
        found = sniff(plain, dataset.format or DatasetFormat.AUTO)
        layout: CsvLayout | None = None
        index_names: tuple[str, ...] = ()
        if found is DatasetFormat.PARQUET:
            frame, index_names = read_parquet(plain, settings)
        else:
            frame, layout = read_csv(plain, settings, dataset.csv)
    return Table(
        frame=frame,
        sha256=fetched.sha256,
        size_bytes=fetched.size_bytes,
        uri=public_uri(dataset.uri),
        format=found.value,
        csv=layout,
        index_names=index_names,
    )


def _load_sample(dataset: Dataset) -> Table:
    sample = make_sample(dataset.uri.removeprefix(_SAMPLE))
    _check_pin(dataset, sample.sha256)
    return Table(
        frame=sample.frame, sha256=sample.sha256, size_bytes=sample.size_bytes, uri=dataset.uri, format="csv"
    )


def _check_pin(dataset: Dataset, sha256: str) -> None:
    pin = dataset.sha256
    if pin is not None and pin.lower() != sha256:
        raise DataError(
            Reason.DIGEST_MISMATCH,
            f"spec.dataset.sha256 is {pin.lower()}, but {public_uri(dataset.uri)} has {sha256}: the file has "
            "changed; restore it, or put the new digest into the spec after checking the file",
        )
