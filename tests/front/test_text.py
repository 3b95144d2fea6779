import pytest

from trainingjob_trainer.cli.text import (
    about_column,
    change,
    duration,
    pairs,
    plain,
    redact,
    secrets_of,
    shorten,
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("Pipeline → PCA(n=0.9)", "Pipeline → PCA(n=0.9)", id="ordinary"),
        pytest.param("\x1b[31mred\x1b]0;title\x07", "[31mred ]0;title", id="escape sequences"),
        pytest.param("two\nlines\r\nand\ttabs", "two lines and tabs", id="lines"),
        pytest.param("abc\u202egnp.exe\u2066x", "abc gnp.exe x", id="direction of writing"),
        pytest.param("[bold]x[/bold] :smile:", "[bold]x[/bold] :smile:", id="markup stays text"),
        pytest.param(3.5, "3.5", id="no text"),
    ],
)
def test_text_of_others_becomes_one_harmless_line(text: object, shown: str) -> None:
    assert plain(text) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(-1, "0 s"), (0.9, "0 s"), (59.9, "59 s"), (65, "1:05 min"), (3600, "1:00:00 h"), (7384, "2:03:04 h")],
)
def test_durations(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


def test_shortened_text_says_that_something_is_missing() -> None:
    assert shorten("abcdef", 6) == "abcdef"
    assert shorten("abcdefg", 6) == "abcde…"


def test_a_gain_has_a_sign_and_needs_both_scores() -> None:
    assert change(0.912, 0.871) == "+0.041"
    assert change(0.8, 0.9) == "-0.1"
    assert change(None, 0.9) == change(0.9, None) == ""


def test_counts_leave_out_what_did_not_occur() -> None:
    assert pairs({"ok": 0, "failed": 0}) == "0 ok"
    assert pairs({"ok": 3, "failed": 0, "timed out": 1}) == "3 ok · 1 timed out"


def test_findings_name_their_column_once() -> None:
    assert about_column("it is constant", "zip") == "column 'zip': it is constant"
    assert about_column("the column zip is constant", "zip") == "the column zip is constant"
    assert about_column("11 rows are left out", None) == "11 rows are left out"


def test_credentials_are_found_by_their_names_and_blanked() -> None:
    secrets = secrets_of(
        {
            "AWS_SECRET_ACCESS_KEY": "abcdefgh",
            "HOME": "/somewhere",
            "API_TOKEN": "abcdefgh-long",
            "MY_TOKEN": "x",
        }
    )
    assert redact("key abcdefgh-long and abcdefgh at /somewhere", secrets) == "key *** and *** at /somewhere"
