"""The report of a trainer, which it writes into a ConfigMap or a file while it runs."""

from typing import Annotated, Literal

from pydantic import Field, StrictBool, StrictInt, StringConstraints, ValidationError

from trainingjob_api.status import (
    Artifact,
    Best,
    Fallback,
    LeaderboardEntry,
    ParetoPoint,
    Progress,
    Resolved,
)
from trainingjob_api.text import shorten
from trainingjob_api.types import Message, ReasonWord, StatusModel, Timestamp, Uid, optional
from trainingjob_api.vocabulary import Backend, ModelSource, Severity, Stage

__all__ = [
    "MAX_ATTEMPT",
    "MAX_FINDINGS",
    "MAX_REPORT_BYTES",
    "REPORT_SCHEMA_VERSION",
    "Digests",
    "Failure",
    "FindingNote",
    "Report",
    "ReportError",
    "dump_report",
    "parse_report",
]

REPORT_SCHEMA_VERSION: Literal[1] = 1
MAX_REPORT_BYTES = 256 * 1024
MAX_FINDINGS = 30
MAX_ATTEMPT = 1_000_000


class ReportError(ValueError):
    """The text is not a report of this version."""


class Failure(StatusModel):
    """Why a run failed."""

    reason: ReasonWord = Field(description="Reason in PascalCase, such as TargetColumnMissing.")
    message: Message = Field(description="The field or column, the cause and the way out.")
    exit_code: Annotated[StrictInt, Field(ge=1, le=255)] = Field(
        default=1, description="2: the spec or the data is wrong and a retry is useless; 1: the run failed."
    )


class FindingNote(StatusModel):
    """Information about the table for the user; ``docs/data.md`` explains each kind."""

    finding: ReasonWord = Field(description="Its kind, such as ConstantColumn.")
    severity: Severity = Field(description="info or warning.")
    column: Annotated[str, StringConstraints(max_length=256)] | None = optional(
        "The column that it concerns, if any."
    )
    message: Message = Field(description="The cause and the remedy.")


class Digests(StatusModel):
    """Digests that identify a search and its data."""

    spec: Annotated[str, StringConstraints(max_length=64)] | None = optional("ResolvedRun.search_digest().")
    data: Annotated[str, StringConstraints(max_length=64)] | None = optional("SHA-256 of the dataset.")
    journal: Annotated[str, StringConstraints(max_length=64)] | None = optional(
        "SHA-256 of the journal that a later attempt may load."
    )


# fail_fast: pydantic builds its list of errors in one call that cannot be interrupted.
class Report(StatusModel):
    """The state of a run at one time; a report with a higher sequence number replaces it."""

    schema_version: Literal[1] = Field(default=REPORT_SCHEMA_VERSION, description="Version of this schema.")
    job_uid: Uid = Field(description="Uid of the TrainingJob.")
    attempt: Annotated[StrictInt, Field(ge=1, le=MAX_ATTEMPT)] = Field(
        default=1, description="Number of the attempt."
    )
    pod_uid: Uid | None = optional("Uid of the trainer's pod; unset in a local run.")
    sequence: Annotated[StrictInt, Field(ge=0, le=1_000_000_000)] = Field(
        default=0, description="Sequence number; increases with each report of a pod."
    )
    final: StrictBool = Field(
        default=False, description="Whether the run has ended and its artifacts are complete."
    )
    stage: Stage = Field(default=Stage.STARTING, description="Current stage of the run.")
    written_at: Timestamp | None = optional("When the report was written.")
    resolved: Resolved | None = optional("The values in force.")
    backend: Backend | None = optional("Backend that evaluates pipelines now.")
    dask_ready: StrictBool | None = optional("Whether the Dask cluster responds and has a worker.")
    model_source: ModelSource | None = optional("Origin of the model.")
    fallbacks: Annotated[tuple[Fallback, ...], Field(max_length=8, fail_fast=True)] = Field(
        default=(), description="Fallbacks so far, in order."
    )
    progress: Progress | None = optional("Progress of the search.")
    best: Best | None = optional("The best pipeline so far.")
    leaderboard: Annotated[tuple[LeaderboardEntry, ...], Field(max_length=100, fail_fast=True)] = Field(
        default=(), description="The best pipelines."
    )
    pareto_front: Annotated[tuple[ParetoPoint, ...], Field(max_length=100, fail_fast=True)] = Field(
        default=(), description="Pareto front of score and complexity."
    )
    artifacts: Annotated[tuple[Artifact, ...], Field(max_length=32, fail_fast=True)] = Field(
        default=(), description="Verified files of the run."
    )
    findings: Annotated[tuple[FindingNote, ...], Field(max_length=MAX_FINDINGS, fail_fast=True)] = Field(
        default=(), description="Information about the data for the user, warnings first."
    )
    warnings: Annotated[tuple[Message, ...], Field(max_length=50, fail_fast=True)] = Field(
        default=(), description="Warnings about the run for the user."
    )
    failure: Failure | None = optional("Why the run failed, if it did.")
    digests: Digests | None = optional("Digests that identify a search and its data.")


def dump_report(report: Report) -> str:
    """Return *report* as JSON of at most :data:`MAX_REPORT_BYTES`, camelCase, without null values.

    Raises
    ------
    ReportError
        If it is larger.
    """
    text = report.model_dump_json(by_alias=True, exclude_none=True)
    if len(text.encode()) > MAX_REPORT_BYTES:
        raise ReportError(f"a report may hold {MAX_REPORT_BYTES} bytes, this one has {len(text.encode())}")
    return text


def parse_report(text: str) -> Report:
    """Return the report that *text* holds.

    Raises
    ------
    ReportError
        If the text is too large, not JSON or does not match the schema. The message names fields, never their
        values.
    """
    if len(text) > MAX_REPORT_BYTES or len(text.encode(errors="replace")) > MAX_REPORT_BYTES:
        raise ReportError(f"the report is larger than {MAX_REPORT_BYTES} bytes")
    try:
        return Report.model_validate_json(text)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(shorten(str(part), 64) for part in item['loc']) or 'report'}: {item['type']}"
            for item in error.errors(include_url=False, include_input=False, include_context=False)[:5]
        )
        raise ReportError(f"the report does not match its schema: {problems}") from None
