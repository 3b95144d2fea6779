from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from jsonschema import Draft202012Validator

from support.finished_runs import candidate, changed, make_outcome, summarize
from trainingjob_trainer.artifacts.board import leaderboard
from trainingjob_trainer.artifacts.documents import (
    evaluation_summary,
    front_document,
    leaderboard_document,
    plain,
)
from trainingjob_trainer.search.candidate import ENSEMBLE, Outcome
from trainingjob_trainer.search.final_fit import NotFitted
from trainingjob_trainer.search.predictions import Interval
from trainingjob_trainer.search_space.pipeline import ensemble_of

GOLDEN = Path(__file__).with_name("golden")
SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas"
MAKERS = {
    "leaderboard": leaderboard_document,
    "tp_pareto_front": front_document,
    "evaluation_summary": evaluation_summary,
}


def validate(name: str, document: object) -> None:
    schema = json.loads((SCHEMAS / f"{name}.schema.json").read_text())
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(document)


@pytest.mark.parametrize("name", MAKERS)
def test_document_is_the_golden_one(name, binary):
    outcome = changed(binary, holdout_score=0.8)
    document = plain(MAKERS[name](outcome))
    path = GOLDEN / f"{name}.json"
    if not path.is_file():
        path.write_text(json.dumps(document, indent=2) + "\n")
        pytest.fail(f"{path.name} was missing and has been written: read it, then commit it")
    assert document == json.loads(path.read_text())


@pytest.mark.parametrize("name", MAKERS)
def test_document_fits_its_schema(name, outcome):
    validate(name, plain(MAKERS[name](outcome)))


def test_a_search_with_failures_only_has_documents(binary):
    failed = tuple(candidate(n, None, outcome=Outcome.KILLED) for n in range(3))
    outcome = changed(binary, candidates=failed, holdout_score=None, holdout_prediction=None)
    for name, make in MAKERS.items():
        document = plain(make(outcome))
        validate(name, document)
    assert document["evaluations"]["validShare"] == 0
    assert document["evaluations"]["dominantErrors"] == [
        {"outcome": "killed", "message": "ValueError: # negative values in row #", "count": 3}
    ]


def test_nan_becomes_null(binary):
    broken = candidate(50, 0.5, fold_scores=(float("nan"), 0.5), complexity=float("inf"))
    outcome = changed(binary, candidates=(broken,), best=broken, holdout_score=float("nan"))
    summary = plain(evaluation_summary(outcome))
    validate("evaluation_summary", summary)
    assert summary["holdout"]["score"] is None
    assert summary["best"]["foldScores"] == [None, 0.5]


def test_an_ensemble_names_its_members_by_the_keys_of_their_own_lines(binary, monkeypatch):
    first, second = binary.candidates[:2]
    spec = ensemble_of([first.pipeline, second.pipeline], [3, 1], classification=True)
    both = candidate(60, 0.99, origin=ENSEMBLE, pipeline=spec, members=(first.key, second.key))
    outcome = changed(binary, candidates=(*binary.candidates, both), best=both)

    def told(pipeline):
        return "both" if pipeline is spec else summarize(pipeline)

    monkeypatch.setattr("trainingjob_trainer.artifacts.documents.summarize", told)
    for name, make in MAKERS.items():
        validate(name, plain(make(outcome)))
    assert plain(evaluation_summary(outcome))["best"]["members"] == [
        {"key": first.key, "pipeline": summarize(first.pipeline), "weight": 0.75},
        {"key": second.key, "pipeline": summarize(second.pipeline), "weight": 0.25},
    ]
    top, *others = plain(leaderboard_document(outcome))["entries"]
    assert [member["key"] for member in top["members"]] == [first.key, second.key]
    assert all("members" not in row for row in others)


def test_documents_name_pipelines_that_could_not_be_fitted_and_list_finalists_first(binary):
    best = binary.best
    whole = candidate(best.number, 0.5, key=best.key, train_rows=1000)
    lost = tuple(NotFitted(candidate=candidate(n, 0.9), reason="no time") for n in range(40, 60))
    outcome = changed(binary, finalists=(whole,), not_fitted=lost)
    board = plain(leaderboard_document(outcome))
    validate("leaderboard", board)
    assert [row["trainRows"] for row in board["entries"]][:2] == [1000, best.train_rows]
    assert [row["key"] for row in board["entries"]].count(best.key) == 1
    summary = plain(evaluation_summary(outcome))
    validate("evaluation_summary", summary)
    assert [pipeline["key"] for pipeline in summary["notFitted"]] == [f"key-{n}" for n in range(40, 50)]
    assert summary["notFitted"][0]["reason"] == "no time"


def test_the_leaderboard_folds_as_the_status_does(binary):
    ridge = {"class": "Pipeline", "steps": [{"class": "Ridge"}]}
    alike = tuple(candidate(n, 0.95, pipeline={**ridge, "n": n}) for n in range(60, 64))
    outcome = changed(binary, candidates=binary.candidates + alike)
    board = plain(leaderboard_document(outcome))
    validate("leaderboard", board)
    first, second = board["entries"][:2]
    assert (first["rank"], first["similar"], second["rank"]) == (1, 3, 2)
    assert "similar" not in second
    rows = leaderboard(outcome.candidates, outcome.run.output.leaderboard_top_k, shipped=outcome.best.key)
    assert [(e["key"], e.get("similar")) for e in board["entries"]] == [(r.key, r.similar) for r in rows]


@pytest.mark.parametrize(
    ("groups", "interval", "shown"),
    [
        (None, Interval(0.7, 0.9), {"low": 0.7, "high": 0.9, "confidence": 0.95, "resampled": "rows"}),
        (True, Interval(0.7, 0.9), {"low": 0.7, "high": 0.9, "confidence": 0.95, "resampled": "groups"}),
        (None, None, None),
    ],
)
def test_the_interval_says_what_was_drawn(binary, groups, interval, shown):
    prepared = SimpleNamespace(**vars(binary.prepared) | {"groups": groups})
    outcome = changed(binary, prepared=prepared, holdout_interval=interval)
    summary = plain(evaluation_summary(outcome))
    validate("evaluation_summary", summary)
    assert summary["holdout"]["interval"] == shown


def test_a_search_without_evaluations_has_documents(binary):
    summary = plain(evaluation_summary(changed(binary, candidates=())))
    validate("evaluation_summary", summary)
    assert summary["evaluations"]["validShare"] is None


def test_counts_add_up(outcome):
    summary = evaluation_summary(outcome)["evaluations"]
    assert sum(summary["byOutcome"].values()) == summary["total"] == len(outcome.candidates)


def test_best_of_run_may_be_the_baseline():
    outcome = make_outcome("binary")
    outcome = changed(outcome, best=outcome.baseline, model_source="baseline")
    summary = plain(evaluation_summary(outcome))
    validate("evaluation_summary", summary)
    assert summary["best"]["key"] == summary["baseline"]["key"]
