"""Checks across fields, on the spec alone and on the values in force."""

from trainingjob_api.errors import Problem
from trainingjob_api.spec import Output, SearchSpace, TrainingJobSpec, Validation
from trainingjob_api.uris import parse_uri
from trainingjob_api.vocabulary import Task, ValidationStrategy

__all__ = ["check_deadline", "check_spec"]


def check_spec(spec: TrainingJobSpec) -> list[Problem]:
    """Return what contradicts itself in *spec*, whatever the environment says."""
    problems = _check_columns(spec)
    problems += _check_paths(spec)
    if spec.validation is not None:
        problems += _check_validation(spec.validation)
    if spec.search_space is not None:
        problems += _check_search_space(spec.search_space)
    if spec.budget is not None and spec.budget.time_left_seconds is not None:
        problems += check_deadline(spec.active_deadline_seconds, spec.budget.time_left_seconds)
    return problems


def check_deadline(deadline: int | None, time_left: int) -> list[Problem]:
    """Return the problem of a deadline (seconds) that is shorter than the budget (seconds)."""
    if deadline is None or deadline >= time_left:
        return []
    return [
        Problem(
            "spec.activeDeadlineSeconds",
            f"{deadline} s is less than the budget of {time_left} s (budget.timeLeftSeconds)",
            "raise the deadline, lower the budget, or leave the deadline out",
        )
    ]


def _check_columns(spec: TrainingJobSpec) -> list[Problem]:
    problems = []
    target = spec.target_column
    if target in (spec.feature_types or {}):
        problems.append(
            Problem(
                f"spec.featureTypes.{target}", "is the target column", "leave it out; set task if need be"
            )
        )
    if spec.validation is not None:
        for name, column in (
            ("groupColumn", spec.validation.group_column),
            ("timeColumn", spec.validation.time_column),
        ):
            if column == target:
                problems.append(
                    Problem(f"spec.validation.{name}", "is the target column", "name another column")
                )
    if spec.task is Task.REGRESSION and spec.positive_label is not None:
        problems.append(
            Problem(
                "spec.positiveLabel",
                "has no meaning for task: regression",
                "leave it out, or change the task",
            )
        )
    return problems


def _check_paths(spec: TrainingJobSpec) -> list[Problem]:
    output = spec.output or Output()
    problems = []
    for field, uri in (("spec.dataset.uri", spec.dataset.uri), ("spec.output.uri", output.uri)):
        try:
            if uri is not None:
                parse_uri(uri)
        except ValueError as error:
            message, _, hint = str(error).partition("; ")
            problems.append(Problem(field, message, hint or None))
    return problems


def _check_validation(validation: Validation) -> list[Problem]:
    columns = {"groupColumn": validation.group_column, "timeColumn": validation.time_column}
    if all(columns.values()):
        return [
            Problem("spec.validation", "groupColumn and timeColumn exclude each other", "keep one of them")
        ]
    strategy = validation.strategy or ValidationStrategy.AUTO
    wanted = {ValidationStrategy.GROUP: "groupColumn", ValidationStrategy.TIME: "timeColumn"}.get(strategy)
    problems = []
    if wanted is not None and columns[wanted] is None:
        problems.append(
            Problem(f"spec.validation.{wanted}", f"is missing for strategy: {strategy}", "name the column")
        )
    if strategy is not ValidationStrategy.AUTO:
        problems += [
            Problem(
                f"spec.validation.{name}", f"has no meaning for strategy: {strategy}", "leave one of them out"
            )
            for name, column in columns.items()
            if column is not None and name != wanted
        ]
    return problems


def _check_search_space(space: SearchSpace) -> list[Problem]:
    given = [
        name
        for name, value in (
            ("preset", space.preset),
            ("inline", space.inline),
            ("configMapRef", space.config_map_ref),
        )
        if value is not None
    ]
    if len(given) > 1:
        return [Problem("spec.searchSpace", f"{' and '.join(given)} exclude each other", "keep one of them")]
    return []
