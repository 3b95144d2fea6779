"""Columns of text, read as the trainer reads them."""

from datetime import time
from typing import Any

import numpy as np
import pandas as pd

from trainingjob_api.storage import Csv
from trainingjob_api.vocabulary import FeatureType
from trainingjob_trainer.data import Finding, FindingKind
from trainingjob_trainer.data.columns import Columns, read_columns, read_texts
from trainingjob_trainer.data.encoder import build_encoder

ROWS = 120
RNG = np.random.default_rng(4)
AMOUNTS = RNG.lognormal(9, 1, ROWS).round(2)
SIGNED = AMOUNTS * np.where(RNG.random(ROWS) < 0.3, -1, 1)
WHOLE = RNG.integers(200, 900_000, ROWS)
SHARES = RNG.normal(40, 10, ROWS).round(1)
HOLES = RNG.random(ROWS) < 0.1


def read(
    values: Any, separator: str = ",", asked: FeatureType | None = None, csv: Csv | None = None, **others: Any
) -> Columns:
    frame = pd.DataFrame({"x": pd.Series(list(values)), **others})
    if not any(isinstance(value, time) for value in values):
        frame = frame.astype("str")
    texts = read_texts(frame, csv, separator)
    return read_columns(frame, texts, {} if asked is None else {"x": asked}, skip="y")


def found(columns: Columns, kind: FindingKind) -> list[Finding]:
    return [finding for finding in columns.findings if finding.kind is kind and finding.column == "x"]


def swapped(text: str) -> str:
    return text.translate(str.maketrans(",.", ".,"))


def fitted(columns: Columns, kind: FeatureType) -> Any:
    encoder = build_encoder({"x": kind}, frame=columns.frame[["x"]], formats=columns.formats)
    return encoder.fit(columns.frame[["x"]])
