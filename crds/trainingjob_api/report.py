"""The report of a trainer: what it writes into a ConfigMap, or a file, as it works."""

from typing import Annotated, Final, Literal

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
from trainingjob_api.types import Message, ReasonWord, StatusModel, Timestamp, Uid
from trainingjob_api.vocabulary import Backend, ModelSource, Severity, Stage

__all__ = [
    "EXIT_INVALID",
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
EXIT_INVALID: Final = 2
"""Exit status of a trainer whose spec or data is wrong: no retry helps."""


class ReportError(ValueError):
    """The text is no report of this version."""


class Failure(StatusModel):
    """Why a run failed."""

    reason: ReasonWord = Field(description="PascalCase word, such as TargetColumnMissing.")
    message: Message = Field(description="The field or column, the cause and the way out.")
    exit_code: Annotated[StrictInt, Field(ge=1, le=255)] = Field(
        default=1, description="2: the spec or the data is wrong, no retry helps; 1: the run failed."
    )


class FindingNote(StatusModel):
    """Something that the user should know of the table; ``docs/data.md`` explains each kind."""

    finding: ReasonWord = Field(description="Its kind, such as ConstantColumn.")
    severity: Severity = Field(description="info or warning.")
    column: Annotated[str, StringConstraints(max_length=256)] | None = Field(
        default=None, description="The column that it is about, if it is about one."
    )
    message: Message = Field(description="The cause and what can be done.")


class Digests(StatusModel):
    """Digests that a resume and a reader go by."""

    spec: Annotated[str, StringConstraints(max_length=64)] | None = Field(
        default=None, description="ResolvedRun.search_digest()."
    )
    data: Annotated[str, StringConstraints(max_length=64)] | None = Field(
        default=None, description="SHA-256 of the dataset."
    )
    journal: Annotated[str, StringConstraints(max_length=64)] | None = Field(
        default=None, description="SHA-256 of the journal that a resume may load."
    )


# Lists stop at their first bad item: pydantic makes its list of errors in one call that nothing interrupts.
class Report(StatusModel):
    """One state of a run; a later one has a higher sequence and replaces it."""

    schema_version: Literal[1] = Field(default=REPORT_SCHEMA_VERSION, description="Version of this schema.")
    job_uid: Uid = Field(description="Uid of the TrainingJob.")
    attempt: Annotated[StrictInt, Field(ge=1, le=MAX_ATTEMPT)] = Field(
        default=1, description="Number of the attempt."
    )
    pod_uid: Uid | None = Field(default=None, description="Uid of the trainer's pod; unset in a local run.")
    sequence: Annotated[StrictInt, Field(ge=0, le=1_000_000_000)] = Field(
        default=0, description="Rises with each report of a pod."
    )
    final: StrictBool = Field(default=False, description="Whether the run has ended and the artifacts stand.")
    stage: Stage = Field(default=Stage.STARTING, description="What the run does now.")
    written_at: Timestamp | None = Field(default=None, description="When the report was written.")
    resolved: Resolved | None = Field(default=None, description="The values in force.")
    backend: Backend | None = Field(default=None, description="What evaluates pipelines now.")
    dask_ready: StrictBool | None = Field(
        default=None, description="Whether the Dask cluster answers with a worker."
    )
    model_source: ModelSource | None = Field(default=None, description="Where the model comes from.")
    fallbacks: Annotated[tuple[Fallback, ...], Field(max_length=8, fail_fast=True)] = Field(
        default=(), description="Steps down the ladder, in order."
    )
    progress: Progress | None = Field(default=None, description="How far the search is.")
    best: Best | None = Field(default=None, description="The best pipeline until now.")
    leaderboard: Annotated[tuple[LeaderboardEntry, ...], Field(max_length=100, fail_fast=True)] = Field(
        default=(), description="The best pipelines."
    )
    pareto_front: Annotated[tuple[ParetoPoint, ...], Field(max_length=100, fail_fast=True)] = Field(
        default=(), description="Score against complexity."
    )
    artifacts: Annotated[tuple[Artifact, ...], Field(max_length=32, fail_fast=True)] = Field(
        default=(), description="Files of the run, verified."
    )
    findings: Annotated[tuple[FindingNote, ...], Field(max_length=MAX_FINDINGS, fail_fast=True)] = Field(
        default=(), description="What the user should know about the data, warnings first."
    )
    warnings: Annotated[tuple[Message, ...], Field(max_length=50, fail_fast=True)] = Field(
        default=(), description="What the user should know about the run."
    )
    failure: Failure | None = Field(default=None, description="Why the run failed, if it did.")
    digests: Digests | None = Field(default=None, description="Digests that a resume and a reader go by.")


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
        If the text is too large, is no JSON or does not fit the schema. The message names fields, never
        their values.
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
        raise ReportError(f"the report does not fit its schema: {problems}") from None
