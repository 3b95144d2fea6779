import pytest

from trainingjob_api.text import shorten
from trainingjob_trainer.cli.text import (
    about_column,
    change,
    counts_text,
    duration,
    label_text,
    plain,
    redact,
    secrets_of,
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("Pipeline → PCA(n=0.9)", "Pipeline → PCA(n=0.9)", id="ordinary"),
        pytest.param("\x1b[31mred\x1b]0;title\x07", "[31mred ]0;title", id="escape sequences"),
        pytest.param("two\nlines\r\nand\ttabs", "two lines and tabs", id="lines"),
        pytest.param("abc\u202egnp.exe\u2066x", "abc gnp.exe x", id="direction of writing"),
        pytest.param("[bold]x[/bold] :smile:", "[bold]x[/bold] :smile:", id="markup stays text"),
        pytest.param("the label 'a  b '", "the label 'a  b '", id="spaces that are part of a label"),
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
    assert counts_text({"ok": 0, "invalid": 0}) == "0 ok"
    assert counts_text({"ok": 3, "invalid": 0, "timeout": 1}) == "3 ok · 1 timed out"
    assert counts_text({"ok": 2, "invalid": 1, "killed": 0, "timeout": 0}) == "2 ok · 1 failed"


@pytest.mark.parametrize("column", ["zip", "id", "e", "is identical", "it's"])
def test_findings_always_name_their_column(column: str) -> None:
    assert about_column("this is identical", column) == f"column {column!r}: this is identical"
    assert about_column("11 rows are left out", None) == "11 rows are left out"


def test_a_name_that_could_steer_the_terminal_is_spelt_out() -> None:
    assert about_column("is constant", "a\x1b[2Jb\n") == r"column 'a\x1b[2Jb\n': is constant"


@pytest.mark.parametrize(
    ("label", "shown"),
    [
        ("yes", "yes"),
        ("not at all", "not at all"),
        (" yes", "' yes'"),
        ("", "''"),
        ("a, b", "'a, b'"),
        ("a  b", "'a  b'"),
        ("it's", '"it\'s"'),
        ("[bold]x[/bold]", "[bold]x[/bold]"),
        ("a\nb", r"'a\nb'"),
    ],
)
def test_labels_are_quoted_where_their_ends_would_not_show(label: str, shown: str) -> None:
    assert label_text(label) == shown


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
