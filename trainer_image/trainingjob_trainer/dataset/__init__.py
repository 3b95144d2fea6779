"""The table: read from where the job says, within limits, with its digest; nothing is learnt here."""

from trainingjob_trainer.dataset.csv_file import CsvLayout
from trainingjob_trainer.dataset.load import Table, load_table
from trainingjob_trainer.dataset.samples import SAMPLES, make_sample

__all__ = ["SAMPLES", "CsvLayout", "Table", "load_table", "make_sample"]
