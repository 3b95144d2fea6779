"""From a job to the values in force on this machine, each with where it comes from."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainingjob_api import ResolvedRun, TrainingJob, resolve

__all__ = ["Value", "local_uri", "resolved", "search_space_text", "values_in_force"]

_FILE = "file://"
_LEFT_TO_TRAINER = {
    "metric": "accuracy, or r2 for regression",
    "nJobs": "cores - 1, at least 1, at most 8",
    "positiveLabel": "1 or True, else the rarer label, if there are two",
}


def local_uri(place: str) -> str:
    """Return a place for artifacts as a URI; a relative folder is taken from the working directory."""
    if "://" not in place:
        return Path(place).absolute().as_uri()
    path = place.removeprefix(_FILE)
    if place.startswith(_FILE) and not path.startswith("/"):
        return Path(path).absolute().as_uri()
    return place


def resolved(job: TrainingJob, environment: Mapping[str, str], *, output: str | None = None) -> ResolvedRun:
    """Return the values in force for a job; `output` takes the place of ``spec.output.uri``.

    Raises
    ------
    SpecError
        With every problem of spec and environment.
    """
    run = resolve(job, environment)
    uri = local_uri(output or run.output.uri)
    return run.model_copy(update={"output": run.output.model_copy(update={"uri": uri})})


@dataclass(frozen=True, slots=True)
class Value:
    """One value in force.

    Parameters
    ----------
    field
        Path below ``spec``.
    value
        Plain JSON value; None if it is not set.
    text
        The same for people.
    source
        ``spec``, ``environment``, ``rollout`` or ``default``.
    """

    field: str
    value: Any
    text: str
    source: str


def values_in_force(job: TrainingJob, run: ResolvedRun) -> list[Value]:
    """Return each value of `run`, which `job` was resolved to, in the order of the spec."""
    spec: dict[str, Any] = job.spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    return [
        Value(
            name,
            value,
            text=_LEFT_TO_TRAINER.get(name, "-") if value is None else _text(value),
            source=run.sources.get(name) or ("spec" if _is_set(spec, name) else "default"),
        )
        for name, value in _listed(run)
    ]


def search_space_text(run: ResolvedRun) -> str:
    """Return the name of a preset, or where the tree is from."""
    space = run.search_space
    return space.preset or f"a tree from {space.source}"


def _listed(run: ResolvedRun) -> Iterator[tuple[str, Any]]:
    """Yield the listed values as people write them; unset parts of the validation are left out."""
    for name, value in run.listed().items():
        match name:
            case "dataset.format":
                yield name, value or "auto"
            case "searchSpace":
                yield name, search_space_text(run)
            case "acceptance" | "featureTypes":
                yield name, _present(value or {}) or None
            case _ if value is not None or not name.startswith("validation."):
                yield name, value


def _present(data: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in data.items() if value is not None}


def _is_set(spec: Mapping[str, Any], path: str) -> bool:
    here: Any = spec
    for part in path.split("."):
        if not isinstance(here, Mapping) or part not in here:
            return False
        here = here[part]
    return True


def _text(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case dict():
            return ", ".join(f"{name}: {_text(item)}" for name, item in value.items())
        case _:
            return str(value)
