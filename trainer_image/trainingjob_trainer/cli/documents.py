"""The one JSON document that a command prints with ``--json``; docs/cli.md describes it."""

import json
from typing import Any

from pydantic import BaseModel

from trainingjob_trainer.cli.trouble import Trouble
from trainingjob_trainer.run.result import RunResult

__all__ = ["SCHEMA_VERSION", "dump", "failure_document", "run_document", "success"]

SCHEMA_VERSION = 1


def success(command: str, **fields: Any) -> dict[str, Any]:
    """Return the document of a command that did what it should."""
    return {"schemaVersion": SCHEMA_VERSION, "command": command, "ok": True, "exitCode": 0, **fields}


def failure_document(command: str, trouble: Trouble) -> dict[str, Any]:
    """Return the document of a command that failed."""
    return {
        "schemaVersion": SCHEMA_VERSION,
        "command": command,
        "ok": False,
        "exitCode": trouble.exit_code,
        "error": {
            "reason": trouble.reason,
            "message": trouble.message,
            "problems": [
                {"field": one.field, "message": one.message, "hint": one.hint} for one in trouble.problems
            ],
            "hint": trouble.hint,
            "log": trouble.log,
        },
    }


def run_document(name: str, result: RunResult) -> dict[str, Any]:
    """Return the document of a run that saved a model."""
    return success(
        "run",
        name=name,
        location=result.location,
        home=str(result.home),
        modelSource=result.model_source,
        metric=result.metric,
        best=_plain(result.best),
        leaderboard=[_plain(one) for one in result.leaderboard],
        paretoFront=[_plain(one) for one in result.pareto_front],
        artifacts=[_plain(one) for one in result.artifacts],
        fallbacks=[_plain(one) for one in result.fallbacks],
        findings=[_plain(one) for one in result.findings],
        warnings=list(result.warnings),
        progress=_plain(result.progress),
        stoppedBy=result.stopped_by,
        elapsedSeconds=round(result.elapsed_seconds, 3),
        resumed=result.resumed,
        accepted=result.accepted,
        acceptanceMessage=result.acceptance_message,
        resolved=_plain(result.resolved),
    )


def dump(document: dict[str, Any]) -> str:
    """Return a document as text; a number that JSON does not know is an error here, not at the reader's."""
    return json.dumps(document, indent=2, allow_nan=False, ensure_ascii=False)


def _plain(model: BaseModel | None) -> Any:
    return None if model is None else model.model_dump(mode="json", by_alias=True, exclude_none=True)
