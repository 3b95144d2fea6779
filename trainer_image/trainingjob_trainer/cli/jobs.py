"""From a job to the values in force on this machine."""

from collections.abc import Mapping
from pathlib import Path

from trainingjob_api import ResolvedRun, TrainingJob, resolve

__all__ = ["local_uri", "resolved"]

_FILE = "file://"


def local_uri(place: str) -> str:
    """Return a place for artifacts as a URI; a folder is made absolute, from where the command was given."""
    if "://" not in place:
        return Path(place).absolute().as_uri()
    path = place.removeprefix(_FILE)
    if place.startswith(_FILE) and not path.startswith("/"):
        return Path(path).absolute().as_uri()
    return place


def resolved(job: TrainingJob, environment: Mapping[str, str], *, output: str | None = None) -> ResolvedRun:
    """Return the values in force for a job.

    Parameters
    ----------
    job
        The job.
    environment
        Environment variables.
    output
        Folder or URI in place of ``spec.output.uri``.

    Raises
    ------
    SpecError
        With every problem of spec and environment.
    """
    run = resolve(job, environment)
    uri = local_uri(output or run.output.uri)
    return run.model_copy(update={"output": run.output.model_copy(update={"uri": uri})})
