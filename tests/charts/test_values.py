"""The values of the operator's chart: each is described, in the schema and in the README."""

import json

import jsonschema
import pytest
import yaml

from charts.readme import readme_text, values_of
from support.charts import CASES, CRDS, OPERATOR

FREE = {"dask-kubernetes-operator", "affinity", "resources", "podSecurityContext", "securityContext"}
"""Values that the schema of another project describes."""


@pytest.fixture(scope="module")
def values():
    return yaml.safe_load((OPERATOR / "values.yaml").read_text())


@pytest.fixture(scope="module")
def schema():
    return json.loads((OPERATOR / "values.schema.json").read_text())


def leaves(values, where=()):
    """Yield the path of each value, as deep as our own schema goes."""
    for key, value in values.items():
        path = (*where, key)
        if isinstance(value, dict) and value and key not in FREE:
            yield from leaves(value, path)
        else:
            yield path


def described(schema, where=()):
    """Yield the path of each value that the schema knows."""
    for key, part in schema.get("properties", {}).items():
        path = (*where, key)
        if "properties" in part:
            yield from described(part, path)
        else:
            yield path


def test_the_schema_knows_each_value_and_no_other(values, schema):
    # `global` is Helm's own; alertLabels is a map with a default.
    known = {path for path in described(schema) if path != ("global",)}
    own = {
        path[:3] if path[:3] == ("metrics", "prometheusRule", "alertLabels") else path
        for path in leaves(values)
    }
    assert known == own


def test_the_schema_lets_no_group_have_unknown_values(schema):
    def groups(part, where=()):
        if "properties" in part:
            yield where, part
            for key, below in part["properties"].items():
                yield from groups(below, (*where, key))

    assert not [where for where, part in groups(schema) if part.get("additionalProperties") is not False]


def test_the_schema_is_valid_and_accepts_the_defaults(values, schema):
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(values)


@pytest.mark.parametrize("chart", [OPERATOR, CRDS], ids=lambda path: path.name)
def test_each_value_has_a_description(chart):
    text = (chart / "values.yaml").read_text()
    paths = [value.path for value in values_of(text)]
    assert len(paths) == text.count("# -- ")
    assert all(value.text.endswith((".", "?")) for value in values_of(text))


def test_a_value_without_description_is_named():
    with pytest.raises(ValueError, match=r"group\.bare"):
        list(values_of("# -- Said.\nsaid: 1\ngroup:\n  bare: 2\n"))


def test_the_readme_is_the_generated_one():
    assert (OPERATOR / "README.md").read_text() == readme_text(OPERATOR), "run `make charts`"


@pytest.mark.parametrize("case", CASES)
def test_the_schema_accepts_the_values_of_the_tests(case, schema):
    jsonschema.Draft202012Validator(schema).validate(CASES[case])
