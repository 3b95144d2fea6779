"""``pipeline.py``: the winner as a program that fits it again."""

import json
from typing import Any

from trainingjob_trainer.data.prepare import Prepared
from trainingjob_trainer.outcome import RunOutcome
from trainingjob_trainer.serialization.source import Source, Unrenderable, source_of
from trainingjob_trainer.serialization.splits import (
    SPLIT,
    SPLIT_IMPORTS,
    TARGET_RULES,
    TARGETS,
    rows_source,
)

__all__ = ["program_of"]

_HEAD = '''"""The pipeline that the TrainingJob {name} found, as a program that fits it again.

Made with the packages in requirements.txt, and needs nothing else:

    python pipeline.py TABLE        a CSV or Parquet file with the columns below

It fits the pipeline without the rows that the run set aside and prints its score on them.
{note}"""

{imports}

TARGET = {target}
FEATURES = {features}
ROWS_IN_RUN = {rows}
SHA256_IN_RUN = {sha256}
SCORE_IN_RUN = {score}

{helpers}
def make_pipeline():
    """Return the pipeline, not fitted: the encoder of the raw table, then the model."""
    return {pipeline}


def make_scorer_of_run():
    """Return the scorer that the pipelines were compared by ({metric}); greater is better."""
    return {scorer}

'''

_READ = '''
def read_table(path):
    """Read a Parquet file, or a CSV file that is laid out as the run's; its values stay texts."""
    if path.endswith(".parquet"):
        return pd.read_parquet(path){index}.rename(columns=str)
    return {read}

'''

_TAIL = '''
def main(path):
    """Fit without the hold-out rows and print the score on them."""
    table = read_table(path)
    part = split(path, table)
    table, target = target_of(table[part > 0])
    part = part[part > 0]
    if len(target) != len(part):
        sys.exit(f"{path} is not the table of the run: rows that had a target there have none")
    train, test = np.flatnonzero(part == 1), np.flatnonzero(part == 2)
    pipeline = make_pipeline().fit(table[FEATURES].iloc[train], target[train])
    score = make_scorer_of_run()(pipeline, table[FEATURES].iloc[test], target[test])
    print(f"{len(train)} rows for training, {len(test)} set aside")
    print(f"hold-out score: {score:.6g} (in the run: {SCORE_IN_RUN})")
'''

_END = """

if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
"""

_NAN = "np.nan"
_MODEL_FILE = 'clone(joblib.load(pathlib.Path(__file__).with_name("model.joblib")))'


def program_of(outcome: RunOutcome) -> str:
    """Return the source of a program that reads a table, fits the winner and prints its hold-out score.

    Where a part of the pipeline has no source form, the program takes the unfitted pipeline from
    ``model.joblib`` beside it, and says so.

    Parameters
    ----------
    outcome
        The finished run.
    """
    run, prepared = outcome.run, outcome.prepared
    pipeline, imports, helpers, note = _pipeline(outcome.model)
    scorer = _scorer(prepared.metric)
    imports |= (
        {"import sys", "import numpy as np", "import pandas as pd"} | set(scorer.imports) | SPLIT_IMPORTS
    )
    head = _HEAD.format(
        name=run.name,
        note=note,
        imports=_sorted_imports(imports),
        target=json.dumps(run.target_column, ensure_ascii=False),
        features=_names(list(prepared.feature_types)),
        rows=len(prepared.row_numbers) + prepared.dropped_rows,
        sha256=json.dumps(prepared.dataset_sha256),
        score=None if outcome.holdout_score is None else f"{outcome.holdout_score:.6g}",
        helpers="".join(f"\n{helper}\n" for helper in helpers),
        pipeline=pipeline,
        metric=prepared.metric.name,
        scorer=scorer.expression,
    )
    file = prepared.schema.file
    read = _READ.format(read=file.csv_call("path"), index=".reset_index()" if file.index else "")
    return head + _target(prepared) + SPLIT + read + _TAIL + rows_source(prepared) + _END


def _target(prepared: Prepared) -> str:
    """Return the source that reads the target as the run did."""
    reading, kind = prepared.target_reading, prepared.target.dtype.kind
    numbers = kind in "iuf"
    rules = [reading.missing_rule, *(reading.notation.rules() if numbers else ())]
    lines = "".join(
        f"    ({pattern!r}, {repr(value) if isinstance(value, str) else _NAN}),\n" for pattern, value in rules
    )
    target = TARGETS["bool" if kind == "b" else "number" if numbers else "text"]
    return TARGET_RULES.format(rules=lines) + target.format(dtype=str(prepared.target.dtype))


def _pipeline(model: Any) -> tuple[str, set[str], tuple[str, ...], str]:
    """Return expression, imports, helpers and a remark for the model's construction."""
    try:
        source = source_of(model)
        compile(source.expression, "pipeline.py", "eval")
    except (Unrenderable, SyntaxError) as error:
        imports = {"import joblib", "import pathlib", "from sklearn.base import clone"}
        cause = str(error).replace("\\", "/").replace('"', "'")
        return _MODEL_FILE, imports, (), f"\nThe pipeline is taken from model.joblib, since {cause}.\n"
    # The expression stands in a function.
    expression = source.expression.replace("\n", "\n    ")
    return expression, set(source.imports), source.helpers, ""


def _scorer(metric: Any) -> Source:
    """Return the construction of the run's scorer, with the positive label and the like in it."""
    plain = Source(("from sklearn.metrics import get_scorer",), f"get_scorer({metric.name!r})")
    parts = [getattr(metric.scorer, name, None) for name in ("_score_func", "_kwargs", "_response_method")]
    function, arguments, response = parts
    if function is None or arguments is None or response is None:
        return plain
    try:
        name, *rest = (source_of(value) for value in (function, response, dict(arguments)))
    except Unrenderable:
        return plain
    greater = getattr(metric.scorer, "_sign", 1) > 0
    call = f"make_scorer(\n        {name.expression}, response_method={rest[0].expression},"
    call += f" greater_is_better={greater}"
    call += f", **{rest[1].expression}\n    )" if arguments else "\n    )"
    return Source(("from sklearn.metrics import make_scorer", *name.imports, *rest[1].imports), call)


def _sorted_imports(statements: set[str]) -> str:
    plain = sorted(s for s in statements if s.startswith("import "))
    return "\n".join([*plain, *sorted(statements - set(plain))])


def _names(names: list[str]) -> str:
    lines = "".join(f"    {json.dumps(name, ensure_ascii=False)},\n" for name in names)
    return f"[\n{lines}]"
