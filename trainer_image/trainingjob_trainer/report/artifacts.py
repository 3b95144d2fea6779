"""Writing everything that a run leaves behind beside the model."""

import time
from pathlib import Path
from typing import Any

from trainingjob_api import Reason
from trainingjob_trainer.errors import RunFailed
from trainingjob_trainer.outcome import RunOutcome
from trainingjob_trainer.report.board import Summarize, one_line
from trainingjob_trainer.report.details import report_data
from trainingjob_trainer.report.documents import evaluation_summary, front_document, leaderboard_document
from trainingjob_trainer.report.html import render_html
from trainingjob_trainer.report.jsonfile import SCHEMA_VERSION, plain, read_json, write_json, write_text
from trainingjob_trainer.serialization import program_of, requirements_for, requirements_text, save_model
from trainingjob_trainer.storage.names import MANIFEST

__all__ = ["render_from_folder", "write_artifacts"]

LEADERBOARD = "leaderboard.json"
FRONT = "tp_pareto_front.json"
SUMMARY = "evaluation_summary.json"
DATA = "report_data.json"
SCHEMA = "input_schema.json"
PAGE = "report.html"
REDRAWN = "report.redrawn.html"
MODEL = "model.joblib"
PROGRAM = "pipeline.py"
REQUIREMENTS = "requirements.txt"

_PAGE_SECONDS = 4.0


def write_artifacts(
    outcome: RunOutcome, folder: Path, *, seconds_limit: float, summarize: Summarize = one_line
) -> list[Path]:
    """Write model, documents, program and report into a folder.

    Parameters
    ----------
    outcome
        The finished run.
    folder
        An existing folder; what is there under the same names is replaced.
    seconds_limit
        For the measurements of the report, which are cut short when it is over.
    summarize
        Makes one line of a pipeline.

    Returns
    -------
    list of Path
        The files, in the order of writing.

    Raises
    ------
    RunFailed
        With reason ``ModelNotSaved``, ``ModelNotPortable`` or ``ArtifactsNotWritten``.
    """
    end = time.monotonic() + seconds_limit
    try:
        save_model(outcome.model, folder / MODEL)
        pins = requirements_for(folder / MODEL)
        documents = {
            LEADERBOARD: leaderboard_document(outcome, summarize),
            FRONT: front_document(outcome, summarize),
            SUMMARY: evaluation_summary(outcome, summarize),
            SCHEMA: _input_schema(outcome),
        }
        documents = {name: plain(document) for name, document in documents.items()}
        files = [folder / MODEL]
        files += [write_json(folder / name, document) for name, document in documents.items()]
        files.append(write_text(folder / REQUIREMENTS, requirements_text(pins)))
        files.append(write_text(folder / PROGRAM, program_of(outcome)))
        left = max(0.0, end - time.monotonic() - _PAGE_SECONDS)
        data = plain(report_data(outcome, seconds_limit=left, summarize=summarize))
        files.append(write_json(folder / DATA, data))
        files.append(_write_page(folder, documents, data))
    except OSError as error:
        raise RunFailed(
            Reason.ARTIFACTS_NOT_WRITTEN, f"{error.filename or folder} cannot be written: {error.strerror}"
        ) from error
    return files


def _write_page(folder: Path, documents: dict[str, dict[str, Any]], data: dict[str, Any]) -> Path:
    try:
        page = render_html(
            leaderboard=documents[LEADERBOARD], front=documents[FRONT], summary=documents[SUMMARY], data=data
        )
    except Exception as error:  # noqa: BLE001 - a poor report is better than a run without a model
        page = _poor_page(f"{type(error).__name__}: {error}")
    return write_text(folder / PAGE, page)


def _poor_page(cause: str) -> str:
    from markupsafe import escape  # noqa: PLC0415 - seldom needed

    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Training report</title>'
        f"<p>The report could not be drawn: {escape(cause[:300])}</p>"
        "<p>The model is complete; its numbers are in the JSON files beside this page.</p></html>\n"
    )


def _input_schema(outcome: RunOutcome) -> dict[str, Any]:
    content = outcome.prepared.schema.to_dict()
    content["positiveLabel"] = content.pop("positive_label")
    return {"schemaVersion": SCHEMA_VERSION, "kind": "InputSchema", **content}


def _page_path(folder: Path, page: str) -> Path:
    """Return where a redrawn page goes; a file that a manifest lists is never changed."""
    original = folder / PAGE
    listed = (folder / MANIFEST).is_file()
    same = original.is_file() and original.read_text(encoding="utf-8") == page
    return folder / REDRAWN if listed and not same else original


def render_from_folder(folder: Path) -> Path:
    """Draw ``report.html`` again from the JSON files of a run's folder; the model is not touched.

    Parameters
    ----------
    folder
        A run's folder.

    Returns
    -------
    Path
        The page: ``report.html``, or ``report.redrawn.html`` where a manifest vouches for another one.

    Raises
    ------
    RunFailed
        With reason ``ReportNotPossible`` if a file is missing, is of another version or cannot be read.
    """
    documents: dict[str, dict[str, Any]] = {}
    for name in (LEADERBOARD, FRONT, SUMMARY, DATA):
        try:
            documents[name] = read_json(folder / name)
        except (OSError, ValueError) as error:
            raise RunFailed(
                Reason.REPORT_NOT_POSSIBLE,
                f"{folder / name} cannot be read ({error}); name the folder of a finished run",
            ) from error
        version = str(documents[name].get("schemaVersion"))
        if version.split(".", maxsplit=1)[0] != SCHEMA_VERSION.split(".")[0]:
            raise RunFailed(
                Reason.REPORT_NOT_POSSIBLE,
                f"{folder / name} is of schema version {version}, not {SCHEMA_VERSION}",
            )
    try:
        page = render_html(
            leaderboard=documents[LEADERBOARD],
            front=documents[FRONT],
            summary=documents[SUMMARY],
            data=documents[DATA],
        )
        return write_text(_page_path(folder, page), page)
    except (OSError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise RunFailed(Reason.REPORT_NOT_POSSIBLE, f"{folder} holds no complete report: {error}") from error
