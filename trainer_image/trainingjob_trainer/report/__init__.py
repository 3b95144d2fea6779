"""What people and programs read of a run: leaderboard, front, summary, code and the HTML report."""

from trainingjob_trainer.report.artifacts import render_from_folder, write_artifacts
from trainingjob_trainer.report.board import front_of, leaderboard, pareto_front, ranked
from trainingjob_trainer.report.html import render_html
from trainingjob_trainer.report.jsonfile import plain, read_json, write_json

__all__ = [
    "front_of",
    "leaderboard",
    "pareto_front",
    "plain",
    "ranked",
    "read_json",
    "render_from_folder",
    "render_html",
    "write_artifacts",
    "write_json",
]
