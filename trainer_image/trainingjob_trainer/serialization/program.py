"""``pipeline.py``: the winner as a program that fits it again."""

import json
from typing import Any

from trainingjob_api import Task, ValidationStrategy
from trainingjob_trainer.outcome import RunOutcome
from trainingjob_trainer.serialization.source import Source, Unrenderable, source_of

__all__ = ["program_of"]

_HEAD = '''"""The pipeline that the TrainingJob {name} found, as a program that fits it again.

Made with the packages in requirements.txt, and needs nothing else:

    python pipeline.py TABLE        a CSV or Parquet file with the columns below

It fits the pipeline without a hold-out part of the rows and prints its score on them.
{note}"""

{imports}

TARGET = {target}
FEATURES = {features}
HOLDOUT_FRACTION = {fraction}
RANDOM_STATE = {seed}

{helpers}
def make_pipeline():
    """Return the pipeline, not fitted: the encoder of the raw table, then the model."""
    return {pipeline}


def make_scorer_of_run():
    """Return the scorer that the pipelines were compared by ({metric}); greater is better."""
    return {scorer}

'''

_TAIL = '''
def read_table(path):
    """Read a CSV file, whatever its delimiter, or a Parquet file."""
    if path.endswith(".parquet"):
        return pd.read_parquet(path)
    for delimiter in ",;\\t|":
        options = {"sep": delimiter, "encoding": "utf-8-sig", "index_col": False}
        if TARGET in pd.read_csv(path, nrows=0, **options).columns:
            return pd.read_csv(path, low_memory=False, float_precision="round_trip", **options)
    sys.exit(f"{path} has no column {TARGET!r}")


def main(path):
    """Fit without the hold-out rows and print the score on them."""
    table = read_table(path)
    table = table[table[TARGET].notna()].reset_index(drop=True)
    train, test = split(table)
    pipeline = make_pipeline().fit(train[FEATURES], target_of(train))
    score = make_scorer_of_run()(pipeline, test[FEATURES], target_of(test))
    print(f"{len(train)} rows for training, {len(test)} set aside")
    print(f"hold-out score: {score:.6g}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
'''
_HELPER_END = "\n\n"

_TARGETS = {
    "text": '''
def target_of(table):
    """Return the labels."""
    return table[TARGET].astype(object).to_numpy()

''',
    "number": '''
def target_of(table):
    """Return the values to predict."""
    return pd.to_numeric(table[TARGET]).to_numpy(dtype="float64")

''',
}
_SPLITS = {
    "stratified": '''
def split(table):
    """Set a part of the rows aside, with the classes in equal shares."""
    return train_test_split(
        table, test_size=HOLDOUT_FRACTION, random_state=RANDOM_STATE, stratify=table[TARGET]
    )

''',
    "random": '''
def split(table):
    """Set a part of the rows aside."""
    return train_test_split(table, test_size=HOLDOUT_FRACTION, random_state=RANDOM_STATE)

''',
    "group": '''
def split(table):
    """Set whole groups of rows aside."""
    splitter = GroupShuffleSplit(n_splits=1, test_size=HOLDOUT_FRACTION, random_state=RANDOM_STATE)
    train, test = next(splitter.split(table, groups=table[GROUP].astype(str)))
    return table.iloc[train], table.iloc[test]

''',
    "time": '''
def split(table):
    """Set the latest rows aside."""
    table = table.sort_values(TIME, kind="stable")
    first = round(len(table) * (1 - HOLDOUT_FRACTION))
    return table.iloc[:first], table.iloc[first:]

''',
}
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
    kind, constant = _split(outcome)
    imports |= set(scorer.imports) | {"import sys", "import pandas as pd"} | _SPLIT_IMPORTS[kind]
    head = _HEAD.format(
        name=run.name,
        note=note,
        imports=_sorted_imports(imports),
        target=json.dumps(run.target_column, ensure_ascii=False),
        features=_names(list(prepared.feature_types)),
        fraction=run.validation.holdout_fraction,
        seed=f"{run.random_state}{constant}",
        helpers="".join(f"\n{helper}\n" for helper in helpers),
        pipeline=pipeline,
        metric=prepared.metric.name,
        scorer=scorer.expression,
    )
    target = _TARGETS["number" if prepared.task == Task.REGRESSION else "text"]
    return head + target + _SPLITS[kind] + _TAIL


_SPLIT_IMPORTS: dict[str, set[str]] = {
    "stratified": {"from sklearn.model_selection import train_test_split"},
    "random": {"from sklearn.model_selection import train_test_split"},
    "group": {"from sklearn.model_selection import GroupShuffleSplit"},
    "time": set(),
}


def _pipeline(model: Any) -> tuple[str, set[str], tuple[str, ...], str]:
    """Return expression, imports, helpers and a remark for the model's construction."""
    try:
        source = source_of(model)
        compile(source.expression, "pipeline.py", "eval")
    except (Unrenderable, SyntaxError) as error:
        imports = {"import joblib", "import pathlib", "from sklearn.base import clone"}
        return _MODEL_FILE, imports, (), f"\nThe pipeline is taken from model.joblib, since {error}.\n"
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


def _split(outcome: RunOutcome) -> tuple[str, str]:
    """Return the kind of split and the lines with the constants that it needs."""
    validation = outcome.run.validation
    match validation.strategy:
        case ValidationStrategy.GROUP:
            return "group", f"\nGROUP = {json.dumps(validation.group_column, ensure_ascii=False)}"
        case ValidationStrategy.TIME:
            return "time", f"\nTIME = {json.dumps(validation.time_column, ensure_ascii=False)}"
        case _ if outcome.prepared.task == Task.CLASSIFICATION:
            return "stratified", ""
        case _:
            return "random", ""


def _sorted_imports(statements: set[str]) -> str:
    plain = sorted(s for s in statements if s.startswith("import "))
    return "\n".join([*plain, *sorted(statements - set(plain))])


def _names(names: list[str]) -> str:
    lines = "".join(f"    {json.dumps(name, ensure_ascii=False)},\n" for name in names)
    return f"[\n{lines}]"
