import hashlib
import json
import os
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainingjob_trainer.search.candidate import (
    Candidate,
    Journal,
    JournalHeader,
    JournalMismatch,
    Outcome,
    rank,
    read_journal,
)
from trainingjob_trainer.search_space.pipeline import fingerprint, leaf

HEADER = JournalHeader(search_digest="s", data_digest="d", versions={"tpot": "1.1.0"})


def pipeline(number: int) -> dict[str, Any]:
    return leaf("Ridge", alpha=number + 0.5)


def key(number: int) -> str:
    return fingerprint(pipeline(number))


def candidate(number: int, **changes: object) -> Candidate:
    values: dict[str, object] = {
        "number": number,
        "key": key(number),
        "origin": "space",
        "generation": 1,
        "pipeline": pipeline(number),
        "outcome": Outcome.OK,
        "score": 0.5,
        "fold_scores": (0.4, 0.6),
    }
    return Candidate(**(values | changes))  # type: ignore[arg-type]


FAILED = candidate(1, outcome=Outcome.INVALID, score=None, fold_scores=(), error="ValueError: x")


def test_appended_evaluations_are_read_back(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path, HEADER) as journal:
        journal.append(candidate(0))
        journal.append(
            candidate(1, outcome=Outcome.INVALID, score=None, fold_scores=(), error="ValueError: x")
        )
    with Journal(path, HEADER) as journal:
        assert journal.found_ == {
            key(0): candidate(0),
            key(1): FAILED,
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
        assert set(journal.found_) == {key(0)}
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
def test_a_journal_of_another_run_is_rejected(tmp_path: Path, change: dict[str, object], named: str) -> None:
    path = tmp_path / "journal.jsonl"
    Journal(path, HEADER).close()
    other = JournalHeader(
        **({"search_digest": "s", "data_digest": "d", "versions": {"tpot": "1.1.0"}} | change)  # type: ignore[arg-type]
    )
    with pytest.raises(JournalMismatch, match=named):
        Journal(path, other)


def test_another_file_is_not_a_journal(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text("hello\n")
    with pytest.raises(JournalMismatch):
        Journal(path, HEADER)


def test_a_score_that_is_not_a_number_is_never_written(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.jsonl", HEADER) as journal, pytest.raises(ValueError):
        journal.append(candidate(0, score=float("nan")))


def test_all_fields_of_an_evaluation_are_read_back(tmp_path: Path) -> None:
    whole = Candidate(
        number=7,
        key=key(0),
        origin="linear",
        generation=3,
        pipeline=pipeline(0),
        outcome=Outcome.TIMEOUT,
        score=0.25,
        fold_scores=(0.2, 0.3),
        train_rows=80,
        test_rows=40,
        score_seconds=0.5,
        fit_seconds=1.5,
        complexity=12.25,
        rounds=40,
        error="took longer than 3 s",
        elapsed_seconds=17.125,
    )
    plain = Candidate(number=0, key="", origin="", generation=0, pipeline={}, outcome=Outcome.OK)
    unset = [
        field.name for field in fields(Candidate) if getattr(whole, field.name) == getattr(plain, field.name)
    ]
    assert unset == [field.name for field in fields(Candidate) if not field.repr], (
        "these are never in the journal"
    )
    path = tmp_path / "journal.jsonl"
    with Journal(path, HEADER) as journal:
        journal.append(whole)
    assert read_journal(path)[1] == [whole]


def test_an_evaluation_is_on_disk_and_known_when_it_has_been_added(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "journal.jsonl"
    synced: list[int] = []
    sync = os.fsync

    def note(descriptor: int) -> None:
        synced.append(path.stat().st_size)
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    with Journal(path, HEADER) as journal:
        for number in range(3):
            journal.append(candidate(number))
            assert [c.number for c in read_journal(path)[1]] == list(range(number + 1))
            assert journal.found_[key(number)] == candidate(number)
            assert synced[-1] == path.stat().st_size, "it was whole when it was written to the disk"
        assert len(synced) == 4


def test_lines_after_a_broken_line_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path, HEADER) as journal:
        for number in range(3):
            journal.append(candidate(number))
    lines = path.read_text().splitlines()
    lines[2] = lines[2][:-10]
    path.write_text("\n".join(lines) + "\n")
    with Journal(path, HEADER) as journal:
        assert set(journal.found_) == {key(0)}
        assert journal.dropped_ == 2
    assert path.read_text().splitlines() == lines[:2]


EVIL = leaf("FeatureAgglomeration", memory="cache")
UNLIKE = {"pipeline": pipeline(8), "key": key(7)}
DEEP = 100_000


@pytest.mark.parametrize(
    "forged",
    [
        {"pipeline": EVIL, "key": fingerprint(EVIL)},
        {"pipeline": {"class": "os.system"}, "key": fingerprint({"class": "os.system"})},
        {"pipeline": leaf("Ridge", alpha=1.0), "key": fingerprint(leaf("Ridge", alpha=1.0))},
        UNLIKE,
        {"pipeline": []},
        {"score": None},
        {"score": 0.75},
        {"score": "0.5"},
        {"score": 2.0, "foldScores": [2.0, 2.0]},
        {"score": 1e308, "foldScores": [1e308, 1e308]},
        {"score": float("nan"), "foldScores": [float("nan")]},
        {"score": float("inf"), "foldScores": [float("inf")]},
        {"foldScores": []},
        {"fitSeconds": -1},
        {"elapsedSeconds": float("inf")},
        {"number": 10**30},
        {"number": -2},
        {"number": 0.5},
        {"generation": True},
        {"trainRows": "80"},
        {"origin": "\ud800"},
        {"error": "x" * 2000},
        {"error": {"a": 1}},
    ],
    ids=lambda forged: next(iter(forged)) + "-" + str(next(iter(forged.values())))[:20],
)
def test_a_line_that_no_search_of_this_run_wrote_is_left_out(tmp_path: Path, forged: dict[str, Any]) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path, HEADER) as journal:
        journal.append(candidate(0))
    with path.open("a") as file:
        file.write(json.dumps(candidate(1).to_json() | forged) + "\n")
    with Journal(path, HEADER, highest_score=1.0) as journal:
        assert set(journal.found_) == {key(0)}
        assert journal.dropped_ == 1


@pytest.mark.parametrize("line", ["[" * DEEP, '{"a":' * DEEP, "1" * DEEP, "[" * DEEP + "]" * DEEP])
def test_text_without_a_line_end_is_neither_line_nor_header(tmp_path: Path, line: str) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path, HEADER) as journal:
        journal.append(candidate(0))
    with path.open("a") as file:
        file.write(line + "\n")
    with Journal(path, HEADER) as journal:
        assert set(journal.found_) == {key(0)}
    path.write_text(line + "\n")
    with pytest.raises(JournalMismatch, match="no readable header"):
        Journal(path, HEADER)


def test_a_journal_of_another_schema_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    Journal(path, HEADER).close()
    path.write_text(path.read_text().replace('"schemaVersion":1', '"schemaVersion":2'))
    with pytest.raises(JournalMismatch, match="schema version 2"):
        Journal(path, HEADER)


def test_the_digest_is_that_of_the_file(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.jsonl", HEADER) as journal:
        first = journal.digest()
        journal.append(candidate(0))
        assert journal.digest() != first
        assert journal.digest() == hashlib.sha256(journal.path.read_bytes()).hexdigest()


def test_the_best_is_the_highest_score_and_the_earlier_one_of_equals() -> None:
    found = [
        candidate(0, score=-0.5),
        candidate(1, score=-0.25),
        candidate(2, score=-0.25),
        candidate(3, score=0.9, outcome=Outcome.KILLED),
        candidate(4, score=None),
    ]
    assert [c.number for c in rank(found)] == [1, 2, 0]
    assert [c.number for c in rank(reversed(found))] == [1, 2, 0]
