"""The encodings of a table that a pipeline may learn from, by name."""

from enum import StrEnum
from typing import Final


class Encoding(StrEnum):
    """Which encoder makes the matrix of a pipeline; the more important ones first."""

    DENSE = "dense"
    """Categories one-hot, those of a column with many as hashed n-grams beside the most frequent ones."""
    TARGET = "target"
    """Each column of categories holds the mean of the target in each category, out of fold in training; codes
    are added if there are many."""
    ORDINAL = "ordinal"
    """Each column of categories is one column of codes."""

    @property
    def words(self) -> str:
        """The encoding's name in the summary of a pipeline; empty for the dense encoding, the usual one."""
        return _WORDS[self]


_WORDS: Final = {Encoding.DENSE: "", Encoding.TARGET: "target means", Encoding.ORDINAL: "category codes"}
