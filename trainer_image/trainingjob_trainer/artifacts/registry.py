"""The artifacts of a run: each file with the function that makes its content, in the order of writing."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from markupsafe import escape

from trainingjob_api import Reason
from trainingjob_trainer.artifacts.board import Summarize
from trainingjob_trainer.artifacts.documents import (
    evaluation_summary,
    front_document,
    input_schema,
    leaderboard_document,
    report_data,
)
from trainingjob_trainer.artifacts.files import SCHEMA_VERSION, plain, read_json, write_json, write_text
from trainingjob_trainer.artifacts.page import render_html
from trainingjob_trainer.artifacts.program import program_of
from trainingjob_trainer.artifacts.requirements import requirements_for, requirements_text
from trainingjob_trainer.errors import RunFailed
from trainingjob_trainer.finished_run import FinishedRun
from trainingjob_trainer.search_space.pipeline import summarize
from trainingjob_trainer.storage import MANIFEST

__all__ = ["ARTIFACTS", "MODEL", "Artifact", "Materials", "render_from_folder", "write_artifacts"]

MODEL = "model.joblib"
LEADERBOARD = "leaderboard.json"
FRONT = "tp_pareto_front.json"
SUMMARY = "evaluation_summary.json"
DATA = "report_data.json"
PAGE = "report.html"
REDRAWN = "report.redrawn.html"

_PAGE_SECONDS = 4.0

Document = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Materials:
    """The material of artifacts.

    Parameters
    ----------
    folder
        Where they are written; it already holds the model.
    end
        Monotonic time at which the measurements for the report end.
    documents
        The JSON documents that have been written so far, by file name.
    """

    outcome: FinishedRun
    folder: Path
    end: float
    summarize: Summarize
    documents: dict[str, Document] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file of a run's folder. A JSON document has a schema in ``docs/schemas``.

    Parameters
    ----------
    content
        Makes the text, or the document; None for the model, which the run has written before.
    """

    name: str
    content: Callable[[Materials], str | Document] | None


def _report_data(materials: Materials) -> Document:
    seconds = max(0.0, materials.end - time.monotonic() - _PAGE_SECONDS)
    return report_data(materials.outcome, seconds_limit=seconds, summarize=materials.summarize)


def _page(materials: Materials) -> str:
    try:
        return _render(materials.documents)
    except Exception as error:  # noqa: BLE001 - a poor report is better than a run without a model
        cause = escape(f"{type(error).__name__}: {error}"[:300])
        return (
            '<!doctype html><html lang="en"><meta charset="utf-8"><title>Training report</title>'
            f"<p>The report could not be drawn: {cause}</p>"
            "<p>The model is complete; its numbers are in the JSON files beside this page.</p></html>\n"
        )


def _render(documents: Mapping[str, Document]) -> str:
    return render_html(
        leaderboard=documents[LEADERBOARD],
        front=documents[FRONT],
        summary=documents[SUMMARY],
        data=documents[DATA],
    )


ARTIFACTS = (
    Artifact(MODEL, None),
    Artifact("requirements.txt", lambda m: requirements_text(requirements_for(m.folder / MODEL))),
    Artifact(LEADERBOARD, lambda m: leaderboard_document(m.outcome, m.summarize)),
    Artifact(FRONT, lambda m: front_document(m.outcome, m.summarize)),
    Artifact(SUMMARY, lambda m: evaluation_summary(m.outcome, m.summarize)),
    Artifact("input_schema.json", lambda m: input_schema(m.outcome)),
    Artifact("pipeline.py", lambda m: program_of(m.outcome)),
    Artifact(DATA, _report_data),
    Artifact(PAGE, _page),
)
"""All files that a run leaves, beside what publishing adds: report, signature and manifest."""


def write_artifacts(
    outcome: FinishedRun, folder: Path, *, seconds_limit: float, summarize: Summarize = summarize
) -> list[Path]:
    """Write all artifacts beside the model and return the files, the model among them.

    Parameters
    ----------
    folder
        Holds ``model.joblib``; other files of the same names are replaced.
    seconds_limit
        For the measurements of the report, which are cut short when it is over.

    Raises
    ------
    RunFailed
        ``ModelUnreadable``, ``ModelNotPortable`` or ``ArtifactsNotWritten``.
    """
    end = time.monotonic() + seconds_limit
    materials = Materials(outcome=outcome, folder=folder, end=end, summarize=summarize)
    try:
        for artifact in ARTIFACTS:
            if artifact.content is None:
                continue
            content = artifact.content(materials)
            if isinstance(content, str):
                write_text(folder / artifact.name, content)
            else:
                materials.documents[artifact.name] = plain(content)
                write_json(folder / artifact.name, materials.documents[artifact.name])
    except OSError as error:
        message = f"{error.filename or folder} cannot be written: {error.strerror}"
        raise RunFailed(Reason.ARTIFACTS_NOT_WRITTEN, message) from error
    return [folder / artifact.name for artifact in ARTIFACTS]


def render_from_folder(folder: Path) -> Path:
    """Draw the report of a run's folder again from its JSON documents and return the page.

    The page is ``report.html``, or ``report.redrawn.html`` where a manifest lists a different one.

    Raises
    ------
    RunFailed
        ``ReportNotPossible``: a file is missing, has another schema version or cannot be read.
    """
    documents: dict[str, Document] = {}
    for name in (LEADERBOARD, FRONT, SUMMARY, DATA):
        try:
            documents[name] = read_json(folder / name)
        except (OSError, ValueError) as error:
            message = f"{folder / name} cannot be read ({error}); name the folder of a finished run"
            raise RunFailed(Reason.REPORT_NOT_POSSIBLE, message) from error
        version = str(documents[name].get("schemaVersion"))
        if version.split(".", maxsplit=1)[0] != SCHEMA_VERSION.split(".")[0]:
            message = f"{folder / name} has schema version {version}, not {SCHEMA_VERSION}"
            raise RunFailed(Reason.REPORT_NOT_POSSIBLE, message)
    try:
        page = _render(documents)
        return write_text(_page_path(folder, page), page)
    except (OSError, LookupError, TypeError, ValueError, AttributeError) as error:
        message = f"the documents in {folder} do not make a complete report: {error}"
        raise RunFailed(Reason.REPORT_NOT_POSSIBLE, message) from error


def _page_path(folder: Path, page: str) -> Path:
    """Return where a redrawn page goes; a file that a manifest lists is never changed."""
    original = folder / PAGE
    listed = (folder / MANIFEST).is_file()
    same = original.is_file() and original.read_text(encoding="utf-8") == page
    return folder / REDRAWN if listed and not same else original
