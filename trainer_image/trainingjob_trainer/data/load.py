"""From a dataset's address to a checked table in memory, and the sample tables, which need no network."""

import hashlib
import json
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn import datasets

from trainingjob_api import Reason, nearest_names, public_uri
from trainingjob_api.storage import Dataset
from trainingjob_api.vocabulary import DatasetFormat
from trainingjob_trainer.data.csv_file import CsvLayout, check_names, check_row_count, read_csv
from trainingjob_trainer.data.scratch import fetch, inflate, sniff, too_large
from trainingjob_trainer.data.sources import open_source
from trainingjob_trainer.errors import DataError, SpecInvalid
from trainingjob_trainer.settings import TrainerSettings

_SAMPLE = "sample://"
_BATCH_ROWS = 4096
_PANDAS_INDEX = re.compile(r"__index_level_\d+__")
_SEED = 20_260_101
_PRAISE = (
    *("great service", "works fine", "happy with the speed", "no complaints so far"),
    "friendly staff on the phone",
)
_GRIEF = (
    "cancelled twice already",
    "too slow in the evening",
    "billing error again",
    "support never answers",
)
_CONTRACTS = ("monthly", "yearly", "two years", "trial", "staff")
_SHARES = (0.55, 0.27, 0.17, 0.007, 0.003)
_FILLER = ("since last month", "as I said before", "in our house", "for the whole family", "to be honest")


@dataclass(frozen=True, slots=True)
class TableFile:
    """How the file of a table was read, and how new rows are read from such a file."""

    format: str = "csv"
    layout: CsvLayout | None = None
    """None for Parquet and samples."""
    missing_values: tuple[str, ...] | None = None
    """The texts that count as missing everywhere; None: the usual ones."""
    index: tuple[str, ...] = ()
    """Columns that pandas makes the index of a frame, such as those of a Parquet file."""

    @property
    def example(self) -> str:
        """The call of pandas that reads new rows from such a file for the model."""
        path = f'"new-rows.{self.format}"'
        return f"pd.read_parquet({path})" if self.format == "parquet" else self.csv_call(path)

    def csv_call(self, path: str) -> str:
        """Return the call of pandas that reads a CSV file for the model; *path* is source.

        Values stay texts, since the model knows how they are written.
        """
        usual = CsvLayout()
        layout = self.layout or usual
        arguments = ["dtype=str", "keep_default_na=False"]
        if layout.separator != usual.separator:
            arguments.insert(0, f"sep={json.dumps(layout.separator)}")
        if layout.skipped_lines:
            arguments.append(f"skiprows={layout.skipped_lines}")
        if layout.encoding != usual.encoding:
            arguments.append(f"encoding={json.dumps(layout.encoding)}")
        return f"pd.read_csv({path}, {', '.join(arguments)})"

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that JSON can hold."""
        data: dict[str, Any] = {"format": self.format, "readWith": self.example}
        if self.format == "csv":
            layout = self.layout or CsvLayout()
            data |= {
                "separator": layout.separator,
                "encoding": layout.encoding,
                "skippedLines": layout.skipped_lines,
            }
        if self.missing_values is not None:
            data["missingValues"] = list(self.missing_values)
        return data | ({"index": list(self.index)} if self.index else {})


@dataclass(frozen=True, slots=True)
class Table:
    """A table as it was read, before its text is understood; size and digest are those of the stored file."""

    frame: pd.DataFrame
    """All columns, target included; names are unique strings."""
    sha256: str
    size_bytes: int
    file: TableFile = field(default_factory=TableFile)


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
        table = make_sample(dataset.uri.removeprefix(_SAMPLE))
        _check_pin(dataset, table.sha256)
        return table
    with tempfile.TemporaryDirectory(prefix="dataset-", dir=scratch) as folder:
        stored = Path(folder) / "stored"
        with open_source(dataset, settings) as chunks:
            sha256, size = fetch(chunks, stored, limit=settings.max_bytes, uri=uri)
        _check_pin(dataset, sha256)
        plain = inflate(stored, stored.with_name("plain"), limit=settings.max_decompressed_bytes)
        found = sniff(plain, dataset.format or DatasetFormat.AUTO)
        if found is DatasetFormat.PARQUET:
            frame, index = read_parquet(plain, settings)
            file = TableFile(found.value, index=index)
        else:
            frame, layout = read_csv(plain, settings, dataset.csv)
            file = TableFile(found.value, layout)
    return Table(frame, sha256, size, file)


def _check_pin(dataset: Dataset, sha256: str) -> None:
    pin = dataset.sha256
    if pin is not None and pin.lower() != sha256:
        raise DataError(
            Reason.DIGEST_MISMATCH,
            f"spec.dataset.sha256 is {pin.lower()}, but {public_uri(dataset.uri)} has {sha256}: the file has "
            "changed; restore it, or set the new digest in the spec after checking the file",
        )


def read_parquet(path: Path, settings: TrainerSettings) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return the table in the Parquet file *path*, and which of its columns pandas makes the index of.

    A named index holds values like any other column. One without a name is left out.
    """
    try:
        with pq.ParquetFile(path) as file:
            names = list(file.schema_arrow.names)
            check_names(names, settings.max_columns)
            check_row_count(file.metadata.num_rows, settings.max_rows)
            groups = range(file.metadata.num_row_groups)
            _check_size(sum(file.metadata.row_group(i).total_byte_size for i in groups), settings)
            columns = [name for name in names if not _PANDAS_INDEX.fullmatch(name)]
            table = _read(file, columns, settings)
            index = _index_names(file)
    except (pa.ArrowException, OSError) as error:
        cause = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise DataError(
            Reason.DATASET_CORRUPT, f"The Parquet file cannot be read ({cause}); write it again"
        ) from error
    # pandas parses its own note of the table even where that is to be ignored.
    frame: pd.DataFrame = table.replace_schema_metadata(None).to_pandas(ignore_metadata=True)
    return frame, tuple(name for name in columns if name in index)


def _index_names(file: pq.ParquetFile) -> frozenset[str]:
    try:
        metadata = file.schema_arrow.pandas_metadata or {}
        return frozenset(name for name in metadata.get("index_columns", ()) if isinstance(name, str))
    except (ValueError, TypeError, AttributeError, RecursionError):
        # What pandas writes beside the table is JSON. Where it is not, no column is an index.
        return frozenset()


def _read(file: pq.ParquetFile, columns: list[str], settings: TrainerSettings) -> pa.Table:
    # A dictionary page is stored once and repeated by every row that names it, so that a small file with
    # honest metadata can still be a bomb: the limit is held against the batches as they are decoded.
    batches = []
    size = rows = 0
    for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=columns, use_threads=False):
        size += batch.nbytes
        rows += batch.num_rows
        check_row_count(rows, settings.max_rows, final=False)
        _check_size(size, settings)
        batches.append(batch)
    check_row_count(rows, settings.max_rows)
    return pa.Table.from_batches(batches)


def _check_size(size: int, settings: TrainerSettings) -> None:
    if size > settings.max_decompressed_bytes:
        raise too_large(settings.max_decompressed_bytes)


def _chance(rng: np.random.Generator, rows: int, share: float) -> np.ndarray:
    """Return a boolean for each row, true for about a *share* of them."""
    return rng.random(rows) < share


def _holes(rng: np.random.Generator, column: pd.Series, share: float) -> pd.Series:
    """Return *column* without about a *share* of its values."""
    return column.mask(pd.Series(_chance(rng, len(column), share)))


def _towns(rng: np.random.Generator, rows: int, count: int) -> tuple[pd.Series, np.ndarray]:
    """Return town names with a long tail, and an effect for each row."""
    heads = ["North", "South", "East", "West", "Upper", "Lower", "New", "Old", "Little", "Great"]
    tails = ["field", "ford", "ham", "bridge", "wick", "mouth", "stead", "well", "wood", "port", "ton", "by"]
    roots = [
        *("Ash", "Birch", "Crow", "Dun", "Elm", "Fox", "Grim", "Hay", "Ivy", "Kirk", "Lark", "Mill", "Oak"),
        "Rye",
    ]
    names = [f"{head} {root}{tail}" for head in heads for root in roots for tail in tails]
    chosen = rng.choice(np.array(names, dtype=object), size=count, replace=False)
    weights = 1.0 / np.arange(1, count + 1)
    codes = rng.choice(count, size=rows, p=weights / weights.sum())
    return pd.Series(chosen[codes], dtype="str"), rng.normal(size=count)[codes]


def _sentences(rng: np.random.Generator, unhappy: np.ndarray) -> pd.Series:
    lines = []
    for bad in rng.random(len(unhappy)) < unhappy:
        said = rng.choice(_GRIEF if bad else _PRAISE, size=2, replace=False)
        parts = [rng.choice(_FILLER), *said, f"reference {rng.integers(1000)}"]
        lines.append(", ".join(str(part) for part in rng.permutation(parts)))
    return pd.Series(lines, dtype="str")


def messy_churn() -> pd.DataFrame:
    """Return a table of customers with the yes/no target ``churned``, one in six of them yes.

    4,000 rows and 40 duplicates of some, missing values (in the target too), infinities, rare categories, 400
    towns, free text, dates, booleans, numbers as text with ``?`` among them, an identifier and a constant.
    """
    rng = np.random.default_rng(_SEED)
    rows = 4_000
    tenure = rng.gamma(2.0, 18.0, size=rows).round()
    charge = rng.normal(62.0, 24.0, size=rows).clip(9.0).round(2)
    calls = rng.poisson(1.4, size=rows)
    contract = rng.choice(_CONTRACTS, size=rows, p=_SHARES)
    paperless = _chance(rng, rows, 0.6)
    town, town_effect = _towns(rng, rows, 400)
    days = pd.to_timedelta(tenure * 30 + rng.integers(0, 30, size=rows), unit="D")
    start = pd.Timestamp("2026-01-01") - days
    bound = 0.03 * tenure - 1.3 * (contract == "monthly")
    logit = -2.6 - bound + 0.022 * (charge - 62) + 0.55 * calls + 0.7 * town_effect
    churned = rng.random(rows) < 1.0 / (1.0 + np.exp(-logit))
    with np.errstate(divide="ignore"):
        ratio = pd.Series(charge / (tenure // 6), dtype="float64")  # infinite for the newest customers
    usage = pd.Series(rng.lognormal(3.0, 0.8, size=rows).round(1).astype(str), dtype="str")
    frame = pd.DataFrame(
        {
            "customer_id": [f"C{number:06d}" for number in rng.permutation(rows) + 100_000],
            "signup_date": _holes(rng, pd.Series(start.strftime("%Y-%m-%d"), dtype="str"), 0.02),
            "tenure_months": tenure.astype(int),
            "monthly_charge": _holes(rng, pd.Series(charge), 0.05),
            "charge_per_half_year": ratio,
            "support_calls": _holes(rng, pd.Series(calls.astype(float)), 0.1),
            "usage_gb": usage.mask(pd.Series(_chance(rng, rows, 0.01)), "?"),
            "contract": _holes(rng, pd.Series(contract, dtype="str"), 0.03),
            "paperless": paperless,
            "newsletter": _holes(rng, pd.Series(_chance(rng, rows, 0.3), dtype=object), 0.15),
            "town": _holes(rng, town, 0.01),
            "comment": _holes(rng, _sentences(rng, 0.15 + 0.6 * churned), 0.35),
            "country": "GB",
            "churned": _holes(rng, pd.Series(np.where(churned, "yes", "no"), dtype="str"), 0.005),
        }
    )
    return pd.concat([frame, frame.iloc[rng.choice(rows, size=40, replace=False)]], ignore_index=True)


def messy_prices() -> pd.DataFrame:
    """Return a table of flats with the target ``price``, skewed and positive.

    3,000 rows, missing values (in the target too), 250 towns, free text, time stamps, rare categories,
    booleans, a row number and a column without any value.
    """
    rng = np.random.default_rng(_SEED + 1)
    rows = 3_000
    area = rng.gamma(6.0, 14.0, size=rows).clip(12.0).round(1)
    rooms = (area / 25 + rng.normal(0, 0.7, size=rows)).round().clip(1)
    year = rng.integers(1890, 2026, size=rows)
    energy = rng.choice(list("ABCDEFG"), size=rows, p=[0.04, 0.13, 0.28, 0.3, 0.17, 0.075, 0.005])
    lift = _chance(rng, rows, 0.4)
    town, town_effect = _towns(rng, rows, 250)
    listed = pd.Timestamp("2024-01-01") + pd.to_timedelta(
        rng.integers(0, 730 * 24 * 60, size=rows), unit="min"
    )
    trend = (listed - pd.Timestamp("2024-01-01")).days.to_numpy() / 730.0
    log_price = (
        9.6
        + 0.8 * np.log(area)
        + 0.002 * (year - 1950)
        + 0.35 * town_effect
        + 0.12 * trend
        + 0.05 * lift
        - 0.05 * np.array(["ABCDEFG".index(letter) for letter in energy])
    )
    price = np.exp(log_price + rng.normal(0, 0.15, size=rows)).round(-2)
    condition = 1.0 / (1.0 + np.exp(2.0 * (log_price - log_price.mean())))
    return pd.DataFrame(
        {
            "row": np.arange(1, rows + 1),
            "listed_at": listed.strftime("%d/%m/%Y %H:%M"),
            "area_m2": _holes(rng, pd.Series(area), 0.04),
            "rooms": _holes(rng, pd.Series(rooms), 0.08),
            "built": year,
            "energy_class": _holes(rng, pd.Series(energy, dtype="str"), 0.12),
            "lift": lift,
            "town": town,
            "description": _holes(rng, _sentences(rng, condition), 0.2),
            "renovated": pd.Series([None] * rows, dtype=object),
            "price": _holes(rng, pd.Series(price), 0.01),
        }
    )


def _bundled(load: Callable[..., Any], *, names: bool = True) -> pd.DataFrame:
    bunch = load()
    frame = pd.DataFrame(bunch.data, columns=[str(name) for name in bunch.feature_names])
    target = bunch.target
    return frame.assign(target=[str(bunch.target_names[code]) for code in target] if names else target)


SAMPLES: Mapping[str, Callable[[], pd.DataFrame]] = MappingProxyType(
    {
        "breast_cancer": partial(_bundled, datasets.load_breast_cancer),
        "iris": partial(_bundled, datasets.load_iris),
        "wine": partial(_bundled, datasets.load_wine),
        "digits": partial(_bundled, datasets.load_digits, names=False),
        "diabetes": partial(_bundled, datasets.load_diabetes, names=False),
        "messy_churn": messy_churn,
        "messy_prices": messy_prices,
    }
)
"""Makers of the tables behind ``sample://<name>``; the target is ``target``, ``churned`` or ``price``."""


def make_sample(name: str) -> Table:
    """Return the sample table *name*, the same on every call; size and digest are those of its CSV text."""
    make = SAMPLES.get(name)
    if make is None:
        names = nearest_names(name, SAMPLES, most=len(SAMPLES), cutoff=0.0)
        raise SpecInvalid(
            Reason.UNKNOWN_SAMPLE, f"spec.dataset.uri: there is no sample {name!r}; use {', '.join(names)}"
        )
    frame = make()
    text = frame.to_csv(index=False).encode()
    return Table(frame, hashlib.sha256(text).hexdigest(), len(text))
