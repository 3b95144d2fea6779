import json
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from support.data_runs import run_for, table_of
from trainingjob_api import Reason
from trainingjob_api.vocabulary import FeatureType, Severity, Task
from trainingjob_trainer import data
from trainingjob_trainer.data import FindingKind
from trainingjob_trainer.data.load import make_sample
from trainingjob_trainer.data.prepare import Prepared, describe_input, prepare
from trainingjob_trainer.errors import TrainingError

ROWS = 200
RNG = np.random.default_rng(0)


def frame(**columns: Any) -> pd.DataFrame:
    base = {"x": RNG.normal(size=ROWS), "y": np.resize(["no", "no", "yes"], ROWS)}
    return pd.DataFrame(base | columns)


def ready(table: pd.DataFrame, target: str = "y", /, **spec: Any) -> Prepared:
    return prepare(table_of(table), run_for(target, **spec))


def kinds(prepared: Prepared) -> set[FindingKind]:
    return {finding.kind for finding in prepared.findings}


@pytest.mark.parametrize("target", ["y", "self"])
def test_columns_may_have_the_names_of_arguments(target: str) -> None:
    words = ["self", "cls", "frame", "index", "columns", "class", "lambda", "None", "copy", target]
    numbers = RNG.normal(size=(ROWS, len(words)))
    table = pd.DataFrame(dict(zip(words, numbers.T, strict=True)))
    texts = table.map("{:.2f}".format)
    for given in (table.where(table < 2, np.inf).assign(y=0.5 * numbers[:, 0]), texts):
        prepared = prepare(table_of(given.drop_duplicates(target)), run_for(target, task="regression"))
        assert set(words) - {target} <= set(prepared.feature_types)
        assert set(prepared.feature_types.values()) == {FeatureType.NUMERIC}


def test_a_messy_classification_table_is_prepared() -> None:
    prepared = prepare(make_sample("messy_churn"), run_for("churned"))
    assert prepared.task is Task.CLASSIFICATION
    assert prepared.metric.name == "accuracy"
    assert prepared.classes == ("no", "yes")
    assert prepared.positive_label == "yes"
    assert prepared.dropped_rows > 0
    assert len(prepared.frame) == len(prepared.target) == 4040 - prepared.dropped_rows
    assert list(prepared.frame.columns) == list(prepared.feature_types)
    assert not {"customer_id", "country", "churned"} & set(prepared.feature_types)
    assert {"signup_date", "comment", "town", "usage_gb"} <= set(prepared.feature_types)
    assert prepared.feature_types["comment"] is FeatureType.TEXT
    assert prepared.feature_types["signup_date"] is FeatureType.DATETIME
    assert prepared.feature_types["usage_gb"] is FeatureType.NUMERIC
    assert not np.isinf(prepared.frame["charge_per_half_year"]).any()
    assert kinds(prepared) == {
        FindingKind.TARGET_MISSING,
        FindingKind.TASK_INFERRED,
        FindingKind.POSITIVE_LABEL,
        FindingKind.IMBALANCED,
        FindingKind.INFINITE,
        FindingKind.IDENTIFIER,
        FindingKind.PLACEHOLDERS,
        FindingKind.CONSTANT,
        FindingKind.DUPLICATES,
    }
    assert prepared.cv_folds == len(prepared.folds) == 5
    assert not set(prepared.holdout_index) & set(prepared.train_index)


def test_a_messy_regression_table_is_prepared() -> None:
    prepared = prepare(make_sample("messy_prices"), run_for("price"))
    assert prepared.task is Task.REGRESSION
    assert prepared.metric.name == "r2"
    assert prepared.classes is None
    assert prepared.target.dtype == np.float64
    assert prepared.feature_types["listed_at"] is FeatureType.DATETIME
    assert not {"row", "renovated"} & set(prepared.feature_types)


def test_a_prepared_table_survives_a_pickle_and_is_reproducible() -> None:
    run = run_for("churned", randomState=7)
    first, again = (prepare(make_sample("messy_churn"), run) for _ in range(2))
    copy = pickle.loads(pickle.dumps(first))
    for other in (again, copy):
        assert np.array_equal(first.holdout_index, other.holdout_index)
        assert first.findings == other.findings
        assert describe_input(first, "churned") == describe_input(other, "churned")
        for a, b in zip(first.folds, other.folds, strict=True):
            assert np.array_equal(a[0], b[0])
            assert np.array_equal(a[1], b[1])
    assert not np.array_equal(
        first.holdout_index, prepare(make_sample("messy_churn"), run_for("churned")).holdout_index
    )


def test_the_schema_is_json_without_values_of_the_table() -> None:
    prepared = ready(frame(c=np.resize(["alpha", "beta"], ROWS)))
    data = json.loads(json.dumps(describe_input(prepared, "y"), allow_nan=False))
    assert data["target"] == "y"
    assert data["task"] == "classification"
    assert data["classes"] == ["no", "yes"]
    assert data["positiveLabel"] == "yes"
    column = {
        "name": "c",
        "dtype": "str",
        "type": "categorical",
        "missing": 0,
        "categories": 2,
        "reading": {},
    }
    assert column in data["columns"]
    assert data["file"]["readWith"] == 'pd.read_csv("new-rows.csv", dtype=str, keep_default_na=False)'
    assert "alpha" not in json.dumps(data)


def test_groups_and_times_are_kept_apart_from_the_features() -> None:
    table = frame(g=np.arange(ROWS) % 10, t=pd.date_range("2026-01-01", periods=ROWS))
    grouped = ready(table, validation={"groupColumn": "g"})
    assert "g" not in grouped.feature_types
    assert grouped.groups is not None
    assert not set(grouped.groups[grouped.train_index]) & set(grouped.groups[grouped.holdout_index])
    timed = ready(table, validation={"timeColumn": "t"})
    assert "t" not in timed.feature_types
    assert timed.groups is None
    assert timed.train_index.max() < timed.holdout_index.min()
    assert FindingKind.ROLE in kinds(timed)
    asked = ready(table, validation={"timeColumn": "t"}, featureTypes={"t": "datetime"})
    assert asked.feature_types["t"] is FeatureType.DATETIME


def test_rows_without_time_are_dropped_and_rows_without_group_kept() -> None:
    times = pd.Series(pd.date_range("2026-01-01", periods=ROWS).strftime("%Y-%m-%d")).mask(
        np.arange(ROWS) < 3
    )
    timed = ready(frame(t=times), validation={"timeColumn": "t"})
    assert timed.dropped_rows == 3
    assert FindingKind.ROWS_WITHOUT_TIME in kinds(timed)
    groups = pd.Series(np.arange(ROWS) % 10, dtype="float64").mask(np.arange(ROWS) < 20)
    grouped = ready(frame(g=groups), validation={"groupColumn": "g"})
    assert grouped.dropped_rows == 0
    assert FindingKind.ROWS_WITHOUT_GROUP in kinds(grouped)


def test_a_time_may_be_a_number() -> None:
    order = RNG.permutation(ROWS)
    prepared = ready(frame(t=order), validation={"timeColumn": "t"})
    assert order[prepared.train_index].max() < order[prepared.holdout_index].min()


def test_a_leaking_column_is_reported_and_kept() -> None:
    table = frame()
    prepared = ready(table.assign(gone=(table["y"] == "yes") * 5.0 + RNG.random(ROWS)))
    [leak] = [finding for finding in prepared.findings if finding.kind is FindingKind.LEAKAGE]
    assert leak.column == "gone"
    assert leak.severity is Severity.WARNING
    assert "gone" in prepared.feature_types


DAYS = np.resize(np.arange(1, 13), 400)
MONTHS = np.repeat(np.arange(1, 13), 34)[:400]
AMBIGUOUS = pd.Series([f"{day:02}/{month:02}/2025" for day, month in zip(DAYS, MONTHS, strict=True)])
DAY_FIRST = {"dataset": {"uri": "file://table.csv", "csv": {"dayFirst": True}}}


def test_the_leak_check_reads_dates_as_training_does() -> None:
    table = pd.DataFrame({"when": AMBIGUOUS, "x": RNG.normal(size=400), "y": MONTHS * 30.0 + DAYS})
    found = [
        [finding.column for finding in prepared.findings if finding.kind is FindingKind.LEAKAGE]
        for prepared in (ready(table, **DAY_FIRST), ready(table))
    ]
    assert found == [["when"], []]


@pytest.mark.parametrize("types", [{}, {"when": "ignore"}, {"when": "datetime"}])
def test_rows_are_ordered_by_dates_as_training_reads_them(types: dict[str, str]) -> None:
    table = pd.DataFrame({"when": AMBIGUOUS, "x": RNG.normal(size=400), "y": np.resize(["no", "yes"], 400)})
    prepared = ready(table, validation={"timeColumn": "when"}, featureTypes=types, **DAY_FIRST)
    days = MONTHS * 100 + DAYS
    assert days[prepared.train_index].max() < days[prepared.holdout_index].min()


def few_of_a_class() -> pd.DataFrame:
    return frame(y=["rare"] + ["a", "b"] * 99 + ["a"])


BAD = [
    pytest.param(frame(), "why", {}, "TargetColumnMissing", "none of its", id="target missing"),
    pytest.param(frame(y=[None] * ROWS), "y", {}, "TargetAllMissing", "'y'", id="target empty"),
    pytest.param(frame(y=["a"] * ROWS), "y", {}, "TargetSingleClass", "label a", id="one class"),
    pytest.param(few_of_a_class(), "y", {}, "ClassTooSmall", "rare", id="class too small"),
    pytest.param(frame(), "y", {"task": "regression"}, "TargetNotNumeric", "'no'", id="target not numeric"),
    pytest.param(
        frame(y=[3] * ROWS), "y", {"task": "regression"}, "TargetConstant", "3", id="target constant"
    ),
    pytest.param(
        frame(y=pd.date_range("2026-01-01", periods=ROWS)),
        "y",
        {},
        "TargetTypeUnsupported",
        "date",
        id="dates",
    ),
    pytest.param(frame(), "y", {"metric": "f2"}, "UnknownMetric", "'f1'", id="unknown metric"),
    pytest.param(
        frame(), "y", {"metric": "r2", "task": "classification"}, "MetricDoesNotFit", "accuracy", id="metric"
    ),
    pytest.param(
        frame(), "y", {"metric": "r2"}, "TargetNotNumeric", "'no'", id="the metric decides the task"
    ),
    pytest.param(
        frame(y=np.resize(["a", "b", "c"], ROWS)),
        "y",
        {"metric": "f1"},
        "MetricDoesNotFit",
        "f1_macro",
        id="f1",
    ),
    pytest.param(
        frame(y=-np.arange(ROWS) / 3),
        "y",
        {"metric": "neg_mean_gamma_deviance"},
        "TargetOutOfRange",
        "-66",
        id="range",
    ),
    pytest.param(
        frame(), "y", {"positiveLabel": "yess"}, "PositiveLabelUnknown", "'yes'", id="positive label"
    ),
    pytest.param(
        frame(), "y", {"featureTypes": {"xx": "numeric"}}, "UnknownColumn", "'x'", id="unknown column"
    ),
    pytest.param(
        frame(c=np.resize(["u", "v"], ROWS)),
        "y",
        {"featureTypes": {"c": "numeric"}},
        "FeatureTypeImpossible",
        "'c'",
        id="type",
    ),
    pytest.param(frame(x=[1] * ROWS), "y", {}, "NoFeatures", "constant", id="no features"),
    pytest.param(
        frame(),
        "y",
        {"validation": {"groupColumn": "g"}},
        "ValidationColumnMissing",
        "groupColumn",
        id="group",
    ),
    pytest.param(
        frame(), "y", {"validation": {"timeColumn": "t"}}, "ValidationColumnMissing", "timeColumn", id="time"
    ),
    pytest.param(
        frame(g=np.arange(ROWS) % 2),
        "y",
        {"validation": {"groupColumn": "g"}},
        "TooFewGroups",
        "2 group",
        id="groups",
    ),
    pytest.param(
        frame(t=np.resize(["u", "v"], ROWS)),
        "y",
        {"validation": {"timeColumn": "t"}},
        "TimeColumnUnreadable",
        "'t'",
        id="times",
    ),
    pytest.param(
        frame(t=np.arange(ROWS), y=np.repeat(["a", "b"], [140, 60])),
        "y",
        {"validation": {"timeColumn": "t"}},
        "FoldsSingleClass",
        "timeColumn",
        id="late class",
    ),
    pytest.param(
        frame().head(3).assign(y=[1.5, 2.5, 3.5]), "y", {}, "TooFewRows", "3 row", id="too few rows"
    ),
]


@pytest.mark.parametrize(("table", "target", "spec", "reason", "word"), BAD)
def test_bad_input_has_a_reason_of_its_own(
    table: pd.DataFrame, target: str, spec: dict[str, Any], reason: str, word: str
) -> None:
    with pytest.raises(TrainingError) as caught:
        ready(table, target, **spec)
    assert caught.value.reason == reason
    assert word in caught.value.message
    assert caught.value.exit_code == 2
    assert len(caught.value.message) < 2500


def raised_reasons() -> set[str]:
    """Return every reason that the package's sources name."""
    text = "".join(path.read_text() for path in Path(data.__path__[0]).glob("*.py"))
    return {Reason[name].value for name in re.findall(r"Reason\.([A-Z_]+)", text)}


def test_the_document_has_every_reason_and_every_finding() -> None:
    document = (Path(__file__).parents[2] / "docs" / "data.md").read_text()
    listed = set(re.findall(r"^\| `([A-Z]\w+)`", document, re.MULTILINE))
    assert {"TargetColumnMissing", "DatasetUnreadable"} <= raised_reasons() <= listed
    assert {kind.value for kind in FindingKind} <= listed


@pytest.mark.parametrize("beside", ["number", "list", "nothing"])
def test_copies_are_recognised_by_the_columns_in_use(beside: str) -> None:
    rng = np.random.default_rng(5)
    table = pd.DataFrame(rng.normal(size=(300, 4)), columns=list("abcd"))
    table["y"] = np.where(rng.random(300) < 0.2, "yes", "no")
    rare = table[table["y"] == "yes"]
    table = pd.concat([table, rare, rare]).sample(frac=1, random_state=0).reset_index(drop=True)
    if beside == "number":
        table.insert(0, "id", np.arange(len(table)))
    if beside == "list":
        table["tags"] = [["a"]] * len(table)
    prepared = ready(table)
    (told,) = [finding for finding in prepared.findings if finding.kind is FindingKind.DUPLICATES]
    assert "equal rows are kept on the same side of each split" in told.message
    rows = [tuple(row) for row in prepared.frame.itertuples(index=False)]
    sides = [(prepared.train_index, prepared.holdout_index), *prepared.folds]
    for left, right in sides:
        assert not {rows[i] for i in left} & {rows[i] for i in right}


def test_how_columns_were_read_is_written_to_the_schema() -> None:
    table = frame(
        price=[f"{n:,}.50 €".replace(",", "'") for n in range(1000, 1000 + ROWS)],
        at=[f"{n % 24:02d}:{n % 60:02d}" for n in range(ROWS)],
        day=["03/04/2025", "05/06/2025"] * (ROWS // 2),
    ).astype("str")
    schema = describe_input(ready(table), "y")
    formats = {column["name"]: column["reading"] for column in schema["columns"]}
    assert formats["price"] == {"decimal": ".", "thousands": "'", "symbol": "€"}
    assert formats["at"] == {"timeOfDay": True}
    assert formats["day"] == {"dateFormat": "%m/%d/%Y"}
    assert schema["file"] == {
        "format": "csv",
        "readWith": 'pd.read_csv("new-rows.csv", dtype=str, keep_default_na=False)',
        "separator": ",",
        "encoding": "utf-8",
        "skippedLines": 0,
    }
