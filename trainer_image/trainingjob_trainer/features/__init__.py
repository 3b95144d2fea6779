"""What is learnt from a table: its task, features, metric and splits, and the encoder of raw rows."""

from trainingjob_trainer.features.encoder import build_encoder
from trainingjob_trainer.features.finding import Finding, FindingKind, Severity
from trainingjob_trainer.features.metric import Metric, fitting_metrics, resolve_metric
from trainingjob_trainer.features.prepare import Prepared, prepare
from trainingjob_trainer.features.schema import ColumnSchema, InputSchema

__all__ = [
    "ColumnSchema",
    "Finding",
    "FindingKind",
    "InputSchema",
    "Metric",
    "Prepared",
    "Severity",
    "build_encoder",
    "fitting_metrics",
    "prepare",
    "resolve_metric",
]
