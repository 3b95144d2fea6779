"""The parent with simulated children: its events, its reports and its files."""

import errno
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from support.house import BEST, Child, House, evaluate_and_crash, refuse, save
from trainingjob_api import Fallback, FindingNote, ModelSource, Reason, Report, ResolvedRun, Severity, Stage
from trainingjob_api.report import MAX_FINDINGS
from trainingjob_trainer.errors import RunFailed, SpecInvalid, TrainingError
from trainingjob_trainer.events import (
    DataReady,
    Event,
    FellBack,
    Opened,
    Warned,
)
from trainingjob_trainer.run.fallback import Mode
from trainingjob_trainer.run.publish import file_sink
from trainingjob_trainer.run.state import Interrupted, RunOptions, RunResult
from trainingjob_trainer.run.supervisor import supervise
from trainingjob_trainer.run.watch import ChildEnd, Ended
from trainingjob_trainer.run.workspace import Mirror, Workspace
from trainingjob_trainer.settings import TrainerSettings


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def test_a_saved_model_is_published_and_reported(house: House) -> None:
    result = house(save)
    (home,) = house.homes
    assert (home / "model.joblib").read_bytes() == b"model"
    assert [artifact.name for artifact in result.artifacts] == [
        "model.joblib",
        "report.json",
        "manifest.json",
    ]
    assert result.best == BEST
    assert (result.model_source, result.stopped_by, result.resumed) == (ModelSource.TPOT, "time", False)
    report = house.report()
    assert (report.final, report.stage) == (True, Stage.FINISHED)
    assert isinstance(house.events[0], Opened)
    assert not (home / ".work" / "scratch").exists()
    assert not (home / ".work" / "artifacts").exists()


def test_a_crash_is_reported_and_followed_by_another_child(house: House) -> None:
    result = house(evaluate_and_crash, save)
    assert house.modes == [Mode.FULL, Mode.FULL]
    assert "signal 9" in result.warnings[0]
    assert house.histories[1]["warnings"] == list(result.warnings)
    assert result.fallbacks == ()


def test_warnings_about_the_first_child_outlive_findings_of_the_second(house: House) -> None:
    def find(workspace: Workspace, run: ResolvedRun, tell: Callable[[Event], None]) -> ChildEnd:
        tell(DataReady(resolved=run.summary(), holdout_rows=3, data_digest="0" * 64))
        return save(workspace, run, tell)

    assert "signal 9" in house(evaluate_and_crash, find).warnings[0]


def test_repeated_crashes_lead_to_the_baseline(house: House) -> None:
    result = house(evaluate_and_crash, evaluate_and_crash, evaluate_and_crash, save)
    assert house.modes == [Mode.FULL, Mode.FULL, Mode.FINISH, Mode.BASELINE]
    assert [(step.from_, step.to, step.reason) for step in result.fallbacks] == [
        ("tpot", "baseline", "TrainerCrashed")
    ]
    assert any(isinstance(event, FellBack) for event in house.events)


def test_without_a_fallback_the_run_fails_with_a_reason(tmp_path: Path) -> None:
    house = House(tmp_path, automl={"fallback": False})
    with pytest.raises(RunFailed, match=r"automl\.fallback is false"):
        house(evaluate_and_crash, evaluate_and_crash, evaluate_and_crash)
    report = house.report()
    assert report.failure is not None
    assert (report.final, report.failure.exit_code) == (True, 1)


def test_an_error_of_the_user_is_not_retried_and_leaves_nothing(house: House) -> None:
    with pytest.raises(SpecInvalid) as caught:
        house(refuse)
    assert (caught.value.reason, caught.value.exit_code) == ("TargetColumnMissing", 2)
    assert house.homes == []


def test_the_log_that_a_failure_names_is_kept(house: House) -> None:
    def crash(workspace: Workspace, _run: ResolvedRun, _tell: Callable[[Event], None]) -> ChildEnd:
        workspace.log_file.parent.mkdir(parents=True, exist_ok=True)
        workspace.log_file.write_text("Traceback")
        return ChildEnd(ended=Ended.CRASHED, message="the search process ended with status 1")

    with pytest.raises(RunFailed, match="no model was saved") as caught:
        house(*[crash] * 5)
    (home,) = house.homes
    log = re.search(r"log: (\S+)\)", caught.value.message)
    assert log is not None
    assert Path(log[1]).read_text() == "Traceback"
    assert Path(log[1]).is_relative_to(home)


def test_the_log_is_kept_where_a_fallback_is_not_allowed(tmp_path: Path) -> None:
    def crash(_workspace: Workspace, _run: ResolvedRun, _tell: Callable[[Event], None]) -> ChildEnd:
        return ChildEnd(ended=Ended.CRASHED, message="the search process ended with status 1")

    house = House(tmp_path, automl={"fallback": False})
    with pytest.raises(RunFailed) as caught:
        house(*[crash] * 3)
    (home,) = house.homes
    assert f"(log: {home}/.work/logs/trainer.log)" in caught.value.message


def test_an_unfinished_run_is_continued_in_its_folder(house: House) -> None:
    with pytest.raises(TrainingError):
        house(*[evaluate_and_crash] * 5)
    result = house(save)
    assert result.resumed
    assert len(house.homes) == 1


def test_the_next_run_does_not_change_a_finished_run(house: House) -> None:
    house(save)
    house(save)
    assert len(house.homes) == 2


def test_a_fresh_run_does_not_change_an_unfinished_run(house: House) -> None:
    with pytest.raises(TrainingError):
        house(*[evaluate_and_crash] * 5)
    result = house(save, fresh=True)
    assert not result.resumed
    assert len(house.homes) == 2


def test_another_spec_is_another_run(tmp_path: Path) -> None:
    first = House(tmp_path)
    with pytest.raises(TrainingError):
        first(*[evaluate_and_crash] * 5)
    second = House(tmp_path, randomState=7)
    assert not second(save).resumed
    assert len(second.homes) == 2


def test_a_run_that_was_saved_but_not_published_only_publishes(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trainingjob_trainer.storage import Output

    def down(*_arguments: object) -> None:
        raise RunFailed("UploadFailed", "the storage is down")

    with monkeypatch.context() as patch:
        patch.setattr(Output, "publish", down)
        with pytest.raises(RunFailed, match="storage is down"):
            house(save)
    result = house()
    assert house.modes == [Mode.FULL], "no second child"
    assert result.best == BEST
    assert [artifact.name for artifact in result.artifacts] == [
        "model.joblib",
        "report.json",
        "manifest.json",
    ]


def test_a_patient_run_publishes_when_the_storage_is_back(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trainingjob_trainer.run import publish
    from trainingjob_trainer.storage import Output

    put, seen = Output.publish, []

    def down_once(self: Output, *arguments: Any) -> Any:
        if not seen:
            seen.append(None)
            raise RunFailed("UploadFailed", "the storage is down")
        seen.append(house.report())
        return put(self, *arguments)

    monkeypatch.setattr(Output, "publish", down_once)
    monkeypatch.setattr(publish, "_PAUSE_SECONDS", 0.0)
    house(save, upload_patience_seconds=60.0)
    told = seen[1]
    assert (told.final, told.failure.reason) == (False, "UploadFailed")
    assert (house.report().final, house.report().failure) == (True, None)


def test_findings_keep_their_column_and_their_severity(house: House) -> None:
    def find(workspace: Workspace, run: ResolvedRun, tell: Callable[[Event], None]) -> ChildEnd:
        tell(DataReady(resolved=run.summary(), holdout_rows=3, data_digest="0" * 64, findings=(constant,)))
        tell(Warned(message="something else"))
        return save(workspace, run, tell)

    constant = FindingNote(finding="Constant", severity=Severity.INFO, column="zip", message="has one value")
    result = house(find)
    assert (result.findings, result.warnings) == ((constant,), ("something else",))
    assert (house.report().findings, house.report().warnings) == ((constant,), ("something else",))


def test_warnings_stay_among_many_findings(house: House) -> None:
    def find(workspace: Workspace, run: ResolvedRun, tell: Callable[[Event], None]) -> ChildEnd:
        tell(DataReady(resolved=run.summary(), holdout_rows=3, data_digest="0" * 64, findings=(*notes, last)))
        return save(workspace, run, tell)

    notes = [FindingNote(finding="A", severity=Severity.INFO, message=f"note {n}") for n in range(200)]
    last = FindingNote(finding="B", severity=Severity.WARNING, message="a warning")
    findings = house(find).findings
    assert (findings[0], len(findings)) == (last, MAX_FINDINGS)


@pytest.mark.parametrize(
    ("acceptance", "met", "words"),
    [
        ({}, None, ""),
        ({"minScore": 0.75}, True, "meets"),
        ({"minScore": 0.85}, False, "below acceptance.minScore"),
        ({"mustBeatBaseline": True}, True, "meets"),
    ],
)
def test_acceptance_uses_the_holdout_score(
    tmp_path: Path, acceptance: dict[str, Any], met: bool | None, words: str
) -> None:
    result = House(tmp_path, **({"acceptance": acceptance} if acceptance else {}))(save)
    assert result.accepted is met
    assert words in result.acceptance_message
    assert (result.acceptance_message == "") is (met is None)


def test_two_runs_never_share_a_folder(house: House) -> None:
    def run_again(_workspace: Workspace, _run: ResolvedRun, _tell: Callable[[Event], None]) -> ChildEnd:
        with pytest.raises(RunFailed, match="another run uses"):
            house_again(save)
        return save(_workspace, _run, _tell)

    class Never(House):
        def __call__(self, *children: Child, **options: Any) -> RunResult:
            return supervise(self.run, RunOptions(**options), TrainerSettings(), lambda _event, _state: None)

    house_again = Never(house.output.parent)
    house(run_again)


def test_each_child_has_the_remaining_time_and_light_models_always_some(house: House) -> None:
    budget = float(house.run.budget.time_left_seconds)

    def overrun(workspace: Workspace, run: ResolvedRun, tell: Callable[[Event], None]) -> ChildEnd:
        workspace.keep_used_seconds(budget + 100.0)
        evaluate_and_crash(workspace, run, tell)
        return ChildEnd(ended=Ended.OVERRAN, message="the search process was not done in time")

    house(overrun, save)
    assert house.modes == [Mode.FULL, Mode.BASELINE]
    first, second = house.limits
    assert budget < first <= 1.05 * budget + 5
    assert second >= budget + 100.0 + 30.0


PATIENT = """
import signal, time
signal.signal(signal.SIGTERM, lambda *_: print("asked to save", flush=True))
print("ready", flush=True)
while True:
    time.sleep(60)
"""


@pytest.mark.parametrize("save_on_signal", [True, False])
def test_the_first_signal_asks_to_save_and_the_second_one_ends_the_child(
    house: House, save_on_signal: bool
) -> None:
    words: list[str] = []

    def interrupted(workspace: Workspace, _run: ResolvedRun, _tell: Callable[[Event], None]) -> ChildEnd:
        workspace.journal.write_text("{}\n")
        command = [sys.executable, "-c", PATIENT]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
            assert process.stdout is not None
            try:
                words.append(process.stdout.readline())
                house.on_start(process.pid)
                os.kill(os.getpid(), signal.SIGINT)
                words.append(process.stdout.readline())
                if save_on_signal:
                    assert process.poll() is None
                    os.kill(os.getpid(), signal.SIGTERM)
                assert process.wait(60) == -signal.SIGKILL
            finally:
                process.kill()
        return ChildEnd(ended=Ended.CRASHED, message="the search process was ended by signal 9")

    with pytest.raises(Interrupted, match="the same command continues it"):
        house(interrupted, save_on_signal=save_on_signal)
    assert words == ["ready\n", "asked to save\n" if save_on_signal else ""]
    assert house.modes == [Mode.FULL], "no other child is started"
    assert house(save).resumed


def test_a_signal_before_the_first_child_starts_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(tmp_path, uid="8d1f0a52-0000-4000-8000-000000000000")
    monkeypatch.setattr(Mirror, "fetch", lambda _mirror: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Interrupted):
        house()
    assert house.modes == []


def test_a_signal_reaches_a_starting_child(house: House) -> None:
    words: list[str] = []

    def starting(workspace: Workspace, run: ResolvedRun, tell: Callable[[Event], None]) -> ChildEnd:
        command = [sys.executable, "-c", PATIENT]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
            assert process.stdout is not None
            try:
                assert process.stdout.readline() == "ready\n"
                os.kill(os.getpid(), signal.SIGINT)
                house.on_start(process.pid)
                words.append(process.stdout.readline())
            finally:
                process.kill()
        return save(workspace, run, tell)

    house(starting)
    assert words == ["asked to save\n"]


def test_only_a_report_limits_fallbacks_and_warnings(house: House) -> None:
    steps = [
        Fallback(
            from_="tpot", to="baseline", reason=Reason.TRAINER_CRASHED, time=datetime.now(UTC), message=str(n)
        )
        for n in range(11)
    ]
    warnings = [f"{n} {'w' * 2000}" for n in range(25)]

    def tell_much(workspace: Workspace, run: ResolvedRun, tell: Callable[[Event], None]) -> ChildEnd:
        for step in steps:
            tell(FellBack(fallback=step))
        for warning in warnings:
            tell(Warned(message=warning))
        return evaluate_and_crash(workspace, run, tell)

    result = house(tell_much, save)
    report = house.report()
    assert [step.message for step in report.fallbacks] == [str(n) for n in range(3, 11)]
    assert len(report.warnings) == 20
    assert report.warnings[0] == warnings[6][:1000]
    history = house.histories[1]
    assert [step["message"] for step in history["fallbacks"]] == [str(n) for n in range(11)]
    assert history["warnings"] == list(result.warnings)
    assert result.warnings[:25] == tuple(warnings)
    assert len(result.fallbacks) == 11


@pytest.mark.parametrize(
    ("ended", "reason"), [(Ended.OUT_OF_MEMORY, "OutOfMemory"), (Ended.CRASHED, "NoModel")]
)
def test_a_run_names_memory_as_the_cause_of_killed_children(house: House, ended: Ended, reason: str) -> None:
    def starve(_workspace: Workspace, _run: ResolvedRun, _tell: Callable[[Event], None]) -> ChildEnd:
        return ChildEnd(ended=ended, message="the search process was killed")

    with pytest.raises(RunFailed, match="was killed") as caught:
        house(*[starve] * 5)
    assert caught.value.reason == reason


def no_space(*_arguments: Any, **_options: Any) -> Any:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_is_reported_with_its_folder(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainingjob_trainer.run.supervisor.write_json", no_space)
    with pytest.raises(RunFailed, match=r"churn-.* \(No space left on device\)") as caught:
        house()
    assert caught.value.reason == "WorkFolderUnusable"


def test_a_report_that_does_not_fit_on_the_disk_is_retried_unless_it_is_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = file_sink(tmp_path / "report.json")
    monkeypatch.setattr(Path, "write_text", no_space)
    report = Report(job_uid="u", attempt=1, sequence=1, stage=Stage.SEARCHING)
    write(report)
    with pytest.raises(RunFailed, match="free space there"):
        write(report.model_copy(update={"final": True, "stage": Stage.FINISHED}))
