"""The report of a trainer, which it writes into a ConfigMap or a file while it runs."""

from typing import Annotated, Literal

from pydantic import Field, StrictBool, StrictInt, ValidationError

from trainingjob_api.status import (
    Artifact,
    Best,
    Fallback,
    LeaderboardEntry,
    ParetoPoint,
    Progress,
    Resolved,
    ShortKey,
)
from trainingjob_api.types import Message, ReasonWord, StatusModel, Timestamp, Uid, characters
from trainingjob_api.vocabulary import Backend, ModelSource, Severity, Stage, shorten

REPORT_SCHEMA_VERSION: Literal[1] = 1
MAX_REPORT_BYTES = 256 * 1024
MAX_FINDINGS = 30
MAX_ATTEMPT = 1_000_000


class ReportError(ValueError):
    """The text is not a report of this version."""


class Failure(StatusModel):
    """Why a run failed: the field or column, the cause and the way out."""

    reason: ReasonWord
    message: Message
    exit_code: Annotated[StrictInt, Field(ge=1, le=255)] = 1
    """2 if the spec or the data is wrong, so that a retry is useless; 1 if the run failed."""


class FindingNote(StatusModel):
    """Information about the table for the user; ``docs/data.md`` explains each kind."""

    finding: ReasonWord
    severity: Severity
    column: Annotated[str, characters(256)] | None = None
    message: Message


class Digests(StatusModel):
    """Digests that identify a search and its data."""

    spec: ShortKey | None = None
    """``ResolvedRun.search_digest()``."""
    data: ShortKey | None = None
    """SHA-256 of the dataset."""
    journal: ShortKey | None = None
    """SHA-256 of the journal that a later attempt may load."""


# fail_fast: pydantic builds its list of errors in one call that cannot be interrupted.
class Report(StatusModel):
    """The state of a run at one time; a report of the pod with a higher sequence number replaces it."""

    schema_version: Literal[1] = REPORT_SCHEMA_VERSION
    job_uid: Uid
    attempt: Annotated[StrictInt, Field(ge=1, le=MAX_ATTEMPT)] = 1
    pod_uid: Uid | None = None
    """Unset in a local run."""
    sequence: Annotated[StrictInt, Field(ge=0, le=1_000_000_000)] = 0
    final: StrictBool = False
    """Whether the run has ended and its artifacts are complete."""
    stage: Stage = Stage.STARTING
    written_at: Timestamp | None = None
    resolved: Resolved | None = None
    backend: Backend | None = None
    """The backend that evaluates pipelines now."""
    dask_ready: StrictBool | None = None
    """Whether the Dask cluster responds and has a worker."""
    model_source: ModelSource | None = None
    fallbacks: Annotated[tuple[Fallback, ...], Field(max_length=8, fail_fast=True)] = ()
    progress: Progress | None = None
    best: Best | None = None
    leaderboard: Annotated[tuple[LeaderboardEntry, ...], Field(max_length=100, fail_fast=True)] = ()
    pareto_front: Annotated[tuple[ParetoPoint, ...], Field(max_length=100, fail_fast=True)] = ()
    artifacts: Annotated[tuple[Artifact, ...], Field(max_length=32, fail_fast=True)] = ()
    findings: Annotated[tuple[FindingNote, ...], Field(max_length=MAX_FINDINGS, fail_fast=True)] = ()
    """Warnings first."""
    warnings: Annotated[tuple[Message, ...], Field(max_length=50, fail_fast=True)] = ()
    failure: Failure | None = None
    digests: Digests | None = None


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
