import io
from datetime import UTC, datetime

import pytest
from rich.cells import cell_len
from rich.console import Console

from support.fake_run import Front, course, evaluated, folded, progress
from trainingjob_api import Fallback, ResolvedRun, Stage
from trainingjob_trainer.cli.display import Picture, show_progress
from trainingjob_trainer.events import Event, FellBack, Progressed, Resumed, StageChanged, Warned
from trainingjob_trainer.run.state import RunState

HOSTILE = "[red]x[/red] \x1b[2J\x1b]0;owned\x07 [link=http://a]y[/link] \u202e :boom:"


def drawn(run: ResolvedRun, state: RunState, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, markup=False, emoji=False, highlight=False)
    picture = Picture(run, lambda: 0.0)
    picture.show(course()[0], state)
    console.print(picture)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def state_of(*more: Event) -> RunState:
    return folded(*course()[:12], *more)


def test_the_picture_holds_stage_bars_scores_and_pipelines(job: ResolvedRun) -> None:
    assert [line.rstrip() for line in drawn(job, state_of(), 90).splitlines()] == [
        "churn · classification by accuracy · 4000 rows, 12 columns",
        "Loading → Preparing → Baseline → ● Searching → Fitting → Saving → Uploading",
        "time        ━━━━━━━━━━━━━━━━━━                                            30 s of 1:40 min",
        "evaluations ━━━━╸                                                                  3 of 40",
        "best 0.912 (+0.041) · baseline 0.871 · generation 1/5 · 2 workers",
        "2 ok · 1 failed",
        "last pipelines",
        "✓    0.9 1.2 s HistGradientBoostingClassifier(learning_rate=0.1, max_leaf_nodes=31)",
        "✗ failed 1.2 s HistGradientBoostingClassifier(learning_rate=0.1, max_leaf_nodes=31)",
        "✓  0.912 0.4 s StandardScaler → PCA(n_components=0.9) → LogisticRegression(C=0.3)",
        "best so far",
        "1 0.912 0.4 s StandardScaler → PCA(n_components=0.9) → LogisticRegression(C=0.3)",
        "2   0.9 1.2 s HistGradientBoostingClassifier(learning_rate=0.1, max_leaf_nodes=31)",
        "Ctrl-C saves the best so far; twice stops at once",
    ]


@pytest.mark.parametrize("width", [24, 40, 79, 80, 120])
def test_no_line_is_wider_than_the_terminal_and_the_height_stays(job: ResolvedRun, width: int) -> None:
    long = "x" * 300
    lines = drawn(job, state_of(evaluated(9, pipeline=long), Warned(message=long)), width).splitlines()
    assert max(cell_len(line) for line in lines) <= width
    assert len(lines) == 16


def test_the_picture_of_a_run_without_events_is_empty(job: ResolvedRun) -> None:
    text = drawn(job, RunState(resolved=job.summary()), 80)
    assert "best - · baseline - " not in text
    assert "best - · baseline -" in text
    assert "0 s of 1:40 min" in text
    assert text.splitlines()[0].rstrip() == "churn"


def test_a_baseline_run_has_no_bar_of_evaluations(job: ResolvedRun) -> None:
    text = drawn(job.model_copy(update={"automl_enabled": False}), state_of(), 80)
    assert "evaluations" not in text
    assert "Searching" not in text


def test_names_cannot_steer_the_terminal(job: ResolvedRun) -> None:
    text = drawn(job, state_of(evaluated(9, pipeline=HOSTILE), Warned(message=HOSTILE)), 120)
    assert "[red]x[/red]" in text
    assert ":boom:" in text
    assert not {"\x1b", "\x07", "\u202e"} & set(text)


def test_a_fallback_stands_out(job: ResolvedRun) -> None:
    step = Fallback(
        from_="dask", to="local", reason="SchedulerLost", time=datetime.now(UTC), message="it is gone"
    )
    assert "! dask → local: it is gone" in drawn(job, state_of(FellBack(fallback=step)), 80)


def test_the_live_picture_is_gone_at_the_end(job: ResolvedRun) -> None:
    console = Console(file=io.StringIO(), width=80, height=40, force_terminal=True, color_system=None)
    state = RunState(resolved=job.summary())
    with show_progress(console, job) as show:
        for event in course():
            state = state.after(event, 0.0)
            show(event, state)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "Uploading" in text
    assert "\x1b[?25h" in text  # the cursor is back
    assert text.rstrip("\n").endswith("\x1b[2K")  # the last line is erased


def lines(job: ResolvedRun, *events: Event) -> list[str]:
    now = 0.0

    def clock() -> float:
        return now

    file = io.StringIO()
    state = RunState(resolved=job.summary())
    with show_progress(Console(file=file), job, clock=clock) as show:
        for event in events:
            now += 4.0
            state = state.after(event, now)
            show(event, state)
    return file.getvalue().splitlines()


def test_plain_lines_show_stages_baseline_and_each_new_best(job: ResolvedRun) -> None:
    assert lines(job, *course()) == [
        "[      4 s] stage: Loading",
        "[      8 s] stage: Preparing",
        "[     12 s] data: 4000 rows, 12 columns; classification by accuracy, 5 folds, 800 hold-out rows",
        "[     12 s] warning: column 'id': looks like an identifier",
        "[     16 s] workers: 2 (local)",
        "[     20 s] stage: Baseline",
        "[     24 s] baseline: 0.871, on hold-out rows 0.88",
        "[     28 s] stage: Searching",
        "[     32 s] new best: 0.9 HistGradientBoostingClassifier(learning_rate=0.1, max_leaf_nodes=31)",
        "[     40 s] new best: 0.912 StandardScaler → PCA(n_components=0.9) → LogisticRegression(C=0.3)",
        "[     44 s] progress: generation 1/5, 2 ok · 1 failed, best 0.912, 30 s of 1:40 min",
        "[     52 s] stage: Fitting",
        "[     56 s] model: tpot, 0.912, on hold-out rows 0.905",
        "[ 1:00 min] stage: Saving",
        "[ 1:08 min] stage: Uploading",
    ]


def test_progress_is_printed_every_fifteen_seconds(job: ResolvedRun) -> None:
    told = lines(job, *(Progressed(progress=progress(generation=n)) for n in range(9)))
    assert [line.split(",")[0] for line in told] == [
        "[     16 s] progress: generation 3/5",
        "[     32 s] progress: generation 7/5",
    ]


def test_evaluations_of_an_earlier_attempt_are_not_a_new_best(job: ResolvedRun) -> None:
    told = lines(
        job, Resumed(evaluations=2, elapsed_seconds=31), evaluated(0, known=True), evaluated(1, score=0.1)
    )
    assert told == ["[      4 s] resumed: 2 evaluations are known, 31 s of the budget are used"]


def test_plain_lines_cannot_steer_a_terminal_either(job: ResolvedRun) -> None:
    told = lines(
        job, evaluated(0, pipeline=HOSTILE), Warned(message=HOSTILE), StageChanged(stage=Stage.SAVING)
    )
    assert not {"\x1b", "\x07", "\u202e"} & set("".join(told))
    assert len(told) == 3


TERMINAL = {"FORCE_COLOR": "1", "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "40"}


def test_a_terminal_gets_the_picture_and_everything_else_lines(front: Front) -> None:
    on_terminal = front.run(terminal=TERMINAL)
    assert on_terminal.exit_code == 0
    assert "\x1b[?25l" in on_terminal.stdout
    assert "stage: Loading" not in on_terminal.stdout
    for other in ({"COLUMNS": "80"}, {**TERMINAL, "TERM": "dumb"}):
        elsewhere = front.run(terminal=other)
        assert "\x1b[?25l" not in elsewhere.stdout
        assert "stage: Loading" in elsewhere.stdout
