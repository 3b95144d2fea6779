from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from support.finished_runs import candidate, changed, make_outcome, summarize
from trainingjob_api import Fallback, ModelSource
from trainingjob_trainer.artifacts.registry import MODEL, render_from_folder, write_artifacts
from trainingjob_trainer.errors import RunFailed
from trainingjob_trainer.finished_run import HoldoutPrediction
from trainingjob_trainer.search.candidate import ENSEMBLE, Outcome
from trainingjob_trainer.search.fits import dump_model
from trainingjob_trainer.search_space.pipeline import ensemble_of
from trainingjob_trainer.storage import FolderStore, Output

SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas"
FILES = [
    "evaluation_summary.json",
    "input_schema.json",
    "leaderboard.json",
    "model.joblib",
    "pipeline.py",
    "report.html",
    "report_data.json",
    "requirements.txt",
    "tp_pareto_front.json",
]


class Page(HTMLParser):
    """What a browser would fetch, run and read."""

    VOID = frozenset({"meta", "br", "hr", "img", "input", "link", "wbr"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.labels: list[str] = []
        self.text: list[str] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        values = dict(attrs)
        self.ids += [values["id"]] if "id" in values else []
        self.labels += [values["aria-label"]] if values.get("role") == "img" else []
        for name, value in attrs:
            assert not name.startswith("on")
            if name in {"href", "src", "xlink:href", "action", "data"}:
                self.links.append(value)
            self.links += re.findall(r"url\(([^)]*)\)", value or "")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def write_all(outcome, folder, **options):
    (folder / MODEL).write_bytes(dump_model(outcome.model))
    return write_artifacts(outcome, folder, **{"seconds_limit": 120.0, **options})


def made(tmp_path, outcome, **options):
    files = write_all(outcome, tmp_path, **options)
    assert sorted(f.name for f in files) == FILES
    assert sorted(f.name for f in tmp_path.iterdir()) == FILES
    for name in ("report_data", "input_schema", "leaderboard", "tp_pareto_front", "evaluation_summary"):
        schema = json.loads((SCHEMAS / f"{name}.schema.json").read_text())
        Draft202012Validator(schema).validate(json.loads((tmp_path / f"{name}.json").read_text()))
    return (tmp_path / "report.html").read_text(), json.loads((tmp_path / "report_data.json").read_text())


def test_the_page_is_complete_and_self_contained(tmp_path, outcome):
    text, data = made(tmp_path, outcome)
    page = Page(text)
    assert data["notes"] == []
    assert "Not shown" not in text
    assert "script" not in page.tags
    assert not re.search(r"https?://|url\((?!#)", text)
    assert all(link.startswith("#") for link in page.links)
    assert {link[1:] for link in page.links} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert len(page.labels) >= 5
    assert all(page.labels)


def test_long_names_wrap_in_the_leaderboard(folder):
    board = folder / "leaderboard.json"
    edit(board, lambda found: found["entries"][0].update(origin="hist_gradient_<b>"))
    assert "<td>hist_<wbr>gradient_<wbr>&lt;b&gt;</td>" in render_from_folder(folder).read_text()


def test_the_page_lists_the_members_of_an_ensemble(tmp_path, binary, monkeypatch):
    first, second = binary.candidates[:2]
    spec = ensemble_of([first.pipeline, second.pipeline], [3, 1], classification=True)
    both = candidate(60, 0.99, origin=ENSEMBLE, pipeline=spec, members=(first.key, second.key))
    outcome = changed(binary, candidates=(*binary.candidates, both), best=both)

    def told(pipeline):
        return "both" if pipeline is spec else summarize(pipeline)

    monkeypatch.setattr("trainingjob_trainer.artifacts.documents.summarize", told)
    page = Page(write_all(outcome, tmp_path, seconds_limit=5)[-1].read_text())
    assert "members" in page.ids
    assert {"75 %", "25 %", summarize(first.pipeline), summarize(second.pipeline)} <= set(page.text)
    assert "A single pipeline has a higher score" not in "".join(page.text)
    edit(tmp_path / "leaderboard.json", lambda board: board["entries"].reverse())
    below = "".join(Page(render_from_folder(tmp_path).read_text()).text)
    assert "A single pipeline has a higher score" in below


def test_names_of_users_are_shown_and_not_executed(tmp_path, binary, monkeypatch):
    text, _ = made(tmp_path, binary)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "<script" not in text
    finding = SimpleNamespace(kind="X", severity='"><b>', column="<b>", message="</table><b>")
    prepared = SimpleNamespace(**{**vars(binary.prepared), "findings": (finding,)})
    outcome = changed(binary, prepared=prepared, warnings=("<img src=x>",))
    monkeypatch.setattr("trainingjob_trainer.artifacts.documents.summarize", lambda _spec: "<b>$x$</b>")
    files = write_all(outcome, tmp_path, seconds_limit=5)
    assert "<b>" not in files[-1].read_text()
    assert "<img" not in files[-1].read_text()


def named(outcome, **changes):
    prepared = SimpleNamespace(**{**vars(outcome.prepared), **changes})
    return changed(outcome, prepared=prepared)


def test_labels_and_columns_come_through_as_they_are(tmp_path, binary):
    label, column = "[bold]\"a\"  &amp; <b>'b'</b>", "id\x00 <i>[red]"
    message = f"the label {label!r} stands in 3 rows"
    finding = SimpleNamespace(kind="X", severity="warning", column=column, message=message)
    outcome = named(
        binary,
        positive_label=label,
        classes=("no", label),
        findings=(finding,),
    )
    text, _ = made(tmp_path, outcome)
    page = Page(text)
    assert page.text.count(label) == 4, "headline, classes, positive class, model card"
    assert {message, "warning", "id\N{REPLACEMENT CHARACTER} <i>[red]"} <= set(page.text)
    summary = json.loads((tmp_path / "evaluation_summary.json").read_text())
    assert (summary["data"]["positiveLabel"], summary["data"]["findings"][0]["column"]) == (label, column)


@pytest.mark.parametrize(("task", "count"), [("binary", 3), ("classes", 0), ("regression", 0)])
def test_the_page_names_the_positive_label_of_two(tmp_path, task, count):
    text, _ = made(tmp_path, make_outcome(task))
    assert len(re.findall(r"[Pp]ositive(:| label| label is) <code>yes</code>", text)) == count


def test_labels_with_dollars_and_other_scripts_are_shown(tmp_path):
    outcome = make_outcome("binary")
    odd = {"yes": "$yes$ 猫 \x00", "no": "no & <i>"}
    prediction = outcome.holdout_prediction

    def renamed(labels):
        return np.asarray([odd[label] for label in labels], dtype=object)

    prediction = HoldoutPrediction(
        index=prediction.index,
        y_true=renamed(prediction.y_true),
        y_pred=renamed(prediction.y_pred),
        y_proba=prediction.y_proba,
        classes=tuple(renamed(prediction.classes)),
    )
    text, data = made(tmp_path, changed(outcome, holdout_prediction=prediction))
    assert data["notes"] == []
    assert "$yes$ 猫" in text
    assert "\x00" not in text
    assert "<i>" not in text
    Page(text)


def test_a_picture_that_fails_leaves_a_note(tmp_path, binary, monkeypatch):
    def broken(*_args: object) -> None:
        raise RuntimeError("no <ink> left")

    monkeypatch.setattr("trainingjob_trainer.artifacts.plots.plot_front", broken)
    monkeypatch.setattr("trainingjob_trainer.artifacts.documents.confusion", broken)
    text, data = made(tmp_path, binary)
    assert data["notes"] == [{"section": "confusion", "message": "no <ink> left"}]
    assert text.count("Not shown: no &lt;ink&gt; left") == 2
    Page(text)


def test_a_run_succeeds_although_its_page_fails(tmp_path, binary, monkeypatch):
    def broken(**_documents: object) -> str:
        raise RuntimeError("<b>")

    monkeypatch.setattr("trainingjob_trainer.artifacts.registry.render_html", broken)
    text, _ = made(tmp_path, binary)
    assert "could not be drawn: RuntimeError: &lt;b&gt;" in text


def test_a_page_is_written_without_remaining_time(tmp_path, outcome):
    text, data = made(tmp_path, outcome, seconds_limit=0.0)
    assert data["importance"] is None
    assert [note["section"] for note in data["notes"]] == ["importance"]
    Page(text)


def test_the_page_says_if_importance_was_cut(tmp_path, binary, monkeypatch):
    cut = "time allowed for 2 of 3 shuffles of the last column, <b>"
    monkeypatch.setattr(
        "trainingjob_trainer.artifacts.documents.permutation_importance",
        lambda *_args, **_options: {
            "score": 0.5,
            "rows": 9,
            "repeats": 3,
            "columnsMeasured": 1,
            "columnsTotal": 1,
            "cut": cut,
            "columns": [{"name": "a", "drop": 0.1, "std": 0.0}],
        },
    )
    text, _ = made(tmp_path, binary)
    assert "; time allowed for 2 of 3 shuffles of the last column, &lt;b&gt;" in text


def test_the_page_names_the_reason_of_a_fallback(tmp_path, binary):
    step = Fallback.model_validate(
        {
            "from": "tpot",
            "to": "baseline",
            "reason": "NoValidPipeline",
            "time": "2026-11-01T12:00:00Z",
            "message": "All 3 pipelines failed.",
        }
    )
    failed = tuple(candidate(n, None, outcome=Outcome.TIMEOUT) for n in range(1, 4))
    outcome = changed(
        binary,
        candidates=failed,
        best=binary.baseline,
        model_source=ModelSource.BASELINE,
        fallbacks=(step,),
        holdout_prediction=None,
        holdout_model=None,
        holdout_score=None,
        warnings=("Classes are imbalanced.",),
    )
    text, data = made(tmp_path, outcome)
    assert "The model is the baseline" in text
    assert "NoValidPipeline" in text
    assert "All 3 pipelines failed." in text
    assert "No pipeline of the search was valid." in text
    assert "has seen these rows" in text
    assert {note["section"] for note in data["notes"]} == {"holdout"}
    Page(text)


def test_nan_and_infinity_reach_neither_files_nor_page(tmp_path):
    outcome = make_outcome("regression")
    prediction = outcome.holdout_prediction
    guess = prediction.y_pred.copy()
    guess[0], guess[1] = np.nan, np.inf
    broken = HoldoutPrediction(index=prediction.index, y_true=prediction.y_true, y_pred=guess)
    text, _ = made(tmp_path, changed(outcome, holdout_prediction=broken, holdout_score=float("nan")))
    for path in tmp_path.glob("*.json"):
        json.loads(path.read_text(), parse_constant=pytest.fail)
    assert not re.search(r"\bnan\b|\binf\b", text)


def test_the_same_outcome_gives_the_same_files(tmp_path, binary):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_all(binary, tmp_path / name)
    for name in FILES:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


@pytest.fixture(scope="session")
def finished(tmp_path_factory, binary):
    folder = tmp_path_factory.mktemp("finished")
    made(folder, binary)
    return folder


@pytest.fixture
def folder(tmp_path, finished):
    return Path(shutil.copytree(finished, tmp_path / "folder"))


def test_the_page_is_drawn_again_from_the_folder(folder):
    text = (folder / "report.html").read_text()
    (folder / "report.html").unlink()
    (folder / "model.joblib").unlink()
    assert render_from_folder(folder) == folder / "report.html"
    assert (folder / "report.html").read_text() == text


def test_a_page_that_a_manifest_lists_is_never_changed(tmp_path, finished):
    output = Output(FolderStore(tmp_path / "out"))
    output.publish(finished, "churn", "8d1f0a52")
    folder = tmp_path / "out" / "churn-8d1f0a52"
    assert render_from_folder(folder).name == "report.html"
    summary = json.loads((folder / "evaluation_summary.json").read_text())
    (folder / "evaluation_summary.json").write_text(json.dumps({**summary, "warnings": ["new"]}))
    assert render_from_folder(folder).name == "report.redrawn.html"


def edit(path, change):
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def test_the_page_shows_rows_intervals_and_what_could_not_be_fitted(folder):
    lost = {"key": "x", "pipeline": "SVC(<b>)", "score": 0.97, "reason": "the fit took longer than 9.0 s"}
    edit(folder / "evaluation_summary.json", lambda summary: summary.update(notFitted=[lost]))
    edit(
        folder / "leaderboard.json",
        lambda board: board["entries"][0].update(trainRows=64_000, testRows=16_000),
    )
    text = " ".join("".join(Page(render_from_folder(folder).read_text()).text).split())
    assert "95 % interval 0.7500 to 0.9500" in text
    assert "SVC(<b>)" in text
    assert "the fit took longer than 9.0 s" in text
    assert "One pipeline scored better in cross-validation and could not be fitted" in text
    assert "64,000" in text
    assert "16,000" in text
    assert "The finalists were scored on all rows of the folds" in text


def test_the_page_says_that_finalists_were_scored_on_other_folds(folder):
    words = "The finalists were scored on the same rows, cut into other folds"
    assert words not in (folder / "report.html").read_text()
    edit(folder / "leaderboard.json", lambda board: board["entries"][0].update(foldScores=[0.9] * 10))
    assert words in render_from_folder(folder).read_text()


def test_the_page_counts_similar_pipelines(folder):
    assert "similar" not in "".join(Page((folder / "report.html").read_text()).text)
    edit(folder / "leaderboard.json", lambda board: board["entries"][0].update(similar=1_234))
    text = " ".join("".join(Page(render_from_folder(folder).read_text()).text).split())
    assert "(+1,234 similar)" in text
    assert "Pipelines with the same estimator and the same score are one line." in text


def test_a_page_is_drawn_from_a_folder_of_an_earlier_version(folder):
    def forget(summary):
        del summary["notFitted"], summary["holdout"]["interval"]
        for name in ("best", "baseline"):
            del summary[name]["trainRows"], summary[name]["testRows"]

    def forget_rows(document):
        for row in document.get("entries") or document.get("points"):
            del row["trainRows"], row["testRows"]

    edit(folder / "evaluation_summary.json", forget)
    edit(folder / "leaderboard.json", forget_rows)
    edit(folder / "tp_pareto_front.json", forget_rows)
    text = render_from_folder(folder).read_text()
    assert "interval" not in text
    assert "The finalists were scored" not in text


@pytest.mark.parametrize(
    "damage",
    [
        lambda f: (f / "leaderboard.json").unlink(),
        lambda f: (f / "report_data.json").write_text("{"),
        lambda f: (f / "report_data.json").write_text('{"schemaVersion": "2.0"}'),
        lambda f: (f / "evaluation_summary.json").write_text('{"schemaVersion": "1.0"}'),
    ],
)
def test_an_incomplete_folder_gives_no_page(folder, damage):
    damage(folder)
    with pytest.raises(RunFailed) as caught:
        render_from_folder(folder)
    assert caught.value.reason == "ReportNotPossible"
