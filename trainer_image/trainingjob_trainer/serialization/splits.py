"""The parts of ``pipeline.py`` that repeat how the run read the target and set its hold-out rows aside."""

import base64
import zlib

import numpy as np

from trainingjob_trainer.data.prepare import Prepared

__all__ = ["SPLIT", "SPLIT_IMPORTS", "TARGETS", "TARGET_RULES", "rows_source"]

TARGET_RULES = '''
# What the texts of the target become, in order; numbers and booleans stay as they are.
TARGET_RULES = [
{rules}]


def read_target(table):
    """Return the target's values; what is missing is missing."""
    values = table[TARGET]
    for pattern, value in TARGET_RULES:
        values = values.replace(pattern, value, regex=True)
    return values

'''
"""Source of what all kinds of targets need."""

TARGETS = {
    "text": '''
def target_of(table):
    """Return the rows that have a label, and the labels."""
    labels = read_target(table)
    keep = labels.notna()
    return table[keep].reset_index(drop=True), labels[keep].astype("str").to_numpy(dtype=object)

''',
    "bool": '''
def target_of(table):
    """Return the rows that have a label, and the labels."""
    labels = read_target(table)
    keep = labels.notna()
    truths = labels[keep].astype("str").str.casefold() == "true"
    return table[keep].reset_index(drop=True), truths.to_numpy(dtype=bool)

''',
    "number": '''
def target_of(table):
    """Return the rows that have a target, and their targets."""
    values = pd.to_numeric(read_target(table), errors="coerce").to_numpy(dtype="float64")
    keep = np.isfinite(values)
    return table[keep].reset_index(drop=True), values[keep].astype({dtype!r})

''',
}
"""Source by kind of target; that of numbers takes the dtype."""

SPLIT = '''
def split(path, table):
    """Return what each row is in the run: left out (0), for training (1) or set aside (2)."""
    if len(table) != ROWS_IN_RUN:
        sys.exit(
            f"{path} has {len(table):,} rows, the table of the run {ROWS_IN_RUN:,}: the rows that were set "
            "aside are known by their position. To fit other rows: from pipeline import make_pipeline"
        )
    with open(path, "rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != SHA256_IN_RUN:
            print("note: this is another file than the run's, so that the score may differ")
    return np.where(bits(LEFT_OUT), 0, np.where(bits(HOLDOUT), 2, 1))


def bits(text):
    """Return one boolean a row of the table."""
    packed = np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype=np.uint8)
    return np.unpackbits(packed, count=ROWS_IN_RUN).astype(bool)

'''
"""Source of the function that says where each row of the table goes."""

SPLIT_IMPORTS = frozenset({"import base64", "import hashlib", "import zlib"})
"""What it needs."""

_LITERAL = """
# One bit a row of the table, packed and compressed: the rows that were set aside, and those that were left
# out since they have no target or no time.
HOLDOUT = (
{holdout}
)
LEFT_OUT = (
{left_out}
)
"""
_LINE = 100


def rows_source(prepared: Prepared) -> str:
    """Return the literals that say which rows the run set aside and which it left out."""
    total = len(prepared.row_numbers) + prepared.dropped_rows
    holdout, left_out = np.zeros(total, dtype=bool), np.ones(total, dtype=bool)
    holdout[prepared.row_numbers[prepared.holdout_index]] = True
    left_out[prepared.row_numbers] = False
    return _LITERAL.format(holdout=_text(holdout), left_out=_text(left_out))


def _text(mask: np.ndarray) -> str:
    text = base64.b64encode(zlib.compress(np.packbits(mask).tobytes(), 9)).decode()
    return "\n".join(f'    "{text[start : start + _LINE]}"' for start in range(0, len(text), _LINE))
