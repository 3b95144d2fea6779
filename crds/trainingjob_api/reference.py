"""The field reference in Markdown, generated from the custom resource definition."""

from collections.abc import Iterator
from typing import Any

from trainingjob_api.environment import CONFIG_DICT, DASK_SCHEDULER_FILE, DEFAULT_SCHEDULER_FILE, TABLE
from trainingjob_api.spec import MUTABLE_FIELDS

__all__ = ["render_reference"]

_INTRODUCTION = """\
# TrainingJob: every field

<!-- Generated from crds/trainingjob_api by `make crd`; change the models, not this file. -->

`automl.trainingjob.dev/v1alpha1`, kind `TrainingJob`, short name `tj`, category `automl`.
`kubectl explain trainingjob.spec` shows the same.

Only {mutable} may change after creation; all other fields are immutable and cannot be added or removed.
The values in force are resolved once, when the job starts: spec over environment over default.
"""


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
