"""``trainingjob report``: the report of a finished run, written anew."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from trainingjob_api import Best, LeaderboardEntry, Reason, format_score
from trainingjob_trainer.cli.documents import success
from trainingjob_trainer.cli.summary import leaderboard_table, measured
from trainingjob_trainer.errors import SpecInvalid

if TYPE_CHECKING:
    from trainingjob_trainer.cli.desk import Desk

__all__ = ["report_run", "run_folder"]

_BOARD = "leaderboard.json"
_LATEST = "latest.json"
_SUMMARY = "evaluation_summary.json"
_MAX_BYTES = 64 * 1024 * 1024


def report_run(desk: Desk, folder: Path) -> dict[str, Any]:
    """Write a run's ``report.html`` anew and print its leaderboard.

    Returns
    -------
    dict
        The document for ``--json``.

    Raises
    ------
    TrainingError
        If the folder holds no finished run.
    """
    home = run_folder(folder)
    board = _read(home / _BOARD)
    rows = _rows(home / _BOARD, board)
    report = desk.services.render(home)
    if not desk.as_json:
        console = desk.console()
        if not desk.quiet:
            for line in _scores(home):
                console.print(Text(line), soft_wrap=True)
            console.print(
                leaderboard_table(console, rows, title=f"Leaderboard by {board.get('metric', 'score')}")
            )
        console.print(Text(f"Report: {report}"), soft_wrap=True)
    entries = [row.model_dump(mode="json", by_alias=True, exclude_none=True) for row in rows]
    return success("report", folder=str(home), report=str(report), leaderboard=entries)


def run_folder(folder: Path) -> Path:
    """Return the folder of a finished run: the one that was named, or the one its ``latest.json`` points to.

    Raises
    ------
    SpecInvalid
        With reason ``RunFolderNotFound`` if there is none.
    """
    if not folder.is_dir():
        raise SpecInvalid(
            Reason.RUN_FOLDER_NOT_FOUND, f"there is no folder {folder}; name the folder of a finished run"
        )
    if (folder / _BOARD).is_file():
        return folder
    if (folder / _LATEST).is_file():
        name = _read(folder / _LATEST).get("folder")
        # The pointer names a neighbour; anything else in it is not followed.
        if isinstance(name, str) and Path(name).name == name and (folder.parent / name / _BOARD).is_file():
            return folder.parent / name
    raise SpecInvalid(
        Reason.RUN_FOLDER_NOT_FOUND,
        f"{folder} holds no {_BOARD}; name the folder of a finished run, such as runs/churn-1a2b3c4d",
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise SpecInvalid(Reason.ARTIFACT_INVALID, f"{path} is too large to be what a run writes")
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise SpecInvalid(
            Reason.ARTIFACT_INVALID, f"{path} cannot be read as JSON; run the job again"
        ) from error
    if not isinstance(data, dict):
        raise SpecInvalid(Reason.ARTIFACT_INVALID, f"{path} is not what a run writes; run the job again")
    return data


def _rows(path: Path, board: dict[str, Any]) -> list[LeaderboardEntry]:
    try:
        return [
            LeaderboardEntry(
                rank=entry["rank"],
                pipeline=str(entry["pipeline"])[:300],
                score=format_score(entry["score"]),
                score_std=_score(entry.get("scoreStd")),
                train_rows=entry.get("trainRows"),
                test_rows=entry.get("testRows"),
                complexity=_score(entry.get("complexityKiB")),
                fit_seconds=_score(entry.get("fitSeconds")),
                origin=str(entry.get("origin", ""))[:64],
                key=str(entry.get("key", ""))[:64],
            )
            for entry in board["entries"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise SpecInvalid(
            Reason.ARTIFACT_INVALID, f"{path} is not what a run writes; run the job again"
        ) from error


def _scores(home: Path) -> list[str]:
    """Return what the summary says of the scores of the model, as far as it does."""
    if not (home / _SUMMARY).is_file():
        return []
    summary = _read(home / _SUMMARY)
    try:
        best, holdout = summary["best"], summary["holdout"]
        interval = holdout.get("interval")
        known = Best(
            pipeline=str(best["pipeline"])[:300],
            train_rows=best.get("trainRows"),
            test_rows=best.get("testRows"),
            holdout_rows=holdout["rows"],
            holdout_interval=None
            if interval is None
            else (format_score(interval["low"]), format_score(interval["high"])),
        )
        scores = [("cross-validated", best["score"]), ("on hold-out rows", holdout["score"])]
    except (KeyError, TypeError, ValueError) as error:
        raise SpecInvalid(
            Reason.ARTIFACT_INVALID, f"{home / _SUMMARY} is not what a run writes; run the job again"
        ) from error
    told = ", ".join(f"{name} {_score(value) or '-'}" for name, value in scores)
    return [f"{summary.get('metric', 'score')}: {told}", *measured(known)]


def _score(value: float | None) -> str | None:
    return None if value is None else format_score(value)
