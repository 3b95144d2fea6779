import ast
from pathlib import Path

import jsonschema
import pytest
import yaml

from support.jobs import FULL, document
from trainingjob_api import MUTABLE_FIELDS, TrainingJobSpec, load_job, resolve
from trainingjob_api.crd import CRD_PATH, REFERENCE_PATH, build_crd, immutability_rules, main

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))
VERSION = build_crd()["spec"]["versions"][0]
SCHEMA = VERSION["schema"]["openAPIV3Schema"]
ALLOWED = {
    "description",
    "type",
    "format",
    "enum",
    "anyOf",
    "pattern",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "required",
    "properties",
    "additionalProperties",
    "items",
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-validations",
}


def nodes(schema, path=""):
    """Yield every schema below *schema* with its path."""
    yield path, schema
    for name, below in schema.get("properties", {}).items():
        yield from nodes(below, f"{path}.{name}")
    if "items" in schema:
        yield from nodes(schema["items"], f"{path}[]")
    if "additionalProperties" in schema:
        yield from nodes(schema["additionalProperties"], f"{path}{{}}")


NODES = [(path, schema) for path, schema in nodes(SCHEMA) if path not in {"", ".metadata"}]


def test_models_and_files_have_not_drifted_apart(capsys):
    assert main(["--check", "--root", str(ROOT)]) == 0, capsys.readouterr().err


def test_check_finds_outdated_files_and_writing_updates_them(tmp_path, capsys):
    assert main(["--check", "--root", str(tmp_path)]) == 1
    assert "run make crd" in capsys.readouterr().err
    assert main(["--root", str(tmp_path)]) == 0
    assert main(["--check", "--root", str(tmp_path)]) == 0
    (tmp_path / CRD_PATH).write_text("kind: Other\n")
    assert main(["--check", "--root", str(tmp_path)]) == 1
    assert (tmp_path / CRD_PATH).read_text() == "kind: Other\n"


def test_the_file_equals_the_models():
    assert yaml.safe_load((ROOT / CRD_PATH).read_text(encoding="utf-8")) == build_crd()


def test_names_columns_and_subresource():
    crd = build_crd()
    assert crd["metadata"]["name"] == "trainingjobs.automl.trainingjob.dev"
    assert crd["spec"]["names"]["shortNames"] == ["tj"]
    assert crd["spec"]["names"]["categories"] == ["automl"]
    assert "preserveUnknownFields" not in crd["spec"]
    assert VERSION["subresources"] == {"status": {}}
    columns = [column["name"] for column in VERSION["additionalPrinterColumns"]]
    assert columns == ["Phase", "Reason", "Backend", "Model", "Best", "Progress", "Accepted", "Age"]


@pytest.mark.parametrize(("path", "schema"), NODES, ids=[path for path, _ in NODES])
def test_every_node_is_structural_and_bounded(path, schema):
    assert set(schema) <= ALLOWED
    match schema.get("type"):
        case "string":
            assert "maxLength" in schema or "enum" in schema
        case "integer" | "number":
            assert {"minimum", "maximum", "format"} <= set(schema)
        case "array":
            assert "maxItems" in schema
        case "object":
            assert "maxProperties" in schema or schema["properties"]
        case "boolean":
            pass
        case None:
            assert schema["x-kubernetes-int-or-string"] is True
        case other:
            pytest.fail(f"{path} has the type {other}")


def test_every_field_is_described():
    fields = [(path, schema) for path, schema in NODES if not path.endswith(("[]", "{}"))]
    assert len(fields) > 150
    for path, schema in fields:
        text = schema.get("description", "")
        assert text, path
        assert "  " not in text, path
        assert text.endswith("."), path


def test_there_is_a_rule_for_each_immutable_field_and_none_for_the_others():
    names = {info.alias for info in TrainingJobSpec.model_fields.values()}
    assert {rule["fieldPath"][1:] for rule in immutability_rules()} == names - MUTABLE_FIELDS
    for rule in immutability_rules():
        name = rule["fieldPath"][1:]
        if name not in SCHEMA["properties"]["spec"]["required"]:
            assert f"has(self.{name}) == has(oldSelf.{name})" in rule["rule"]


def test_the_definition_has_no_defaults():
    assert all("default" not in schema for _, schema in NODES)


@pytest.mark.parametrize("path", EXAMPLES, ids=[path.stem for path in EXAMPLES])
def test_examples_are_valid_for_schema_and_models(path):
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    jsonschema.validate(data, SCHEMA)
    known = set(SCHEMA["properties"]["spec"]["properties"])
    assert set(data["spec"]) <= known
    run = resolve(load_job(path), {})
    assert run.name == data["metadata"]["name"]


def test_all_examples_exist():
    wanted = {
        "breast-cancer",
        "messy-churn",
        "regression",
        "search-space-tree",
        "symbolic-regression",
        "trainingjob",
    }
    assert wanted <= {path.stem for path in EXAMPLES}


def test_the_long_example_shows_every_part():
    data = yaml.safe_load((ROOT / "examples/trainingjob.yaml").read_text(encoding="utf-8"))
    assert set(data["spec"]) == {info.alias for info in TrainingJobSpec.model_fields.values()}


def test_the_schema_accepts_all_fields_at_once():
    jsonschema.validate(document(**FULL), SCHEMA)


def test_the_reference_names_every_field_and_variable():
    text = (ROOT / REFERENCE_PATH).read_text(encoding="utf-8")
    for path, _ in NODES:
        if path.startswith((".spec.", ".status.")) and not path.endswith(("[]", "{}")):
            assert f"`{path[1:]}`" in text
    for variable in ("ENABLE_AUTOML", "TPOT__CONFIG_DICT", "TPOT__DASK_SCHEDULER_FILE"):
        assert f"`{variable}`" in text


def test_the_contract_imports_pydantic_yaml_and_the_standard_library_alone():
    import sys

    allowed = sys.stdlib_module_names | {"pydantic", "yaml", "trainingjob_api"}
    for path in (ROOT / "crds/trainingjob_api").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
            assert all(name.split(".")[0] in allowed for name in names), path
