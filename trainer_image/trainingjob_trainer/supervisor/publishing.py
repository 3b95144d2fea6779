"""The last step of a run: its artifacts into the output, and what its caller gets."""

import time
from collections.abc import Callable

from trainingjob_api import Artifact, ResolvedRun
from trainingjob_trainer.errors import RunFailed
from trainingjob_trainer.storage import Output
from trainingjob_trainer.supervisor.reporter import Reporter
from trainingjob_trainer.supervisor.result import Interrupted, RunResult, accepted
from trainingjob_trainer.supervisor.workspace import Workspace

__all__ = ["result_of", "upload"]

_PAUSE_SECONDS = 3.0


def upload(
    output: Output,
    workspace: Workspace,
    name: str,
    *,
    patience_seconds: float,
    on_trouble: Callable[[str, str], None],
    interrupted: Callable[[], bool],
) -> tuple[Artifact, ...]:
    """Publish, again and again while the caller is patient: nobody else has what was saved here.

    Parameters
    ----------
    output
        Where to.
    workspace
        Holds the artifacts.
    name
        Of the job.
    patience_seconds
        How long an output that does not take them is tried again.
    on_trouble
        Called with the reason and the message of each failure that is tried again.
    interrupted
        Whether a signal asks to stop.

    Raises
    ------
    RunFailed
        If the output has not taken them in time.
    Interrupted
        If a signal came.
    """
    end = time.monotonic() + patience_seconds
    while True:
        try:
            return tuple(output.publish(workspace.artifacts, name, workspace.uid8))
        except RunFailed as failure:
            if interrupted():
                raise Interrupted("Interrupted", f"a signal ended the upload; {failure.message}") from failure
            if time.monotonic() >= end:
                raise
            on_trouble(failure.reason, failure.message)
            time.sleep(_PAUSE_SECONDS)


def result_of(
    run: ResolvedRun, workspace: Workspace, reporter: Reporter, artifacts: tuple[Artifact, ...]
) -> RunResult:
    """Return what the caller of a published run gets."""
    state = reporter.state_
    best = state["best"]
    met, why = accepted(run.acceptance, best)
    return RunResult(
        location=artifacts[-1].uri.rsplit("/", 1)[0],
        home=workspace.home,
        model_source=state["model_source"],
        best=best,
        metric=state["resolved"].metric or "",
        leaderboard=tuple(state.get("leaderboard") or ()),
        pareto_front=tuple(state.get("pareto_front") or ()),
        artifacts=artifacts,
        fallbacks=tuple(state["fallbacks"]),
        findings=tuple(state["findings"]),
        warnings=tuple(state["warnings"]),
        progress=state.get("progress"),
        stopped_by=reporter.stopped_by_,
        elapsed_seconds=workspace.used_seconds(),
        resumed=workspace.resumed,
        accepted=met,
        acceptance_message=why,
        resolved=state["resolved"],
    )
