"""From a dataset's address to a checked table in memory."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from trainingjob_api import Reason, public_uri
from trainingjob_api.spec import Dataset
from trainingjob_api.vocabulary import DatasetFormat
from trainingjob_trainer.data.csv_file import CsvLayout, read_csv
from trainingjob_trainer.data.parquet_file import read_parquet
from trainingjob_trainer.data.samples import make_sample
from trainingjob_trainer.data.scratch import fetch, inflate, sniff
from trainingjob_trainer.data.sources import open_source
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
    sha256, size_bytes
        Of the file as stored (of the CSV text for ``sample://``).
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

    The file is first copied to a new folder under *scratch*, so that the bytes that are parsed are
    those of the digest. The folder is deleted when the call returns or raises.

    Raises
    ------
    DataError
        If the table is missing, too large, malformed, or has another digest than the pin.
    SpecInvalid
        If the address cannot be used, such as ``https://`` where it is not allowed.
    """
    uri = public_uri(dataset.uri)
    if dataset.uri.startswith(_SAMPLE):
        sample = make_sample(dataset.uri.removeprefix(_SAMPLE))
        _check_pin(dataset, sample.sha256)
        return Table(sample.frame, sample.sha256, sample.size_bytes, uri, "csv")
    layout: CsvLayout | None = None
    index_names: tuple[str, ...] = ()
    with tempfile.TemporaryDirectory(prefix="dataset-", dir=scratch) as folder:
        stored = Path(folder) / "stored"
        with open_source(dataset, settings) as chunks:
            sha256, size = fetch(chunks, stored, limit=settings.max_bytes, uri=uri)
        _check_pin(dataset, sha256)
        plain = inflate(stored, stored.with_name("plain"), limit=settings.max_decompressed_bytes)
        found = sniff(plain, dataset.format or DatasetFormat.AUTO)
        if found is DatasetFormat.PARQUET:
            frame, index_names = read_parquet(plain, settings)
        else:
            frame, layout = read_csv(plain, settings, dataset.csv)
    return Table(frame, sha256, size, uri, found.value, layout, index_names)


def _check_pin(dataset: Dataset, sha256: str) -> None:
    pin = dataset.sha256
    if pin is not None and pin.lower() != sha256:
        raise DataError(
            Reason.DIGEST_MISMATCH,
            f"spec.dataset.sha256 is {pin.lower()}, but {public_uri(dataset.uri)} has {sha256}: the file has "
            "changed; restore it, or set the new digest in the spec after checking the file",
        )
