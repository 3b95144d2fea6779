"""What a caller asks of a run and gets back from it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from trainingjob_api import Best, ModelSource
from trainingjob_certificates.signatures import ReportKey
from trainingjob_trainer.errors import RunFailed
from trainingjob_trainer.run.state import RunState

__all__ = ["Interrupted", "RunOptions", "RunResult"]


class Interrupted(RunFailed):
    """A signal ended the run before there was a model; an unfinished run can be continued."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How a run is made, as opposed to what it makes.

    Parameters
    ----------
    work_dir
        Where run folders are when the output is no folder on this machine.
    fresh
        Whether to leave an unfinished run of the same job alone.
    environment
        Environment of the child.
    attempt
        Number of the attempt, from 1.
    pod_uid
        Uid of the trainer's pod; None outside a cluster.
    save_on_signal
        Whether the first signal saves the best model so far. False: it ends the run at once, and what has
        been evaluated is kept for the next attempt.
    report_seconds
        Between two reports that differ only in progress.
    upload_patience_seconds
        How long publishing is begun again where the output does not take the artifacts.
    report_key
        What the run signs its published result with; None outside a cluster.
    refusal_patience_seconds
        How long an attempt that is not the first waits for an output that it cannot use.
    """

    work_dir: Path = Path(".trainingjob")
    fresh: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    attempt: int = 1
    pod_uid: str | None = None
    save_on_signal: bool = True
    report_seconds: float = 2.0
    upload_patience_seconds: float = 0.0
    refusal_patience_seconds: float = 0.0
    report_key: ReportKey | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult(RunState):
    """The last state of a run that ended in a published model, and where that is.

    Parameters
    ----------
    location
        URI of the folder with the artifacts.
    home
        The run's folder on this machine, with its log and journal.
    elapsed_seconds
        The run's clock.
    resumed
        Whether an earlier attempt was continued.
    accepted, acceptance_message
        Whether the model meets ``spec.acceptance``, and why; None and empty if nothing was asked.
    """

    best: Best
    model_source: ModelSource
    location: str
    home: Path
    elapsed_seconds: float
    resumed: bool
    accepted: bool | None
    acceptance_message: str
