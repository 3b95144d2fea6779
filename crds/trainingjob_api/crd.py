"""The custom resource definition and the field reference, generated from the models.

``python -m trainingjob_api.crd`` writes it and the field reference below the current folder;
``--check`` writes nothing and fails if either is out of date.

A definition takes a structural schema, which has no references, null types, ``additionalProperties: false``,
``propertyNames`` or ``const``; each is converted to a form that an API server accepts.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from trainingjob_api.errors import pattern_words
from trainingjob_api.resolved import TABLE
from trainingjob_api.spec import MUTABLE_FIELDS, TrainingJobSpec
from trainingjob_api.status import TrainingJobStatus
from trainingjob_api.vocabulary import (
    CONFIG_DICT,
    DASK_SCHEDULER_FILE,
    DEFAULT_SCHEDULER_FILE,
    GROUP,
    KIND,
    PLURAL,
    VERSION,
)

CRD_PATH = Path(f"crds/{GROUP}_{PLURAL}.yaml")
REFERENCE_PATH = Path("docs/reference/trainingjob.md")

_DROPPED = frozenset({"title", "default", "const", "propertyNames", "$defs", "discriminator"})
_FORMATS = {"integer": "int64", "number": "double"}
_HEADER = "# Generated from crds/trainingjob_api by `make crd`; change the models, not this file.\n"
_COLUMNS = (
    ("Phase", "string", ".status.phase", "Phase of the job."),
    (
        "Reason",
        "string",
        '.status.conditions[?(@.type=="Ready")].reason',
        "Why it is in this phase: the reason of Ready.",
    ),
    ("Backend", "string", ".status.backend", "Backend that evaluates pipelines now."),
    ("Model", "string", ".status.modelSource", "Origin of the model."),
    ("Best", "string", ".status.best.score", "Cross-validated score of the best pipeline."),
    ("Progress", "integer", ".status.progress.generation", "Completed generations."),
    (
        "Accepted",
        "string",
        '.status.conditions[?(@.type=="AcceptanceMet")].status',
        "Whether the model is accepted.",
    ),
    ("Age", "date", ".metadata.creationTimestamp", "Time since creation."),
)

_INTRODUCTION = """\
# TrainingJob: every field

<!-- Generated from crds/trainingjob_api by `make crd`; change the models, not this file. -->

`automl.trainingjob.dev/v1alpha1`, kind `TrainingJob`, short name `tj`, category `automl`.
`kubectl explain trainingjob.spec` shows the same.

Only {mutable} may change after creation; all other fields are immutable and cannot be added or removed.
The values in force are resolved once, when the job starts: spec over environment over default.
"""


def structural_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Return the structural schema of *model*, by its aliases."""
    schema = model.model_json_schema(by_alias=True, mode="validation")
    return _convert(schema, schema.get("$defs", {}))


def _convert(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """Return *schema* in a form that an API server takes; bounds on keys of maps become CEL rules."""
    schema = _flatten(schema, definitions)
    result = {key: value for key, value in schema.items() if key not in _DROPPED}
    rules = [*result.pop("x-kubernetes-validations", ())]
    if "const" in schema:
        result["enum"] = [schema["const"]]
    if result.get("type") in _FORMATS:
        result.setdefault("format", _FORMATS[result["type"]])
    if "items" in result:
        result["items"] = _convert(result["items"], definitions)
    if "properties" in result:
        result["properties"] = {
            name: _convert(below, definitions) for name, below in result["properties"].items()
        }
        rules += _fraction_rules(result["properties"])
    values = result.pop("additionalProperties", None)
    for pattern, below in result.pop("patternProperties", {}).items():
        values, escaped = below, pattern.replace("\\", "\\\\").replace("'", "\\'")
        rule = f"self.all(key, key.matches('{escaped}'))"
        rules.append({"rule": rule, "message": f"a key {pattern_words(pattern)}"})
    longest = schema.get("propertyNames", {}).get("maxLength")
    if longest is not None:
        rule = f"self.all(key, size(key) >= 1 && size(key) <= {longest})"
        rules.append({"rule": rule, "message": f"a key has 1 to {longest} characters"})
    if isinstance(values, dict):
        result["additionalProperties"] = _convert(values, definitions)
    if rules:
        result["x-kubernetes-validations"] = rules
    return _ordered(result)


def _fraction_rules(properties: dict[str, Any]) -> Iterator[dict[str, str]]:
    """Yield a rule for each fractional bound, which an API server rounds down to compare it with 0."""
    for name, schema in properties.items():
        least = schema.get("minimum", 0)
        if least != int(least):
            rule = f"!has(self.{name}) || self.{name} >= {least}"
            yield {"message": f"{name} must be at least {least}", "rule": rule}


def _flatten(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """Resolve references and optional types; keywords next to them take precedence."""
    while True:
        if "$ref" in schema:
            below = definitions[schema["$ref"].removeprefix("#/$defs/")]
        elif "anyOf" in schema and "x-kubernetes-int-or-string" not in schema:
            choices = [choice for choice in schema["anyOf"] if choice.get("type") != "null"]
            if len(choices) != 1:
                raise TypeError(f"a structural schema holds no union: {schema}")
            below = choices[0]
        else:
            return schema
        beside = {key: value for key, value in schema.items() if key not in {"$ref", "anyOf"}}
        schema = {**below, **beside}


def _ordered(schema: dict[str, Any]) -> dict[str, Any]:
    """Order keywords for readers: description, type, bounds, then the contents."""
    first = ["description", "type", "format", "enum"]
    last = ["required", "properties", "additionalProperties", "items", "x-kubernetes-validations"]
    middle = [key for key in schema if key not in {*first, *last}]
    return {key: schema[key] for key in [*first, *middle, *last] if key in schema}


def immutability_rules() -> list[dict[str, str]]:
    """Return one CEL rule for each immutable field of the spec.

    They belong to the spec rather than the field: a transition rule on an optional field is skipped when the
    field is added or removed.
    """
    rules = []
    for info in TrainingJobSpec.model_fields.values():
        name = str(info.alias)
        if name in MUTABLE_FIELDS:
            continue
        same = f"self.{name} == oldSelf.{name}"
        if not info.is_required():
            same = f"has(self.{name}) == has(oldSelf.{name}) && (!has(self.{name}) || {same})"
        message = f"{name} is immutable: delete the TrainingJob and create it again"
        rules.append({"rule": same, "message": message, "fieldPath": f".{name}"})
    return rules


def build_crd() -> dict[str, Any]:
    """Return the custom resource definition as plain data."""
    spec = structural_schema(TrainingJobSpec)
    spec["x-kubernetes-validations"] = [*spec["x-kubernetes-validations"], *immutability_rules()]
    root = {
        "description": "A table, a target and a budget; the operator turns it into a verified model.",
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {
                "type": "string",
                "maxLength": 64,
                "description": "Group and version of the resource.",
            },
            "kind": {"type": "string", "maxLength": 64, "description": "Kind of the resource."},
            "metadata": {"type": "object"},
            "spec": spec,
            "status": structural_schema(TrainingJobStatus),
        },
    }
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": [
            {"name": name, "type": kind, "jsonPath": path, "description": text}
            for name, kind, path, text in _COLUMNS
        ],
        "schema": {"openAPIV3Schema": root},
    }
    names = {
        "kind": KIND,
        "listKind": f"{KIND}List",
        "plural": PLURAL,
        "singular": KIND.lower(),
        "shortNames": ["tj"],
        "categories": ["automl"],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {"group": GROUP, "names": names, "scope": "Namespaced", "versions": [version]},
    }


def render_crd() -> str:
    """Return the definition as YAML; the text is deterministic."""
    # A copy in which no value occurs twice: readers of a definition do not follow YAML's aliases.
    plain = json.loads(json.dumps(build_crd()))
    return _HEADER + yaml.safe_dump(plain, sort_keys=False, width=110, allow_unicode=True)


def render_reference(crd: dict[str, Any]) -> str:
    """Return the reference for the one version of *crd*."""
    version = crd["spec"]["versions"][0]
    properties = version["schema"]["openAPIV3Schema"]["properties"]
    mutable = ", ".join(f"`spec.{name}`" for name in sorted(MUTABLE_FIELDS))
    lines = [_INTRODUCTION.format(mutable=mutable)]
    for part in ("spec", "status"):
        lines += [f"## {part}", "", "| Field | Type | Meaning |", "|---|---|---|"]
        lines += _rows(properties[part], part)
        lines.append("")
    lines += ["## Rules across fields", ""]
    lines += [f"- `{path}`: {message}." for path, message in _messages(properties["spec"], "spec")]
    lines += ["", *_environment()]
    return "\n".join(lines) + "\n"


def _environment() -> list[str]:
    lines = [
        "## Environment",
        "",
        "An empty variable counts as unset. `ENABLE_AUTOML=false` overrides the spec; otherwise the spec",
        "overrides the environment. `TPOT_PARALLEL_MODE` accepts `off` for `none`.",
        "",
        "| Variable | Field | Default |",
        "|---|---|---|",
    ]
    by_trainer = {
        "metric": "accuracy or r2, by the task",
        "nJobs": "the trainer's cores minus one (2 of two cores), at most 8",
    }
    for row in TABLE:
        default = by_trainer.get(row.field, str(row.default).lower())
        lines.append(f"| `{row.variable}` | `{row.field}` | {default} |")
    forms = "a preset's name, a TPOT group, inline JSON, or a path"
    lines.append(f"| `{CONFIG_DICT}` ({forms}) | `searchSpace` | linear |")
    lines.append(
        f"| `{DASK_SCHEDULER_FILE}` | distributed runs outside Kubernetes | {DEFAULT_SCHEDULER_FILE} |"
    )
    return lines


def _rows(schema: dict[str, Any], path: str) -> Iterator[str]:
    required = set(schema.get("required", ()))
    for name, below in schema.get("properties", {}).items():
        here = f"{path}.{name}"
        text = below.get("description", "").replace("|", "\\|")
        mark = " **Required.**" if name in required else ""
        yield f"| `{here}` | {_type(below)} | {text}{mark} |"
        inner = below.get("items", below)
        yield from _rows(inner, f"{here}[]" if "items" in below else here)


def _type(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return "one of " + ", ".join(f"`{value}`" for value in schema["enum"])
    if "x-kubernetes-int-or-string" in schema:
        return "quantity"
    if "items" in schema:
        return f"list of {_plain(schema['items'])}, at most {schema['maxItems']}"
    if "additionalProperties" in schema:
        return f"map to {_type(schema['additionalProperties'])}, at most {schema['maxProperties']}"
    return _plain(schema) + _bounds(schema)


def _plain(schema: dict[str, Any]) -> str:
    if schema.get("format") == "date-time":
        return "time"
    return {"integer": "whole number", "string": "text", "number": "number", "boolean": "true or false"}.get(
        schema["type"], "object"
    )


def _bounds(schema: dict[str, Any]) -> str:
    if "minimum" in schema:
        return f", {schema['minimum']:,} to {schema['maximum']:,}"
    if "maxLength" in schema and schema.get("format") != "date-time":
        return f", at most {schema['maxLength']:,} characters"
    return ""


def _messages(schema: dict[str, Any], path: str) -> Iterator[tuple[str, str]]:
    for rule in schema.get("x-kubernetes-validations", ()):
        if "oldSelf" not in rule["rule"]:
            yield path, rule["message"]
    for name, below in schema.get("properties", {}).items():
        yield from _messages(below, f"{path}.{name}")
    if "items" in schema:
        yield from _messages(schema["items"], f"{path}[]")


def main(arguments: list[str] | None = None) -> int:
    """Write or check the generated files; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m trainingjob_api.crd", description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail if a file is out of date; write nothing")
    parser.add_argument("--root", type=Path, default=Path(), help="the project's folder (default: this one)")
    options = parser.parse_args(arguments)
    files = {CRD_PATH: render_crd(), REFERENCE_PATH: render_reference(build_crd())}
    stale = []
    for path, text in files.items():
        target = options.root / path
        if options.check:
            if not target.is_file() or target.read_text(encoding="utf-8") != text:
                stale.append(path)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
    for path in stale:
        sys.stderr.write(f"{path} is out of date; run make crd\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
