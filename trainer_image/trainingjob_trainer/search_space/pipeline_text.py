"""Pipelines for people: one line, and Python source."""

import ast
from typing import Any, Final

from trainingjob_trainer.search_space.catalogue import entry
from trainingjob_trainer.search_space.pipeline_spec import PipelineSpec, step_names
from trainingjob_trainer.search_space.values import decode_value

__all__ = ["SUMMARY_LENGTH", "summarize", "to_code"]

SUMMARY_LENGTH: Final = 300
_UNTOLD: Final = {"random_state", "n_jobs", "verbose", "verbosity", "validate", "sparse_output"}
_PRECAUTIONS: Final = {"clip", "nan_to_num"}
_COMPOSITE_MODULES: Final = {
    "Pipeline": "sklearn.pipeline",
    "FeatureUnion": "sklearn.pipeline",
    "ColumnTransformer": "sklearn.compose",
    "VotingClassifier": "sklearn.ensemble",
}


def summarize(spec: PipelineSpec) -> str:
    """Return one line of at most 300 characters, such as ``StandardScaler → LogisticRegression(C=0.3)``.

    Parameters
    ----------
    spec
        A description.
    """
    text = _told(spec, with_params=True)
    if len(text) > SUMMARY_LENGTH:
        text = _told(spec, with_params=False)
    return text if len(text) <= SUMMARY_LENGTH else text[: SUMMARY_LENGTH - 1] + "…"


def _told(spec: PipelineSpec, *, with_params: bool) -> str:
    match spec:
        case {"class": "Pipeline", "steps": steps}:
            told = [_told(step, with_params=with_params) for step in steps]
            return " → ".join(item for item in told if item not in _PRECAUTIONS) or "passthrough"
        case {"class": "FeatureUnion", "members": members}:
            return f"[{' + '.join(_told(member, with_params=with_params) for member in members)}]"
        case {"class": "VotingClassifier", "members": [only]}:
            return _told(only, with_params=with_params)
        case {"class": "VotingClassifier", "members": members}:
            return f"Voting[{', '.join(_told(member, with_params=with_params) for member in members)}]"
        case {"class": "ColumnTransformer", "members": members}:
            return f"columns({', '.join(member['pattern'] for member in members)})"
    return _told_leaf(spec, with_params=with_params)


def _told_leaf(spec: PipelineSpec, *, with_params: bool) -> str:
    params = {key: item for key, item in spec.get("params", {}).items() if key not in _UNTOLD}
    function = params.pop("func", None)
    if function is not None:
        return str(function["$function"]).removeprefix("numpy.")
    if params.get("importance_getter") == "var_":
        return (
            f"VarianceThreshold({_told_value(params['threshold'])})"
            if "max_features" not in params
            else "LargestVariance"
        )
    nested = [
        item["$estimator"] for item in params.values() if isinstance(item, dict) and "$estimator" in item
    ]
    inner = [_told(item, with_params=with_params) for item in nested]
    plain = {k: item for k, item in params.items() if not (isinstance(item, dict) and "$estimator" in item)}
    if with_params:
        inner += [f"{key}={_told_value(item)}" for key, item in plain.items()]
    return f"{spec['class']}({', '.join(inner)})" if inner else str(spec["class"])


def _told_value(value: Any) -> str:
    value = decode_value(value, lambda spec: spec)
    if isinstance(value, float):
        return f"{value:.4g}"
    if callable(value):
        return str(value.__name__)
    if isinstance(value, list | tuple):
        return f"[{', '.join(_told_value(item) for item in value)}]"
    return str(value)


def to_code(spec: PipelineSpec) -> tuple[list[str], str]:
    """Return import lines and one Python expression that builds the pipeline.

    Parameters
    ----------
    spec
        A description.

    Returns
    -------
    imports
        Sorted lines, such as ``from sklearn.pipeline import Pipeline``.
    expression
        Source of the unfitted estimator, formatted over several lines.
    """
    imports: set[str] = set()
    source = _code(spec, imports, 0)
    ast.parse(source, mode="eval")
    return sorted(imports), source


def _code(spec: PipelineSpec, imports: set[str], depth: int) -> str:
    name = spec["class"]
    if name == "passthrough":
        return '"passthrough"'
    if name in _COMPOSITE_MODULES:
        imports.add(f"from {_COMPOSITE_MODULES[name]} import {name}")
        parts = _parts(spec, imports, depth + 1)
        voting = f', voting="{spec["voting"]}"' if name == "VotingClassifier" else ""
        return f"{name}([\n{parts}{'    ' * depth}]{voting})"
    found = entry(name)
    imports.add(f"from {_public_module(found.cls)} import {name}")
    params = [f"{key}={_value(item, imports, depth)}" for key, item in spec.get("params", {}).items()]
    return f"{name}({', '.join(params)})"


def _parts(spec: PipelineSpec, imports: set[str], depth: int) -> str:
    pad = "    " * depth
    if spec["class"] == "ColumnTransformer":
        imports.add("from sklearn.compose import make_column_selector")
        return "".join(
            f'{pad}("columns-{number}", {_code(part["estimator"], imports, depth)}, '
            f"make_column_selector(pattern={part['pattern']!r})),\n"
            for number, part in enumerate(spec["members"], 1)
        )
    parts = spec.get("steps") or spec["members"]
    names = step_names([part["class"] for part in parts])
    pairs = zip(names, parts, strict=True)
    return "".join(f'{pad}("{name}", {_code(part, imports, depth)}),\n' for name, part in pairs)


def _value(value: Any, imports: set[str], depth: int) -> str:
    match value:
        case {"$estimator": spec}:
            return _code(spec, imports, depth)
        case {"$float": text}:
            return f'float("{text}")'
        case {"$function": str(name)}:
            module, _, function = name.rpartition(".")
            imports.add("import numpy as np" if module == "numpy" else f"from {module} import {function}")
            return f"np.{function}" if module == "numpy" else function
        case {"$tuple": items}:
            inner = ", ".join(_value(item, imports, depth) for item in items)
            return f"({inner},)" if len(items) == 1 else f"({inner})"
        case {"$dict": items}:
            pairs = ", ".join(f"{key!r}: {_value(item, imports, depth)}" for key, item in items.items())
            return f"{{{pairs}}}"
        case list():
            return f"[{', '.join(_value(item, imports, depth) for item in value)}]"
    return repr(value)


def _public_module(cls: type) -> str:
    """Return the module that users import the class from: private parts of its path are left out."""
    module = cls.__module__
    if module.startswith(("xgboost", "lightgbm")):
        return module.partition(".")[0]
    return ".".join(part for part in module.split(".") if not part.startswith("_"))
