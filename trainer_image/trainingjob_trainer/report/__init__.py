"""What people and programs read of a run: leaderboard, front, summary, code and the HTML report."""

from trainingjob_trainer.report.board import front_of, leaderboard, pareto_front, ranked

__all__ = ["front_of", "leaderboard", "pareto_front", "ranked"]
