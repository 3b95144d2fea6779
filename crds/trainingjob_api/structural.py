"""From pydantic's JSON schema to the structural schema that a custom resource definition takes.

A structural schema knows no references, no null types, no ``additionalProperties: false``, no
``propertyNames`` and no ``const``; each is written in the way that an API server understands.
"""

from typing import Any

from pydantic import BaseModel

from trainingjob_api.errors import pattern_words

__all__ = ["structural_schema"]

_DROPPED = frozenset({"title", "default", "const", "propertyNames", "$defs", "discriminator"})
_FORMATS = {"integer": "int64", "number": "double"}


def structural_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Return the structural schema of *model*, by its aliases.

    CEL rules under ``x-kubernetes-validations`` are carried over; bounds on a map's keys become one.
    """
    schema = model.model_json_schema(by_alias=True, mode="validation")
    return _convert(schema, schema.get("$defs", {}))


def _convert(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    schema = _flatten(schema, definitions)
    result = {key: value for key, value in schema.items() if key not in _DROPPED}
    if "const" in schema:
        result["enum"] = [schema["const"]]
    if result.get("type") in _FORMATS:
        result.setdefault("format", _FORMATS[result["type"]])
    if "properties" in result:
        result["properties"] = {
            name: _convert(below, definitions) for name, below in result["properties"].items()
        }
    if "items" in result:
        result["items"] = _convert(result["items"], definitions)
    _convert_map(schema, result, definitions)
    return _ordered(result)


def _flatten(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """Put references and optional values in place; what stands beside them wins."""
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


def _convert_map(schema: dict[str, Any], result: dict[str, Any], definitions: dict[str, Any]) -> None:
    """Write the bounds on a map's keys, which a structural schema has no words for, as CEL rules."""
    values = result.pop("additionalProperties", None)
    rules = list(result.get("x-kubernetes-validations", ()))
    for pattern, below in result.pop("patternProperties", {}).items():
        values = below
        escaped = pattern.replace("\\", "\\\\").replace("'", "\\'")
        rules.append(
            {"rule": f"self.all(key, key.matches('{escaped}'))", "message": f"a key {pattern_words(pattern)}"}
        )
    longest = schema.get("propertyNames", {}).get("maxLength")
    if longest is not None:
        rule = f"self.all(key, size(key) >= 1 && size(key) <= {longest})"
        rules.append({"rule": rule, "message": f"a key has 1 to {longest} characters"})
    if isinstance(values, dict):
        result["additionalProperties"] = _convert(values, definitions)
    if rules:
        result["x-kubernetes-validations"] = rules


def _ordered(schema: dict[str, Any]) -> dict[str, Any]:
    """Put what a reader looks for first: description, type, bounds, then what is inside."""
    first = ["description", "type", "format", "enum"]
    last = ["required", "properties", "additionalProperties", "items", "x-kubernetes-validations"]
    middle = [key for key in schema if key not in {*first, *last}]
    return {key: schema[key] for key in [*first, *middle, *last] if key in schema}
