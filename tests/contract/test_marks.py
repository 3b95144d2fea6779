"""Field lists are derived from marks in the models; a field without a mark fails here."""

import typing

import pytest
from pydantic import BaseModel
from pydantic.alias_generators import to_snake

from support.jobs import FULL, job
from trainingjob_api import TABLE, Resolved, ResolvedRun, SpecModel, Use, field_class, resolve
from trainingjob_api.spec import Budget, TrainingJobSpec

FOUND_BY_THE_TRAINER = {"rows", "columns"}


def unmarked(model, path=""):
    """Yield each field that says neither itself nor by its parts what it is used for."""
    for name, info in model.model_fields.items():
        part = field_class(model, [info.alias], BaseModel)
        if Use.of(info) is None and part is None:
            yield f"{path}{name}"
        elif Use.of(info) is None:
            yield from unmarked(part, f"{path}{name}.")


def test_every_value_in_force_says_what_it_is_used_for():
    assert not list(unmarked(ResolvedRun)), "mark it: is it part of the search digest, is it listed?"


def test_a_value_without_a_mark_is_noticed():
    class Part(SpecModel):
        marked: typing.Annotated[int, Use(digest=False, listed=False)]
        forgotten: int

    class Run(SpecModel):
        part: Part
        also_forgotten: str | None = None

    assert list(unmarked(Run)) == ["part.forgotten", "also_forgotten"]


def test_the_summary_fills_every_field_but_those_that_the_trainer_finds():
    summary = resolve(job(**FULL), {}).summary(image="registry.example/trainer:1")
    unset = {name for name, value in summary if value is None}
    assert unset == FOUND_BY_THE_TRAINER


def test_the_trainer_refines_marked_fields_alone():
    plan = resolve(job(**FULL), {}).summary(image="a")
    told = Resolved(metric="r2", n_jobs=7, rows=3, image="b", time_left_seconds=1, sources={"x": "y"})
    refined = plan.refined(told)
    assert (refined.metric, refined.n_jobs, refined.rows) == ("r2", 7, 3)
    assert (refined.image, refined.time_left_seconds, refined.sources) == ("a", 900, plan.sources)
    assert plan.changes(refined) == ()
    assert plan.changes(told.model_copy(update={"search_digest": "0" * 64}))[:1] == ("target_column",)


def test_the_list_of_values_follows_the_spec():
    listed = resolve(job(**FULL), {}).listed()
    assert listed["automl.enabled"] is True
    assert listed["budget.cvFolds"] == 5
    assert listed["dataset.uri"] == FULL["dataset"]["uri"]
    assert "dataset.credentialsSecretRef" not in listed


@pytest.mark.parametrize(
    "row", [row for row in TABLE if row.default is not None], ids=lambda row: row.variable
)
def test_the_description_of_a_field_names_its_variable_and_default(row):
    model = Budget if row.field.startswith("budget.") else TrainingJobSpec
    if row.field.startswith("automl."):
        model = field_class(TrainingJobSpec, ["automl"], BaseModel)
    text = model.model_fields[to_snake(row.field.split(".")[-1])].description
    assert f"default {row.variable}, else {str(row.default).lower()}" in text
