"""``pipeline.py``: the winner as a program that fits it again, and estimators as Python source."""

import base64
import inspect
import json
import math
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from types import BuiltinMethodType, MethodType
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from sklearn.compose import make_column_selector
from sklearn.model_selection import BaseCrossValidator

from trainingjob_trainer.data.prepare import Prepared
from trainingjob_trainer.finished_run import FinishedRun

_MODULES = ("base64", "hashlib", "sys", "zlib", "numpy as np", "pandas as pd")
_MODEL_FILE = 'clone(joblib.load(pathlib.Path(__file__).with_name("model.joblib")))'
_WIDTH = 100
# A longer list of columns or values would bury the rest of the program.
_MAX_ITEMS = 20_000
_MAX_DEPTH = 30
OUTPUT_HELPER = "with_output"
_OUTPUT_SOURCE = f'''def {OUTPUT_HELPER}(transformer, kind):
    """Set the output of this transformer only; its own set_output would also set that of its steps."""
    super(type(transformer), transformer).set_output(transform=kind)
    return transformer
'''
_FORBIDDEN = ("trainingjob_", "tpot", "__main__")


class Unrenderable(Exception):  # noqa: N818 - the program falls back to the model file
    """A part of an estimator cannot be written as source."""


@dataclass(frozen=True, slots=True)
class Source:
    """A Python expression, the import statements that it needs and functions to define before it."""

    imports: tuple[str, ...]
    expression: str
    helpers: tuple[str, ...] = ()


@dataclass(slots=True)
class _Writer:
    names: dict[str, str] = field(default_factory=dict)
    outputs: bool = False

    def refer(self, thing: type | Callable[..., Any]) -> str:
        """Return the name of a class or function and note its import."""
        module, name, attribute = _public_home(thing)
        if module != "builtins" and self.names.setdefault(name, module) != module:
            raise Unrenderable(f"two different classes or functions are called {name}")
        return f"{name}.{attribute}" if attribute else name

    def render(self, value: Any, indent: int = 0) -> str:
        """Return the source of a value; continuation lines are indented by `indent` spaces."""
        if indent > 4 * _MAX_DEPTH:
            raise Unrenderable("the estimator is nested too deeply")
        match value:
            case type():
                text = self.refer(value)
            case np.generic():
                text = self.render(value.item(), indent)
            case np.ndarray():
                items = self.render(value.tolist(), indent + 4)
                text = _wrap(f"{self.refer(np.array)}(", [items], ")", indent)
            case float() if not math.isfinite(value):
                text = f'float("{value}")'
            case None | bool() | int() | float() | str() | bytes() | slice():
                text = repr(value)
            case list() | tuple() | set() | frozenset() | dict():
                text = self._container(value, indent)
            case _:
                text = self._object(value, indent)
        return text

    def _object(self, value: Any, indent: int) -> str:
        if hasattr(value, "get_params"):
            return self._estimator(value, indent)
        if isinstance(value, make_column_selector):  # of a feature set, which has a pattern alone
            return f"{self.refer(make_column_selector)}(pattern={value.pattern!r})"
        if isinstance(value, BaseCrossValidator):
            names = inspect.signature(type(value)).parameters
            parts = [f"{name}={self.render(getattr(value, name), indent + 4)}" for name in names]
            return _wrap(f"{self.refer(type(value))}(", parts, ")", indent)
        if isinstance(value, pd.RangeIndex):
            return f"{self.refer(pd.RangeIndex)}({value.start}, {value.stop}, {value.step})"
        if isinstance(value, MethodType) or (
            isinstance(value, BuiltinMethodType) and isinstance(value.__self__, str)
        ):
            return f"{self.render(value.__self__, indent)}.{value.__name__}"
        if callable(value):
            return self.refer(value)
        raise Unrenderable(f"a {type(value).__name__} has no source form")

    def _estimator(self, estimator: Any, indent: int) -> str:
        name, defaults = self.refer(type(estimator)), _defaults(type(estimator))
        # In the order of the constructor, as people write it; what hides behind **kwargs comes last.
        order = list(inspect.signature(type(estimator)).parameters)
        given = estimator.get_params(deep=False)
        parts = [
            f"{key}={self.render(given[key], indent + 4)}"
            for key in sorted(given, key=lambda key: order.index(key) if key in order else len(order))
            if key not in defaults or not _same(defaults[key], given[key])
        ]
        text = _wrap(f"{name}(", parts, ")", indent)
        output = getattr(estimator, "_sklearn_output_config", {}).get("transform")
        if not output:
            return text
        self.outputs = True
        return f"{OUTPUT_HELPER}({text}, {output!r})"

    def _container(self, value: Any, indent: int) -> str:
        if len(value) > _MAX_ITEMS:
            raise Unrenderable(f"a collection of {len(value)} items is too long to print")
        if isinstance(value, dict):
            parts = [f"{self.render(k, indent + 4)}: {self.render(v, indent + 4)}" for k, v in value.items()]
            return _wrap("{", parts, "}", indent)
        if isinstance(value, set | frozenset):
            inner = [self.render(item, indent + 4) for item in sorted(value, key=repr)]
            if isinstance(value, frozenset):
                return f"frozenset({_wrap('[', inner, ']', indent)})"
            return _wrap("{", inner, "}", indent) if inner else "set()"
        parts = [self.render(item, indent + 4) for item in value]
        if isinstance(value, tuple):
            if not hasattr(value, "_fields"):
                return _wrap("(", parts, ",)" if len(parts) == 1 else ")", indent)
            raise Unrenderable(f"a {type(value).__name__} has no source form")
        return _wrap("[", parts, "]", indent)


def _wrap(opening: str, parts: list[str], closing: str, indent: int) -> str:
    line = opening + ", ".join(parts) + closing
    if len(line) + indent <= _WIDTH and "\n" not in line:
        return line
    pad = " " * (indent + 4)
    body = "".join(f"{pad}{part},\n" for part in parts)
    return f"{opening}\n{body}{' ' * indent}{closing.lstrip(',')}"


def _same(left: Any, right: Any) -> bool:
    """Return whether a parameter has its default; estimators never count as equal."""
    if left is right:
        return True
    if type(left) is not type(right) or not isinstance(left, bool | int | float | str | tuple | type(None)):
        return False
    return bool(left == right) or (isinstance(left, float) and math.isnan(left) and math.isnan(right))


def _defaults(cls: type) -> dict[str, Any]:
    """Return the defaults of a class's parameters, where they can be known."""
    try:
        # xgboost's parameters hide behind **kwargs and show only in instances.
        return dict(cls().get_params(deep=False))
    except TypeError:
        parameters = inspect.signature(cls).parameters.items()
        return {name: p.default for name, p in parameters if p.default is not inspect.Parameter.empty}


def _public_home(thing: Any) -> tuple[str, str, str]:
    """Return the shortest public module that offers a class or function, its name, and its attribute."""
    module = str(getattr(thing, "__module__", None) or "")
    path = str(getattr(thing, "__qualname__", None) or getattr(thing, "__name__", ""))
    if isinstance(thing, np.ufunc):
        module = "numpy"
    for owner in (pd.DataFrame, pd.Series):
        if path.partition(".")[2] and getattr(owner, path.rpartition(".")[2], None) is thing:
            module, path = owner.__module__, f"{owner.__name__}.{path.rpartition('.')[2]}"
            break
    if not module or not all(part.isidentifier() for part in path.split(".")):
        raise Unrenderable(f"{thing!r} cannot be imported by name")
    if module.startswith(_FORBIDDEN):
        raise Unrenderable(f"{path} belongs to the project, not to a published package")
    name, _, attribute = path.partition(".")
    parts = module.split(".")
    homes = [".".join(parts[:end]) for end in range(1, len(parts) + 1)]
    public = [home for home in homes if not any(part.startswith("_") for part in home.split("."))]
    for home in [*public, module]:
        found = getattr(sys.modules.get(home), name, None)
        if found is thing or (attribute and getattr(found, attribute, None) is thing):
            return home, name, attribute
    raise Unrenderable(f"{module}.{path} cannot be imported by name")


def source_of(value: Any) -> Source:
    """Return source that builds an estimator unfitted, with the parameters that differ from the defaults.

    `Unrenderable` names what has no source form, such as a local function or an object of this project.
    """
    writer = _Writer()
    expression = writer.render(value)
    imports = tuple(sorted(f"from {module} import {name}" for name, module in writer.names.items()))
    return Source(imports, expression, (_OUTPUT_SOURCE,) if writer.outputs else ())


def program_of(outcome: FinishedRun) -> str:
    """Return the source of a program that reads a table, fits the winner and prints its hold-out score.

    Where a part of the pipeline has no source form, the program takes the unfitted pipeline from
    ``model.joblib`` beside it, and says so.
    """
    run, prepared, file = outcome.run, outcome.prepared, outcome.prepared.file
    pipeline, note = _pipeline(outcome.model)
    scorer = _scorer(prepared.metric)
    imports = {*(f"import {module}" for module in _MODULES), *pipeline.imports, *scorer.imports}
    environment = Environment(
        loader=PackageLoader("trainingjob_trainer.artifacts"),
        autoescape=False,  # noqa: S701 - Python, not HTML: users' texts go in as literals
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("pipeline.py.j2").render(
        name=run.name,
        note=note,
        # Modules before names of modules.
        imports="\n".join(sorted(imports, key=lambda line: (line.startswith("from "), line))),
        target=_literal(run.target_column),
        features="[\n" + "".join(f"    {_literal(name)},\n" for name in prepared.feature_types) + "]",
        rows=len(prepared.row_numbers) + prepared.dropped_rows,
        sha256=_literal(prepared.dataset_sha256),
        score=None if outcome.holdout_score is None else f"{outcome.holdout_score:.6g}",
        helpers="".join(f"\n{helper}\n" for helper in pipeline.helpers),
        # The expression is inside a function.
        pipeline=pipeline.expression.replace("\n", "\n    "),
        metric=prepared.metric.name,
        scorer=scorer.expression,
        **_target(prepared),
        **packed_rows(prepared),
        read_csv=file.csv_call("path"),
        index=file.index,
    )


def _pipeline(model: Any) -> tuple[Source, str]:
    """Return the construction of the model, and a remark for the program's docstring."""
    try:
        source = source_of(model)
        compile(source.expression, "pipeline.py", "eval")
    except (Unrenderable, SyntaxError) as error:
        imports = ("import joblib", "import pathlib", "from sklearn.base import clone")
        cause = str(error).replace("\\", "/").replace('"', "'")
        return Source(imports, _MODEL_FILE), f"\nThe pipeline is taken from model.joblib, since {cause}.\n"
    return source, ""


def _scorer(metric: Any) -> Source:
    """Return the construction of the run's scorer with its arguments, such as the positive label."""
    plain = Source(("from sklearn.metrics import get_scorer",), f"get_scorer({metric.name!r})")
    parts = [getattr(metric.scorer, name, None) for name in ("_score_func", "_response_method", "_kwargs")]
    if None in parts:
        return plain
    try:
        function, response, arguments = (source_of(value) for value in parts)
    except Unrenderable:
        return plain
    greater = getattr(metric.scorer, "_sign", 1) > 0
    call = f"make_scorer(\n        {function.expression}, response_method={response.expression},"
    call += f" greater_is_better={greater}"
    call += f", **{arguments.expression}\n    )" if parts[-1] else "\n    )"
    return Source(("from sklearn.metrics import make_scorer", *function.imports, *arguments.imports), call)


def _target(prepared: Prepared) -> dict[str, Any]:
    """Return how the program reads the target, which is how the run read it."""
    reading, dtype = prepared.target_format, prepared.target.dtype
    kind = "bool" if dtype.kind == "b" else "number" if dtype.kind in "iuf" else "text"
    rules = [reading.missing_rule, *(reading.number.rules() if kind == "number" else ())]
    return {
        "target_kind": kind,
        "target_dtype": repr(str(dtype)),
        "target_rules": [
            (repr(pattern), repr(value) if isinstance(value, str) else "np.nan") for pattern, value in rules
        ],
    }


def packed_rows(prepared: Prepared) -> dict[str, str]:
    """Return the literals ``holdout`` and ``left_out``: one bit for each row of the table."""
    total = len(prepared.row_numbers) + prepared.dropped_rows
    holdout, left_out = np.zeros(total, dtype=bool), np.ones(total, dtype=bool)
    holdout[prepared.row_numbers[prepared.holdout_index]] = True
    left_out[prepared.row_numbers] = False
    return {"holdout": _packed(holdout), "left_out": _packed(left_out)}


def _packed(mask: npt.NDArray[np.bool_]) -> str:
    text = base64.b64encode(zlib.compress(np.packbits(mask).tobytes(), 9)).decode()
    return "\n".join(f'    "{text[start : start + _WIDTH]}"' for start in range(0, len(text), _WIDTH))


def _literal(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
