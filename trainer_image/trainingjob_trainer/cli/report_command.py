"""``trainingjob report``: the report of a finished run, written again."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trainingjob_trainer.cli.command import CommandContext, command

if TYPE_CHECKING:
    from trainingjob_api import LeaderboardEntry

__all__ = ["report"]

_BOARD = "leaderboard.json"
_LATEST = "latest.json"
_SUMMARY = "evaluation_summary.json"
_MAX_BYTES = 64 * 1024 * 1024


@command("trainingjob report runs/breast-cancer-1a2b3c4d", "trainingjob report runs/breast-cancer")
def report(
    context: CommandContext,
    folder: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="Folder of a run, or <output>/<name> for the newest one."),
    ],
) -> dict[str, Any]:
    """Write the report of a finished run again.

    Draws it from the run's JSON files and prints the leaderboard. A report that the manifest lists is never
    overwritten with a different one: the new one is report.redrawn.html then.
    """
    from rich.text import Text

    from trainingjob_trainer.cli.summary import leaderboard_table

    home = _run_folder(folder)
    board = _read(home / _BOARD)
    with _reading(home / _BOARD):
        rows = [_row(entry) for entry in board["entries"]]
    lines = [] if context.as_json or context.quiet else _scores(home)
    page = (context.dependencies.render or _render)(home)
    if not context.as_json:
        console = context.console()
        for line in lines:
            console.print(Text(line), soft_wrap=True)
        if not context.quiet:
            title = f"Leaderboard by {board.get('metric', 'score')}"
            console.print(leaderboard_table(console, rows, title=title))
        console.print(Text(f"Report: {page}"), soft_wrap=True)
    entries = [row.model_dump(mode="json", by_alias=True, exclude_none=True) for row in rows]
    return {"folder": str(home), "report": str(page), "leaderboard": entries}


def _render(home: Path) -> Path:
    from trainingjob_trainer.artifacts.registry import render_from_folder

    return render_from_folder(home)


def _run_folder(folder: Path) -> Path:
    """Return the folder of a finished run: `folder`, or the one that its ``latest.json`` names."""
    from trainingjob_api import Reason
    from trainingjob_trainer.errors import SpecInvalid

    if (folder / _BOARD).is_file():
        return folder
    if (folder / _LATEST).is_file():
        name = _read(folder / _LATEST).get("folder")
        # The pointer names a neighbour; anything else in it is not followed.
        if isinstance(name, str) and Path(name).name == name and (folder.parent / name / _BOARD).is_file():
            return folder.parent / name
    found = f"folder {folder} has no {_BOARD}" if folder.is_dir() else f"folder {folder} does not exist"
    raise SpecInvalid(
        Reason.RUN_FOLDER_NOT_FOUND,
        f"{found}; name the folder of a finished run, such as runs/churn-1a2b3c4d",
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise _invalid(path, "is too large for a file that a run writes")
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise _invalid(path, "cannot be read as JSON") from error
    if not isinstance(data, dict):
        raise _invalid(path, "is not a file that a run writes")
    return data


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Name the file whose content is not what a run writes."""
    try:
        yield
    except (KeyError, TypeError, ValueError) as error:
        raise _invalid(path, "is not a file that a run writes") from error


def _invalid(path: Path, problem: str) -> Exception:
    from trainingjob_api import Reason
    from trainingjob_trainer.errors import SpecInvalid

    return SpecInvalid(Reason.ARTIFACT_INVALID, f"{path} {problem}; run the job again")


def _row(entry: Mapping[str, Any]) -> "LeaderboardEntry":
    from trainingjob_api import LeaderboardEntry, format_score

    return LeaderboardEntry(
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
        similar=entry.get("similar"),
    )


def _scores(home: Path) -> list[str]:
    """Return what the summary says of the scores of the model, if there is one."""
    from trainingjob_api import Best, format_score
    from trainingjob_trainer.cli.summary import measured

    path = home / _SUMMARY
    if not path.is_file():
        return []
    summary = _read(path)
    with _reading(path):
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
        scores = {"cross-validated": best["score"], "on hold-out rows": holdout["score"]}
        listed = ", ".join(f"{name} {_score(value) or '-'}" for name, value in scores.items())
        return [f"{summary.get('metric', 'score')}: {listed}", *measured(known)]


def _score(value: float | None) -> str | None:
    from trainingjob_api import format_score

    return None if value is None else format_score(value)
