"""Numbers and verdict of the report, as words."""

from __future__ import annotations

import pytest

from trainingjob_trainer.artifacts.page import duration, number, searched_baseline, size_text, verdict


@pytest.mark.parametrize(
    ("key", "rows", "shown"), [("a", 64_000, 0.5), ("b", 8_000, 0.6), ("b", 64_000, None)]
)
def test_the_baseline_in_a_picture_is_scored_on_the_rows_of_the_others(key, rows, shown):
    data = {"timeline": {"evaluations": [{"key": "a", "score": 0.5}, {"key": "c", "score": None}]}}
    summary = {"baseline": {"key": key, "score": 0.6, "trainRows": rows}}
    assert searched_baseline({"points": [{"trainRows": 8_000}]}, summary, data) == shown


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "\N{EN DASH}"),
        (float("nan"), "\N{EN DASH}"),
        (0.5, "0.5000"),
        (-0.00001, "\N{MINUS SIGN}1e\N{MINUS SIGN}05"),
        (0.0, "0"),
        (123.456, "123.5"),
        (1234567.0, "1,234,567"),
    ],
)
def test_numbers_are_shown_with_six_digits(value, text):
    assert number(value) == text


def test_durations_and_sizes_have_suitable_units():
    texts = [duration(seconds) for seconds in (0.034, 2.5, 75.4, 150, 7300)]
    assert texts == ["0.034 s", "2.5 s", "75 s", "2 min 30 s", "2 h 01 min"]
    sizes = [size_text(kib) for kib in (2.5, 999.6, 2048, 3 * 1024**2)]
    assert sizes == ["2.5 KiB", "0.976 MiB", "2 MiB", "3 GiB"]
    assert duration(None) == size_text(None) == "\N{EN DASH}"


def told(*, key="a", score=0.9, base=0.8, source="tpot", **changes):
    summary = {
        "metric": "f1",
        "modelSource": source,
        "best": {"key": key},
        "baseline": {"key": "b"},
        "holdout": {"score": score, "baselineScore": base},
        "search": {"automlEnabled": True},
        "fallbacks": [],
    }
    return verdict({**summary, **changes})


def test_the_page_names_a_better_pipeline_that_could_not_be_fitted():
    found = told(source="baseline", notFitted=[{}, {}], fallbacks=[{}])
    assert found["text"].startswith("2 pipelines scored better in cross-validation but could not be fitted")
    assert "One pipeline scored better" in told(notFitted=[{}])["text"]
    assert "better" in told(source="baseline")["text"]


@pytest.mark.parametrize(
    ("found", "title"),
    [
        (told(), "The search beat the baseline"),
        (told(key="b"), "Nothing beat the baseline"),
        (told(score=0.8), "The search did not beat the baseline on the hold-out rows"),
        (told(score=None), "The model comes from the search"),
        (told(source="baseline"), "The model is the baseline"),
        (told(source="baseline", notFitted=[{}]), "The model is the baseline"),
        (told(notFitted=[{}]), "The search beat the baseline"),
        (told(source="baseline", search={"automlEnabled": False}), "The model is the baseline"),
    ],
)
def test_the_verdict_claims_no_more_than_the_interval_shows(found, title):
    assert found["title"] == title
    assert (found["tone"] == "good") == (title == "The search beat the baseline")
