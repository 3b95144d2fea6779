from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from trainingjob_api.vocabulary import Task
from trainingjob_trainer.data.csv_file import read_csv
from trainingjob_trainer.data.target import (
    check_column,
    choose_positive,
    infer_task,
    label_target,
    number_target,
    usable_rows,
)
from trainingjob_trainer.errors import DataError, SpecInvalid, TrainingError
from trainingjob_trainer.settings import TrainerSettings

WHOLE, PARTS = list(range(20)), [i / 7 for i in range(40)]


def column(values: Any, **kwargs: Any) -> pd.Series:
    return pd.Series(values, name="y", **kwargs)


@pytest.mark.parametrize(
    ("values", "task"),
    [
        pytest.param(["a", "b"] * 5, Task.CLASSIFICATION, id="text"),
        pytest.param([True, False], Task.CLASSIFICATION, id="booleans"),
        pytest.param(column([1.5, 2.5] * 50, dtype="category"), Task.CLASSIFICATION, id="categories"),
        pytest.param([0, 1] * 5, Task.CLASSIFICATION, id="zero and one"),
        pytest.param([0.0, 1.0] * 5, Task.CLASSIFICATION, id="zero and one as floats"),
        pytest.param([0.5, 1.5] * 5, Task.CLASSIFICATION, id="two fractions"),
        pytest.param(["0", "1"] * 5, Task.CLASSIFICATION, id="zero and one as text"),
        pytest.param(WHOLE * 10, Task.CLASSIFICATION, id="20 values, ten rows each"),
        pytest.param(WHOLE * 9, Task.REGRESSION, id="20 values, nine rows each"),
        pytest.param(list(range(21)) * 10, Task.REGRESSION, id="21 values"),
        pytest.param([0, 1, 2] * 10, Task.CLASSIFICATION, id="three values, ten rows each"),
        pytest.param([0, 1, 2] * 3, Task.REGRESSION, id="three values, three rows each"),
        pytest.param(PARTS * 20, Task.REGRESSION, id="few fractions, many rows"),
        pytest.param([str(value) for value in PARTS], Task.REGRESSION, id="fractions as text"),
        pytest.param([Decimal("1.5"), Decimal("2.5"), Decimal(3)], Task.REGRESSION, id="decimals"),
        pytest.param(["1.5", "2.5", "x"] * 9, Task.CLASSIFICATION, id="numbers and text"),
    ],
)
def test_the_task_follows_from_the_values(values: Any, task: Task) -> None:
    series = values if isinstance(values, pd.Series) else column(values)
    inferred, finding = infer_task(series, Task.AUTO, None)
    assert inferred is task
    assert finding is not None
    assert "spec.task" in finding.message


@pytest.mark.parametrize(
    ("asked", "metric", "task"),
    [
        (Task.AUTO, "f1_macro", Task.CLASSIFICATION),
        (Task.AUTO, "r2", Task.REGRESSION),
        (Task.REGRESSION, None, Task.REGRESSION),
        (Task.CLASSIFICATION, None, Task.CLASSIFICATION),
        (Task.CLASSIFICATION, "f1", Task.CLASSIFICATION),
        # The pair is refused later, by the metric that does not fit.
        (Task.CLASSIFICATION, "r2", Task.CLASSIFICATION),
    ],
)
def test_metric_and_spec_decide_before_the_values(asked: Task, metric: str | None, task: Task) -> None:
    assert infer_task(column([0, 1, 2] * 20), asked, metric) == (task, None)


@pytest.mark.parametrize(
    "values",
    [
        pd.to_datetime(["2026-01-01", "2026-01-02"]),
        pd.to_timedelta([1, 2], unit="s"),
        [[1], [2]],
        [b"a", b"b"],
    ],
)
def test_targets_of_other_types_are_rejected(values: Any) -> None:
    with pytest.raises(DataError) as caught:
        infer_task(column(values), Task.AUTO, None)
    assert caught.value.reason == "TargetTypeUnsupported"


@pytest.mark.parametrize(
    ("values", "classes", "dtype"),
    [
        pytest.param(["b", "a", "b"], ("a", "b"), object, id="text"),
        pytest.param([1.0, 0.0, 1.0], (0, 1), "int64", id="floats that are whole"),
        pytest.param([True, False, True], (False, True), bool, id="booleans"),
        pytest.param(column([True, False], dtype=object), (False, True), bool, id="booleans among objects"),
        pytest.param(column([3, 1], dtype="Int64"), (1, 3), "int64", id="nullable"),
        pytest.param(column(["b", "a"], dtype="category"), ("a", "b"), object, id="categories"),
        pytest.param(column([2, 1], dtype="category"), (1, 2), "int64", id="categories of numbers"),
        pytest.param([1.5, 0.5, 1.5], ("0.5", "1.5"), object, id="fractions"),
        pytest.param(column([1, "a"], dtype=object), ("1", "a"), object, id="mixed"),
        pytest.param([Decimal(1), Decimal(2)], (1, 2), "int64", id="decimals"),
    ],
)
def test_labels_are_the_original_ones(values: Any, classes: tuple[Any, ...], dtype: Any) -> None:
    target, found, _ = label_target(values if isinstance(values, pd.Series) else column(values))
    assert found.labels == classes
    assert [type(label) for label in found.labels] == [type(label) for label in classes]
    assert target.dtype == np.dtype(dtype)
    assert [found.labels[code] for code in found.codes] == target.tolist()
    assert sum(found.counts) == len(target)


def test_one_class_is_rejected() -> None:
    with pytest.raises(DataError, match="'y'") as caught:
        label_target(column(["a", "a"]))
    assert caught.value.reason == "TargetSingleClass"


@pytest.mark.parametrize(
    ("values", "reason", "words"),
    [
        (["1", "2", "x", "x", "y"], "TargetNotNumeric", ["'x'", "'y'", "3 of 5"]),
        (column(["1", "low"], dtype="category"), "TargetNotNumeric", ["'low'"]),
        ([2, 2, 2], "TargetConstant", ["2"]),
    ],
)
def test_invalid_regression_targets_are_rejected(values: Any, reason: str, words: list[str]) -> None:
    with pytest.raises(DataError) as caught:
        number_target(values if isinstance(values, pd.Series) else column(values))
    assert caught.value.reason == reason
    assert all(word in caught.value.message for word in words)


def test_regression_targets_are_read_in_all_notations() -> None:
    for values in (["1.5", " 2 "], [Decimal("1.5"), Decimal(2)], column([1.5, 2], dtype="Float64"),
                   column([1.5, 2.0], dtype="category")):  # fmt: skip
        numbers = number_target(values if isinstance(values, pd.Series) else column(values))
        assert numbers.dtype == np.float64
        assert numbers.tolist() == [1.5, 2.0]


def test_rows_without_a_target_are_left_out() -> None:
    assert usable_rows(column([1.0, np.nan, np.inf, -np.inf])).tolist() == [True, False, False, False]
    assert usable_rows(column(["a", None])).tolist() == [True, False]
    assert usable_rows(column([1, None], dtype="Int64")).tolist() == [True, False]
    for empty in ([np.nan, np.inf], [None, None]):
        with pytest.raises(DataError) as caught:
            usable_rows(column(empty))
        assert caught.value.reason == "TargetAllMissing"


@pytest.mark.parametrize(
    ("values", "asked", "label"),
    [
        (["no", "no", "yes"], None, "yes"),
        (["no", "yes", "yes"], None, "no"),
        (["no", "yes"], None, "yes"),
        ([0, 1, 1], "1", 1),
        ([0, 1, 1], "1.0", 1),
        ([0, 1, 1], " 0 ", 0),
        ([True, False], "true", True),
        ([True, False], "0", False),
        (["1", "0"], "1", "1"),
        ([0, 1, 1], None, 1),
        ([0.0, 1.0, 1.0], None, 1),
        ([False, True, True], None, True),
        (["0", "1", "1"], None, "1"),
        (["0.0", "1.0", "1.0"], None, "1.0"),
        (["False", "True", "True"], None, "True"),
        (["FALSE", "TRUE", "TRUE"], None, "TRUE"),
        (["false", "TRUE", "TRUE"], None, "TRUE"),
        (["false", "1", "1"], None, "false"),
        ([1, 2, 2], None, 1),
        ([-1, 1, 1], None, -1),
        (["a", "b", "c"], None, None),
        (["a", "b", "c"], "a", None),
    ],
)
def test_the_positive_label_follows_spec_values_and_rarity(
    values: list[Any], asked: str | None, label: Any
) -> None:
    found, findings = choose_positive(label_target(column(values))[1], asked, "y")
    assert found == label
    assert type(found) is type(label)
    assert bool(findings) == (
        (asked is None and label is not None) or (len(set(values)) > 2 and asked is not None)
    )


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([0, 1, 1], "The positive label is 1, as usual where the labels are 0 and 1;"),
        ([False, True, True], "The positive label is True, as usual where the labels are False and True;"),
        (["a b", "it's", "it's"], "The positive label is 'a b', the rarer one;"),
        (["a", "b"], "The positive label is 'b', the later one of two that are equally frequent;"),
    ],
)
def test_a_finding_names_the_reason_for_the_positive_label(values: list[Any], words: str) -> None:
    _, (finding,) = choose_positive(label_target(column(values))[1], None, "y")
    assert finding.message == f"{words} set spec.positiveLabel if this is wrong"


def test_an_unknown_positive_label_is_rejected() -> None:
    with pytest.raises(SpecInvalid) as caught:
        choose_positive(label_target(column(["no", "yes"]))[1], "Yes", "y")
    assert caught.value.reason == "PositiveLabelUnknown"
    assert "'yes', 'no'" in caught.value.message


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Chrned", "'churned'"),
        (" churned", "'churned'"),
        ("CHURNED", "'churned'"),
        ("zzz", "none of its 2 columns"),
    ],
)
def test_a_missing_target_column_names_the_nearest(name: str, words: str) -> None:
    frame = pd.DataFrame({"age": [1], "churned": [2]})
    with pytest.raises(TrainingError) as caught:
        check_column(frame, name, "spec.targetColumn", "TargetColumnMissing")
    assert caught.value.reason == "TargetColumnMissing"
    assert words in caught.value.message


@pytest.mark.parametrize(
    "line", ['{"token": "hidden", "x": 1}', "root:hidden:0,1", "hidden,hidden", "hidden" * 20 + ",b"]
)
def test_a_file_of_another_kind_is_not_read_back_through_a_missing_column(tmp_path: Path, line: str) -> None:
    path = tmp_path / "stored"
    path.write_text(f"{line}\n{line}\n")

    def look() -> None:
        frame, _ = read_csv(path, TrainerSettings(), None)
        check_column(frame, "y", "spec.targetColumn", "TargetColumnMissing")

    with pytest.raises(TrainingError) as caught:
        look()
    assert "hidden" not in caught.value.message
