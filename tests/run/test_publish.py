"""The published result of a job is accepted by a later attempt and never replaced by a worse result."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.house import BEST, House, evaluate_and_crash, refuse, save
from trainingjob_api import Best, ModelSource, Report, Resolved, Stage
from trainingjob_certificates import ReportKey
from trainingjob_trainer.errors import RunFailed, SpecInvalid
from trainingjob_trainer.events import DataReady, Event, ModelReady, Saved
from trainingjob_trainer.run import publish as publish_module
from trainingjob_trainer.run.state import Interrupted
from trainingjob_trainer.run.watch import ChildEnd, Ended
from trainingjob_trainer.run.workspace import Workspace
from trainingjob_trainer.storage import FolderStore, Output

UID = "0123456789abcdef0123456789abcdef"
SCORED = BEST.model_copy(update={"train_rows": 80, "test_rows": 20, "holdout_rows": 25})


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path, uid=UID)


class Writer:
    """Takes reports, as the API server does; rejects the last report on request."""

    def __init__(self, *, refuses: bool = False) -> None:
        self.reports: list[Report] = []
        self.refuses = refuses

    def __call__(self, report: Report) -> None:
        if self.refuses and report.final:
            raise RunFailed("ReportNotWritten", "the API server took no report of it")
        self.reports.append(report)


def trained(source: ModelSource, *, metric: str = "accuracy", data: str = "d" * 64, **best: Any) -> Any:
    """Return a child that trains a model with these scores."""

    def child(workspace: Workspace, run: Any, tell: Callable[[Event], None]) -> ChildEnd:
        resolved = Resolved(target_column="y", automl_enabled=True, metric=metric)
        tell(DataReady(resolved=resolved, holdout_rows=25, data_digest=data))
        scores = SCORED.model_copy(update=best)
        tell(ModelReady(model_source=source, best=scores, stopped_by="time"))
        workspace.artifacts.mkdir(parents=True)
        (workspace.artifacts / "model.joblib").write_bytes(f"{source} {best}".encode())
        workspace.set_state("saved", run)
        tell(Saved())
        return ChildEnd(ended=Ended.SAVED, message="")

    return child


def on_another_machine(house: House) -> None:
    (home,) = house.homes
    shutil.rmtree(home / ".work")


def model(house: House) -> str:
    (home,) = house.homes
    return (home / "model.joblib").read_text()


def test_a_result_without_a_delivered_report_is_accepted_by_the_next_attempt(house: House) -> None:
    with pytest.raises(RunFailed, match="took no report"):
        house(trained(ModelSource.TPOT), sink=Writer(refuses=True), pod_uid="one")
    on_another_machine(house)
    writer = Writer()
    result = house(sink=writer, attempt=2, pod_uid="two")
    final = writer.reports[-1]
    assert (final.final, final.stage, final.pod_uid, final.attempt) == (True, Stage.FINISHED, "two", 2)
    assert (final.best, final.model_source, result.best) == (SCORED, ModelSource.TPOT, SCORED)
    assert [artifact.name for artifact in final.artifacts] == ["model.joblib", "report.json", "manifest.json"]
    assert final.digests is not None
    assert final.digests.data == "d" * 64
    assert any("Attempt 1 has already published" in warning for warning in final.warnings)


def test_after_a_lost_report_attempts_continue_from_the_published_report(house: House) -> None:
    house(trained(ModelSource.TPOT), sink=Writer(), attempt=3, pod_uid="one")
    on_another_machine(house)
    writer = Writer()
    house(sink=writer, attempt=1, pod_uid="two")
    assert writer.reports[-1].attempt == 4


@pytest.mark.parametrize(
    "spoil",
    [
        lambda home: (home / "manifest.json").unlink(),
        lambda home: (home / "model.joblib").write_text("another"),
        lambda home: (home / "report.json").unlink(),
        lambda home: (home / "report.json").write_text((home / "report.json").read_text() + " "),
    ],
    ids=["no manifest", "another model", "no report", "another report"],
)
def test_an_incomplete_result_is_not_accepted(house: House, spoil: Callable[[Path], Any]) -> None:
    house(trained(ModelSource.TPOT), sink=Writer())
    on_another_machine(house)
    spoil(house.homes[0])
    house(trained(ModelSource.BASELINE), sink=Writer(), attempt=2)
    assert model(house).startswith("baseline")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("model.joblib", b"another"),
        ("report.json", None),
        ("report.sig", b"YW5vdGhlcg=="),
        ("evil.joblib", b"one more"),
    ],
    ids=["another model", "another report", "another signature", "one more file"],
)
def test_an_unsigned_result_is_not_accepted(house: House, name: str, content: bytes | None) -> None:
    """Whoever may write to the output makes a folder that fits its manifest."""
    key = ReportKey.generate()
    house(trained(ModelSource.TPOT), sink=Writer(), report_key=key)
    on_another_machine(house)
    (home,) = house.homes
    forged = home.parent / "forged"
    shutil.copytree(home, forged)
    (forged / "manifest.json").unlink()
    text = (forged / "report.json").read_text()
    (forged / name).write_bytes(content or text.replace('"score":"0.9"', '"score":"1.0"').encode())
    output = Output(FolderStore(house.output))
    output.publish(forged, house.run.name, UID[:8])
    assert output.verify(house.run.name, UID[:8]), "the forged folder fits its manifest"
    house(trained(ModelSource.TPOT, score="0.95"), sink=Writer(), attempt=2, report_key=key)
    assert "0.95" in model(house)


def test_a_signed_result_is_accepted(house: House) -> None:
    key = ReportKey.generate()
    house(trained(ModelSource.TPOT), sink=Writer(), report_key=key)
    on_another_machine(house)
    house(sink=Writer(), attempt=2, report_key=key)


@pytest.mark.parametrize("change", [{"job_uid": "f" * 32}, {"digests": None}, {"best": None}])
def test_the_result_of_another_job_or_spec_is_not_accepted(
    house: House, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    with monkeypatch.context() as patch:
        dump = publish_module.dump_report
        patch.setattr(publish_module, "dump_report", lambda report: dump(report.model_copy(update=change)))
        house(trained(ModelSource.TPOT), sink=Writer())
    on_another_machine(house)
    house(trained(ModelSource.BASELINE), sink=Writer(), attempt=2)
    assert model(house).startswith("baseline")


@pytest.mark.parametrize(
    ("first", "second", "kept"),
    [
        (trained(ModelSource.TPOT, score="0.6"), trained(ModelSource.BASELINE, score="0.9"), "first"),
        (trained(ModelSource.BASELINE, score="0.9"), trained(ModelSource.TPOT, score="0.6"), "second"),
        (trained(ModelSource.TPOT, score="0.6"), trained(ModelSource.TPOT, score="0.7"), "second"),
        (trained(ModelSource.TPOT, score="0.6"), trained(ModelSource.TPOT, score="0.6"), "first"),
        (trained(ModelSource.TPOT, score="-2"), trained(ModelSource.TPOT, score="-10"), "first"),
        (
            trained(ModelSource.TPOT, score="0.6", holdout_score="0.8"),
            trained(ModelSource.TPOT, score="0.7", holdout_score="0.5", train_rows=9),
            "first",
        ),
        (
            trained(ModelSource.TPOT, score="0.6", holdout_rows=9),
            trained(ModelSource.TPOT, score="0.7", train_rows=9),
            "first",
        ),
        (trained(ModelSource.TPOT, metric="f1"), trained(ModelSource.TPOT, score="0.99"), "first"),
        (trained(ModelSource.TPOT), trained(ModelSource.BASELINE, score="0.1", data="e" * 64), "second"),
    ],
    ids=[
        "a model beats a baseline",
        "also as the second",
        "better",
        "as good",
        "below zero",
        "other folds, same hold-out",
        "other rows",
        "other metric",
        "other data",
    ],
)
def test_of_two_attempts_the_better_result_stays(house: House, first: Any, second: Any, kept: str) -> None:
    ends: list[Best] = []

    def overtaken(workspace: Workspace, run: Any, tell: Callable[[Event], None]) -> ChildEnd:
        """Train while another attempt of the same job, whose node is cut off, publishes."""
        other = House(house.output.parent / "elsewhere", uid=UID)
        other.run = run.model_copy(update={"output": other.run.output})
        ends.append(other(first, sink=Writer()).best)
        shutil.copytree(
            other.homes[0], workspace.home, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".work")
        )
        return second(workspace, run, tell)

    writer = Writer()
    result = house(overtaken, sink=writer, attempt=2)
    assert (result.best == ends[0]) is (kept == "first")
    assert writer.reports[-1].best == result.best
    Output(FolderStore(house.output)).verify("churn", UID[:8])
    assert [artifact.sha256 for artifact in writer.reports[-1].artifacts] == [
        artifact.sha256 for artifact in Output(FolderStore(house.output)).verify("churn", UID[:8])
    ]


@pytest.mark.parametrize(
    ("attempt", "child", "error"),
    [
        (1, refuse, SpecInvalid),
        (2, refuse, SpecInvalid),
        (1, "refused", SpecInvalid),
        (2, "refused", RunFailed),
    ],
)
def test_rejected_keys_end_a_job_only_before_its_start(
    house: House, attempt: int, child: Any, error: type[Exception]
) -> None:
    from trainingjob_trainer.events import Failed

    def refused(_workspace: Workspace, _run: Any, tell: Callable[[Event], None]) -> ChildEnd:
        failure = Failed(reason="CredentialsRefused", message="no", exit_code=2)
        tell(failure)
        return ChildEnd(ended=Ended.FAILED, message="no", failure=failure)

    writer = Writer()
    with pytest.raises(error):
        house(refused if child == "refused" else child, sink=writer, attempt=attempt)
    codes = [report.failure.exit_code for report in writer.reports if report.failure]
    assert codes == [2 if error is SpecInvalid else 1]


@pytest.mark.parametrize("reason", ["CredentialsRefused", "BucketNotFound", "CredentialsMissing"])
def test_publishing_waits_for_rotated_keys(
    house: House, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    publish, calls = Output.publish, []

    def refused_twice(self: Output, *arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) < 3:
            raise SpecInvalid(reason, "the storage refuses")
        return publish(self, *arguments)

    monkeypatch.setattr(Output, "publish", refused_twice)
    monkeypatch.setattr(publish_module, "_PAUSE_SECONDS", 0.0)
    writer = Writer()
    house(save, sink=writer, upload_patience_seconds=60.0)
    assert len(calls) == 3
    assert [report.failure.reason for report in writer.reports if report.failure] == [reason] * 2
    assert writer.reports[-1].failure is None


def test_keys_that_stay_rejected_after_the_search_end_the_attempt_only(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_arguments: object) -> None:
        raise SpecInvalid("CredentialsRefused", "the storage refuses")

    monkeypatch.setattr(Output, "publish", refused)
    monkeypatch.setattr(publish_module, "_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(publish_module, "REFUSAL_SECONDS", 0.0)
    with pytest.raises(RunFailed, match="refuses") as caught:
        house(save, sink=Writer(), upload_patience_seconds=600.0)
    assert (caught.value.reason, caught.value.exit_code) == ("CredentialsRefused", 1)
    monkeypatch.setattr(Output, "check", refused)
    with pytest.raises(RunFailed):
        house(sink=Writer(), attempt=2)
    with pytest.raises(SpecInvalid):
        house(sink=Writer(), attempt=1)


def test_a_job_that_is_stopped_during_its_upload_resumes_from_its_journal(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The artifacts go with the pod; what was evaluated is in the output."""
    import os
    import signal

    def stopped(*_arguments: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        raise RunFailed("UploadFailed", "the storage is down")

    def evaluate_and_save(workspace: Workspace, run: Any, tell: Callable[[Event], None]) -> ChildEnd:
        evaluate_and_crash(workspace, run, tell)
        return save(workspace, run, tell)

    with monkeypatch.context() as patch:
        patch.setattr(Output, "publish", stopped)
        with pytest.raises(Interrupted):
            house(evaluate_and_save, sink=Writer(), upload_patience_seconds=600.0)
    on_another_machine(house)
    seen: list[str] = []

    def resumed(workspace: Workspace, run: Any, tell: Callable[[Event], None]) -> ChildEnd:
        seen.append(workspace.journal.read_text())
        return save(workspace, run, tell)

    house(resumed, sink=Writer(), attempt=2)
    assert seen == ["{}\n"]
