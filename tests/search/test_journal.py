from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainingjob_trainer.search.candidate import Candidate, Outcome
from trainingjob_trainer.search.journal import Journal, JournalHeader, JournalMismatch, read_journal

HEADER = JournalHeader(search_digest="s", data_digest="d", versions={"tpot": "1.1.0"})


def candidate(number: int, **changes: object) -> Candidate:
    fields: dict[str, object] = {
        "number": number,
        "key": f"k{number}",
        "origin": "space",
        "generation": 1,
        "pipeline": {"type": "PCA", "params": {"n_components": 0.5}},
        "outcome": Outcome.OK,
        "score": 0.5,
        "fold_scores": (0.4, 0.6),
    }
    return Candidate(**(fields | changes))  # type: ignore[arg-type]


FAILED = candidate(1, outcome=Outcome.INVALID, score=None, fold_scores=(), error="ValueError: x")


def test_what_was_appended_is_found_again(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path, HEADER) as journal:
        journal.append(candidate(0))
        journal.append(
            candidate(1, outcome=Outcome.INVALID, score=None, fold_scores=(), error="ValueError: x")
        )
    with Journal(path, HEADER) as journal:
        assert journal.found_ == {
            "k0": candidate(0),
            "k1": FAILED,
        }


@given(cut=st.integers(min_value=1, max_value=200))
def test_a_line_cut_off_by_a_crash_is_dropped_and_the_rest_kept(
    cut: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("journal") / "journal.jsonl"
    with Journal(path, HEADER) as journal:
        journal.append(candidate(0))
        whole = path.stat().st_size
        journal.append(candidate(1))
    end = path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(max(whole, end - cut))
    with Journal(path, HEADER) as journal:
        assert set(journal.found_) == {"k0"}
        journal.append(candidate(2))
    _, candidates, _ = read_journal(path)
    assert [c.number for c in candidates] == [0, 2]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"search_digest": "other"}, "search digest"),
        ({"data_digest": "other"}, "data digest"),
        ({"versions": {"tpot": "1.2.0"}}, "versions"),
    ],
)
def test_a_journal_of_another_run_is_refused(tmp_path: Path, change: dict[str, object], named: str) -> None:
    path = tmp_path / "journal.jsonl"
    Journal(path, HEADER).close()
    other = JournalHeader(
        **({"search_digest": "s", "data_digest": "d", "versions": {"tpot": "1.1.0"}} | change)  # type: ignore[arg-type]
    )
    with pytest.raises(JournalMismatch, match=named):
        Journal(path, other)


def test_something_else_is_no_journal(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text("hello\n")
    with pytest.raises(JournalMismatch):
        Journal(path, HEADER)


def test_a_score_that_is_no_number_never_gets_in(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.jsonl", HEADER) as journal, pytest.raises(ValueError):
        journal.append(candidate(0, score=float("nan")))
