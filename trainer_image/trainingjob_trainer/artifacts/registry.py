"""The artifacts of a run: each file with the function that makes its content, in the order of writing.

``requirements.txt`` is made here, from the globals of the model's pickle, which is not executed.
"""

import gzip
import pickletools
import platform
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from markupsafe import escape

from trainingjob_api import Reason
from trainingjob_trainer.artifacts.documents import (
    SCHEMA_VERSION,
    Document,
    evaluation_summary,
    front_document,
    input_schema,
    leaderboard_document,
    plain,
    read_json,
    report_data,
    write_json,
)
from trainingjob_trainer.artifacts.page import render_html
from trainingjob_trainer.artifacts.program import program_of
from trainingjob_trainer.errors import RunFailed
from trainingjob_trainer.finished_run import FinishedRun
from trainingjob_trainer.storage import MANIFEST, write_text

MODEL = "model.joblib"
LEADERBOARD = "leaderboard.json"
FRONT = "tp_pareto_front.json"
SUMMARY = "evaluation_summary.json"
DATA = "report_data.json"
PAGE = "report.html"
REDRAWN = "report.redrawn.html"

_PAGE_SECONDS = 4.0

# What every model needs: the loader, the table it takes and the library that its steps come from.
_ALWAYS = ("joblib", "numpy", "pandas", "scikit-learn", "scipy")
# A shipped model must load without these.
_FORBIDDEN = ("__main__", "__mp_main__", "tpot", "cloudpickle")
_GZIP = b"\x1f\x8b"
_STRING_OPS = ("STRING", "UNICODE", "UNICODE8")


def modules_of(path: Path) -> frozenset[str]:
    """Return the modules that a plain pickle, gzipped or not, refers to; nothing is executed or imported.

    A file that is no plain pickle is rejected as ``ModelUnreadable``.
    """
    try:
        with path.open("rb") as stream:
            packed = stream.read(len(_GZIP)) == _GZIP
            stream.seek(0)
            return frozenset(_modules(gzip.GzipFile(fileobj=stream) if packed else stream))
    except (OSError, EOFError, ValueError, KeyError, IndexError, zlib.error) as error:
        message = f"{path.name} is not a pickle that can be examined: {error}"
        raise RunFailed(Reason.MODEL_UNREADABLE, message) from error


def _modules(stream: Any) -> Iterator[str]:
    """Yield the module of every global of a pickle stream, following memo entries."""
    memo: dict[Any, str | None] = {}
    recent: list[str | None] = [None, None]
    for opcode, argument, _ in pickletools.genops(stream):
        name = opcode.name
        if name in {"GLOBAL", "INST"}:
            yield str(argument).split(" ", 1)[0]
        elif name == "STACK_GLOBAL":
            module = recent[-2]
            if module is None:
                raise ValueError("a global's module is not a plain string")
            yield module
        match name:
            case "FRAME" | "PROTO":  # leave the top of the stack as it is
                pass
            case "MEMOIZE":
                memo[len(memo)] = recent[-1]
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                memo[argument] = recent[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                recent = [recent[-1], memo.get(argument)]
            case _:
                recent = [recent[-1], str(argument) if name.endswith(_STRING_OPS) else None]


_distributions = cache(metadata.packages_distributions)


def requirements_for(path: Path) -> list[str]:
    """Return the pinned requirements of a saved model, sorted, such as ``scikit-learn==1.9.1``.

    They are the packages that the pickle's globals come from, in the installed versions; joblib, numpy,
    pandas, scikit-learn and scipy are always among them. A model that refers to TPOT, to this project or to a
    module of no installed package is rejected as ``ModelNotPortable``.
    """
    tops = {module.split(".", 1)[0] for module in modules_of(path)}
    tops -= set(sys.stdlib_module_names) | {"builtins", "copy_reg", "__builtin__"}
    banned = sorted(t for t in tops if t in _FORBIDDEN or t.startswith("trainingjob_"))
    if banned:
        raise RunFailed(
            Reason.MODEL_NOT_PORTABLE,
            f"the model refers to {', '.join(banned)}, which its users do not have; "
            "every step must come from a published package",
        )
    names = set(_ALWAYS)
    for top in sorted(tops):
        found = _distributions().get(top)
        if not found:
            message = f"the model refers to the module {top!r}, which belongs to no installed package"
            raise RunFailed(Reason.MODEL_NOT_PORTABLE, message)
        names.update(found)
    return [f"{name}=={metadata.version(name)}" for name in sorted(names, key=str.lower)]


def requirements_text(pins: Sequence[str]) -> str:
    """Return the content of ``requirements.txt``."""
    version = ".".join(platform.python_version_tuple()[:2])
    head = f"# Packages that model.joblib and pipeline.py need; written with Python {version}.\n"
    return head + "".join(f"{pin}\n" for pin in pins)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Materials:
    """The material of artifacts; measurements for the report end at the monotonic time *end*."""

    outcome: FinishedRun
    folder: Path
    end: float
    documents: dict[str, Document] = field(default_factory=dict)
    """Those that have been written so far, by file name."""


def _report_data(materials: _Materials) -> Document:
    seconds = max(0.0, materials.end - time.monotonic() - _PAGE_SECONDS)
    return report_data(materials.outcome, seconds_limit=seconds)


def _page(materials: _Materials) -> str:
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


ARTIFACTS: Mapping[str, Callable[[_Materials], str | Document] | None] = {
    MODEL: None,  # the run has written it before
    "requirements.txt": lambda m: requirements_text(requirements_for(m.folder / MODEL)),
    LEADERBOARD: lambda m: leaderboard_document(m.outcome),
    FRONT: lambda m: front_document(m.outcome),
    SUMMARY: lambda m: evaluation_summary(m.outcome),
    "input_schema.json": lambda m: input_schema(m.outcome),
    "pipeline.py": lambda m: program_of(m.outcome),
    DATA: _report_data,
    PAGE: _page,
}
"""All files that a run leaves, with what makes their text or document; ``docs/schemas`` has the schemas.

Publishing adds the report, its signature and the manifest.
"""


def write_artifacts(outcome: FinishedRun, folder: Path, *, seconds_limit: float) -> list[Path]:
    """Write all artifacts beside the model in *folder* and return the files, the model among them.

    Parameters
    ----------
    seconds_limit
        For the measurements of the report, which are cut short when it is over.

    Raises
    ------
    RunFailed
        ``ModelUnreadable``, ``ModelNotPortable`` or ``ArtifactsNotWritten``.
    """
    materials = _Materials(outcome=outcome, folder=folder, end=time.monotonic() + seconds_limit)
    try:
        for name, make in ARTIFACTS.items():
            content = None if make is None else make(materials)
            if isinstance(content, str):
                write_text(folder / name, content)
            elif content is not None:
                materials.documents[name] = plain(content)
                write_json(folder / name, materials.documents[name])
    except OSError as error:
        message = f"{error.filename or folder} cannot be written: {error.strerror}"
        raise RunFailed(Reason.ARTIFACTS_NOT_WRITTEN, message) from error
    return [folder / name for name in ARTIFACTS]


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
        original = folder / PAGE
        # A file that a manifest lists is never changed.
        listed = (folder / MANIFEST).is_file()
        same = original.is_file() and original.read_text(encoding="utf-8") == page
        return write_text(folder / REDRAWN if listed and not same else original, page)
    except (OSError, LookupError, TypeError, ValueError, AttributeError) as error:
        message = f"the documents in {folder} do not make a complete report: {error}"
        raise RunFailed(Reason.REPORT_NOT_POSSIBLE, message) from error
