from typing import Any

import numpy as np
import pandas as pd
import pytest

from support.data_runs import run_for
from trainingjob_api.vocabulary import Severity, Task
from trainingjob_trainer.data import FindingKind
from trainingjob_trainer.data.csv_file import CsvLayout
from trainingjob_trainer.data.load import Table, TableFile
from trainingjob_trainer.data.prepare import Prepared, prepare
from trainingjob_trainer.errors import DataError

ROWS = 300
RNG = np.random.default_rng(3)
PRICES = RNG.permutation(np.arange(ROWS) * 911 + 20_000)


def ready(target: Any, separator: str = ",", **spec: Any) -> Prepared:
    beside = pd.Series(RNG.normal(size=ROWS).round(2).astype(str))
    if separator == ";":
        beside = beside.str.replace(".", ",")
    frame = pd.DataFrame({"a": beside, "y": target}).astype("str")
    table = Table(
        frame=frame,
        sha256="0" * 64,
        size_bytes=1,
        file=TableFile("csv", CsvLayout(separator=separator)),
    )
    return prepare(table, run_for(**spec))


def told(prepared: Prepared, kind: FindingKind) -> list[str]:
    return [
        finding.message for finding in prepared.findings if finding.kind is kind and finding.column == "y"
    ]


@pytest.mark.parametrize(
    ("texts", "separator"),
    [
        ([f"${v:,}" for v in PRICES], ","),
        ([f"{v:,}" for v in PRICES], ","),
        ([f"{v:,} €".replace(",", ".") for v in PRICES], ";"),
        ([f"{v:,}".replace(",", "'") for v in PRICES], ","),
        ([f"{v}%" for v in PRICES], ","),
    ],
)
def test_numeric_targets_in_other_notations_are_a_regression(texts: list[str], separator: str) -> None:
    prepared = ready(texts, separator)
    assert prepared.task is Task.REGRESSION
    assert np.array_equal(prepared.target, PRICES)
    assert told(prepared, FindingKind.NUMBER_NOTATION)


def test_a_known_placeholder_leaves_its_rows_out() -> None:
    prepared = ready(["n.d.", "n.d.", "-", *PRICES[3:].astype(str)])
    assert prepared.task is Task.REGRESSION
    assert np.array_equal(prepared.target, PRICES[3:])
    (message,) = told(prepared, FindingKind.PLACEHOLDERS)
    assert "'n.d.' (2), '-' (1)" in message
    assert "spec.dataset.csv.missingValues" in message


@pytest.mark.parametrize("spec", [{}, {"task": "regression"}, {"metric": "r2"}])
def test_unreadable_values_are_named_with_a_working_remedy(spec: dict[str, Any]) -> None:
    texts = ["sold", "12 or 13", *PRICES[2:].astype(str)]
    with pytest.raises(DataError) as caught:
        ready(texts, **spec)
    assert caught.value.reason == "TargetNotNumeric"
    assert "2 of 300 values of 'y' are no numbers: 'sold' (1), '12 or 13' (1)" in str(caught.value)
    assert "spec.dataset.csv.missingValues: ['sold', '12 or 13']" in str(caught.value)
    csv = {"missingValues": ["sold", "12 or 13"]}
    prepared = ready(texts, dataset={"uri": "file://t.csv", "csv": csv}, **spec)
    assert np.array_equal(prepared.target, PRICES[2:])


def test_a_repeated_word_is_not_a_placeholder_in_a_target() -> None:
    with pytest.raises(DataError, match=r"spec\.dataset\.csv\.missingValues: \['sold'\]"):
        ready(["sold", "sold", "sold", *PRICES[3:].astype(str)])


def test_a_few_numbers_with_a_word_are_labels() -> None:
    labels = np.resize(["1", "2", "3", "other"], ROWS)
    prepared = ready(labels)
    assert prepared.task is Task.CLASSIFICATION
    assert prepared.classes == ("1", "2", "3", "other")


def test_marks_stay_in_labels() -> None:
    labels = np.resize(["1,5", "2,5"], ROWS)
    assert ready(labels, ";", task="classification").classes == ("1,5", "2,5")


@pytest.mark.parametrize("word", ["None", "NA", "null", "nan"])
@pytest.mark.parametrize(("share", "kept"), [(0.2, True), (0.02, False)])
def test_a_word_for_a_missing_value_is_a_label_where_it_is_frequent(
    word: str, share: float, kept: bool
) -> None:
    texts = np.where(np.arange(ROWS) < share * ROWS, word, np.resize(["mild", "severe"], ROWS))
    prepared = ready(texts)
    assert prepared.classes == tuple(sorted(["mild", "severe", *([word] if kept else [])]))
    (message,) = told(prepared, FindingKind.LABEL_WORDS)
    assert repr(word) in message
    assert "spec.dataset.csv.missingValues" in message
    assert (prepared.dropped_rows == 0) is kept
    # The job decides over the share.
    dataset = {"uri": "file://t.csv", "csv": {"missingValues": [word] if kept else []}}
    other = ready(texts, dataset=dataset)
    assert (word in (other.classes or ())) is not kept
    assert not told(other, FindingKind.LABEL_WORDS)


def test_empty_targets_are_left_out_whatever_the_job_lists() -> None:
    texts = np.where(np.arange(ROWS) < 100, "", np.resize(["a", "b"], ROWS))
    prepared = ready(texts, dataset={"uri": "file://t.csv", "csv": {"missingValues": []}})
    assert prepared.classes == ("a", "b")
    assert prepared.dropped_rows == 100


def test_labels_that_differ_in_spaces_or_case_are_reported_and_kept() -> None:
    prepared = ready(np.resize(["yes", "Yes ", "no", "no"], ROWS))
    assert prepared.classes == ("Yes ", "no", "yes")
    (message,) = told(prepared, FindingKind.SIMILAR_LABELS)
    assert "'yes' and 'Yes '" in message


def test_labels_with_leading_zeros_stay_text() -> None:
    prepared = ready(np.resize(["01", "02", "10"], ROWS))
    assert prepared.classes == ("01", "02", "10")
    assert told(prepared, FindingKind.LEADING_ZEROS)


def test_long_labels_lose_no_digit() -> None:
    labels = ["90071992547409930", "90071992547409931"]
    prepared = ready(["", *np.resize(labels, ROWS - 1)])
    assert prepared.classes == tuple(labels)
    assert told(prepared, FindingKind.LONG_CODES)


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["0", "1"], (0, 1)),
        (["True", "False"], (False, True)),
        (["yes", "no"], ("no", "yes")),
        (["1", "2", "3"], (1, 2, 3)),
    ],
)
def test_plain_labels_have_the_types_that_pandas_gives_them(
    labels: list[str], classes: tuple[Any, ...]
) -> None:
    prepared = ready(np.resize(labels, ROWS))
    assert prepared.classes == classes
    assert [type(label) for label in prepared.classes or ()] == [type(label) for label in classes]


def test_what_was_assumed_of_the_target_is_a_finding_with_the_right_severity() -> None:
    prepared = ready([f"${v:,}" for v in PRICES])
    severities = {finding.kind: finding.severity for finding in prepared.findings if finding.column == "y"}
    assert severities[FindingKind.NUMBER_NOTATION] is Severity.INFO
