"""A table without training: what ``trainingjob validate --data`` shows."""

import tempfile
import warnings
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from pydantic.alias_generators import to_camel

from trainingjob_api import FindingNote, ResolvedRun
from trainingjob_trainer.cli.values import search_space_text
from trainingjob_trainer.settings import TrainerSettings

__all__ = ["Inspection", "inspect_data"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What the table decides.

    Parameters
    ----------
    task, metric
        What is learnt, and the scorer.
    classes
        Labels, or None for regression.
    positive_label
        The label that binary metrics count as positive, or None.
    rows, holdout_rows, dropped_rows
        Rows with a target, those of them that are held out, and rows without a target.
    cv_folds
        Folds, after any reduction by small classes.
    feature_types
        Type by column, in the order of the table.
    findings
        What the user should know of the table.
    sha256, size_bytes
        Of the file.
    search_space
        The search space, compiled for this table.
    """

    task: str
    metric: str
    classes: tuple[str, ...] | None
    positive_label: str | None
    rows: int
    holdout_rows: int
    dropped_rows: int
    cv_folds: int
    feature_types: dict[str, str]
    findings: tuple[FindingNote, ...]
    sha256: str
    size_bytes: int
    search_space: str

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, camelCase."""
        values = {to_camel(field.name): getattr(self, field.name) for field in fields(self)}
        findings = [finding.model_dump(mode="json", exclude_none=True) for finding in self.findings]
        return {**values, "findings": findings}


def inspect_data(run: ResolvedRun, settings: TrainerSettings) -> Inspection:
    """Load and prepare a job's table, and compile its search space for it.

    Raises
    ------
    DataError
        If the table cannot be trained on.
    SpecInvalid
        If the dataset cannot be read, or the search space is wrong.
    """
    from trainingjob_trainer.data.load import load_table
    from trainingjob_trainer.data.prepare import prepare

    with tempfile.TemporaryDirectory(prefix="trainingjob-") as scratch:
        table = load_table(run.dataset, settings=settings, scratch=Path(scratch))
        prepared = prepare(table, run)
    with warnings.catch_warnings():
        # stopit, which tpot imports, still uses pkg_resources; no user can do anything about it.
        warnings.filterwarnings("ignore", message="pkg_resources is deprecated")
        from trainingjob_trainer.run.search_stage import wants_names

        wants_names(run, prepared)  # compiles the space, which rejects what is not on the allow-list
    positive = prepared.positive_label
    return Inspection(
        task=str(prepared.task),
        metric=prepared.metric.name,
        classes=None if prepared.classes is None else tuple(str(label) for label in prepared.classes),
        positive_label=None if positive is None else str(positive),
        rows=len(prepared.frame),
        holdout_rows=len(prepared.holdout_index),
        dropped_rows=prepared.dropped_rows,
        cv_folds=prepared.cv_folds,
        feature_types={name: str(kind) for name, kind in prepared.feature_types.items()},
        findings=tuple(finding.to_note() for finding in prepared.findings),
        sha256=prepared.dataset_sha256,
        size_bytes=table.size_bytes,
        search_space=search_space_text(run),
    )
