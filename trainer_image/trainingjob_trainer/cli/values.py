"""The values in force, each with where it comes from, as ``trainingjob validate`` lists them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from trainingjob_api import ResolvedRun, TrainingJob

__all__ = ["Value", "values_in_force"]

_LEFT_TO_TRAINER = {
    "metric": "accuracy, or r2 for regression",
    "nJobs": "cores - 1, at least 1, at most 8",
    "positiveLabel": "1 or True, else the rarer label, if there are two",
}


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


def values_in_force(job: TrainingJob, run: ResolvedRun, *, output_overridden: bool = False) -> list[Value]:
    """Return each value, in the order of the spec.

    Parameters
    ----------
    job
        The job as it was written.
    run
        What is in force for it.
    output_overridden
        Whether the command line says where the output goes.
    """
    spec: dict[str, Any] = job.spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    values = []
    for name, value in _shown(run):
        source = run.sources.get(name) or ("spec" if _holds(spec, name) else "default")
        if name == "output.uri" and output_overridden:
            source = "command line"
        text = _LEFT_TO_TRAINER.get(name, "-") if value is None else _text(value)
        values.append(Value(name, value, text, source))
    return values


def _shown(run: ResolvedRun) -> Iterator[tuple[str, Any]]:
    """Yield the listed values as people write them; unset parts of the validation are left out."""
    for name, value in run.listed().items():
        match name:
            case "dataset.format":
                yield name, value or "auto"
            case "searchSpace":
                yield name, run.search_space.preset or f"a tree from {run.search_space.source}"
            case "acceptance" | "featureTypes":
                yield name, _present(value or {}) or None
            case _ if value is not None or not name.startswith("validation."):
                yield name, value


def _present(data: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in data.items() if value is not None}


def _holds(spec: Mapping[str, Any], path: str) -> bool:
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
            return ", ".join(f"{name}: {_text(one)}" for name, one in value.items())
        case _:
            return str(value)
