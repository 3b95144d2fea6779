"""Each rule across fields gives the same result as CEL and in Python."""

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from support.jobs import document
from trainingjob_api import Rule, SpecError, TrainingJob, check_spec, field_class, parse_job
from trainingjob_api.spec import TrainingJobSpec


class Part(dict[str, Any]):
    """A part of a document, whose fields CEL reads as attributes."""

    def __getattr__(self, name: str) -> Any:
        value = self[name]
        return Part(value) if isinstance(value, dict) else Text(value) if isinstance(value, str) else value


class Text(str):
    __slots__ = ()

    def matches(self, pattern: str) -> bool:
        return re.search(pattern, self) is not None

    def startsWith(self, text: str) -> bool:  # noqa: N802 - CEL's name
        return self.startswith(text)


def evaluate(cel: str, part: dict[str, Any]) -> bool:
    """Return the value of the CEL expression, whose syntax is Python's but for a few signs."""

    def has(path: str) -> bool:
        here: Any = part
        for name in path.split(".")[1:]:
            if not isinstance(here, dict) or name not in here:
                return False
            here = here[name]
        return True

    text = re.sub(r"has\(([\w.]+)\)", r"has('\1')", cel)
    text = re.sub(r"\[(.*)\]\.filter\(x, x\)\.size\(\)", r"sum([\1])", text)
    text = text.replace("&&", " and ").replace("||", " or ")
    text = re.sub(r"!(?!=)", " not ", text)
    return bool(eval(text, {"has": has, "self": Part(part), "sum": sum}))  # noqa: S307 - the project's own rules


def rules_of(model: type[BaseModel], path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Rule]]:
    """Return each rule of a model and its parts, with the path of its model."""
    found = [(path, rule) for rule in getattr(model, "rules", ())]
    for info in model.model_fields.values():
        part = field_class(model, [info.alias], BaseModel)
        found += rules_of(part, (*path, str(info.alias))) if part is not None else []
    return found


RULES = rules_of(TrainingJobSpec)
columns = st.sampled_from(["a", "b", "target"])


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


paths = st.sampled_from(
    [
        *("s3://data/x", "s3://data/../x", "gs://data/x", "az://data/a%2e"),
        *("pvc://c/a%20b", "https://h/%2e", "file://x", "file://../x"),
    ]
)
tolerations = st.lists(
    some(
        key=st.just("k"),
        operator=st.sampled_from(["Exists", "Equal"]),
        value=st.just("v"),
    ),
    max_size=2,
)
specs = st.fixed_dictionaries(
    {
        "dataset": st.fixed_dictionaries(
            {"uri": paths},
            optional={
                "endpoint": st.just("https://minio.example"),
                "csv": some(decimal=st.sampled_from(".,"), thousands=st.sampled_from(".,")),
            },
        ),
        "targetColumn": st.just("target"),
    },
    optional={
        "featureTypes": st.dictionaries(columns, st.just("text"), max_size=2),
        "positiveLabel": st.just("yes"),
        "task": st.sampled_from(["auto", "regression"]),
        "validation": some(
            groupColumn=columns,
            timeColumn=columns,
            strategy=st.sampled_from(["auto", "kfold", "group", "time"]),
        ),
        "searchSpace": some(
            preset=st.just("linear"), inline=st.just("{}"), configMapRef=st.just({"name": "x"})
        ),
        "output": some(
            uri=st.sampled_from(["s3://data/../x", "pvc://c/a%2e", "file://../x", "s3://data", "gs://data"]),
            endpoint=st.just("https://minio.example"),
        ),
        "budget": some(timeLeftSeconds=st.sampled_from([60, 61])),
        "activeDeadlineSeconds": st.sampled_from([60, 61]),
        "dask": some(tolerations=tolerations),
    },
)


@given(specs)
@settings(max_examples=400)
def test_cel_and_python_agree(spec: dict[str, Any]) -> None:
    model = TrainingJob.model_validate(document(**spec)).spec
    for path, rule in RULES:
        raw: Any = spec
        part: Any = model
        for name in path:
            raw = raw.get(name) if isinstance(raw, dict) else None
            part = getattr(part, re.sub(r"([A-Z])", r"_\1", name).lower(), None)
        pairs = zip(raw, part, strict=True) if isinstance(raw, list) else [(raw, part)]
        for document_part, model_part in pairs:
            if document_part is not None:
                assert evaluate(rule.check.cel, document_part) == rule.check.holds(model_part), rule


@given(specs)
def test_a_local_run_is_rejected_for_the_rules_that_it_breaks(spec: dict[str, Any]) -> None:
    problems = [*check_spec(TrainingJob.model_validate(document(**spec)).spec)]
    if not problems:
        parse_job(document(**spec))
        return
    with pytest.raises(SpecError) as error:
        parse_job(document(**spec))
    assert error.value.problems == tuple(problems)


def test_a_problem_names_the_field_and_a_remedy() -> None:
    spec = {"activeDeadlineSeconds": 59, "budget": {"timeLeftSeconds": 60}}
    found = [*check_spec(TrainingJob.model_validate(document(**spec)).spec)]
    expected = (
        "spec.activeDeadlineSeconds: activeDeadlineSeconds must not be less than budget.timeLeftSeconds; "
        "raise the deadline (59 s), lower the budget (60 s) or omit the deadline"
    )
    assert [str(problem) for problem in found] == [expected]
