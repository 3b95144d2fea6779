"""``pipeline.py``: the winner as a program that fits it again; its text is a template."""

import base64
import json
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
from jinja2 import Environment, PackageLoader, StrictUndefined

from trainingjob_trainer.artifacts.source import Source, Unrenderable, source_of
from trainingjob_trainer.data.prepare import Prepared
from trainingjob_trainer.finished_run import FinishedRun

__all__ = ["packed_rows", "program_of"]

_IMPORTS = {
    "import base64",
    "import hashlib",
    "import sys",
    "import zlib",
    "import numpy as np",
    "import pandas as pd",
}
_MODEL_FILE = 'clone(joblib.load(pathlib.Path(__file__).with_name("model.joblib")))'
_LINE = 100


def program_of(outcome: FinishedRun) -> str:
    """Return the source of a program that reads a table, fits the winner and prints its hold-out score.

    Where a part of the pipeline has no source form, the program takes the unfitted pipeline from
    ``model.joblib`` beside it, and says so.
    """
    run, prepared, file = outcome.run, outcome.prepared, outcome.prepared.file
    pipeline, note = _pipeline(outcome.model)
    scorer = _scorer(prepared.metric)
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
        imports=_sorted_imports(_IMPORTS | set(pipeline.imports) | set(scorer.imports)),
        target=_literal(run.target_column),
        features=_features(list(prepared.feature_types)),
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
    return "\n".join(f'    "{text[start : start + _LINE]}"' for start in range(0, len(text), _LINE))


def _sorted_imports(statements: set[str]) -> str:
    plain = sorted(s for s in statements if s.startswith("import "))
    return "\n".join([*plain, *sorted(statements - set(plain))])


def _literal(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _features(names: list[str]) -> str:
    return "[\n" + "".join(f"    {_literal(name)},\n" for name in names) + "]"
