from pathlib import Path

import pytest

from support.jobs import job
from trainingjob_api import ResolvedRun, resolve
from trainingjob_trainer.errors import RunFailed
from trainingjob_trainer.events import FellBack, Warned
from trainingjob_trainer.supervisor.ladder import clock_limit, first_ladder, rungs_left, step_down
from trainingjob_trainer.supervisor.mode import Mode
from trainingjob_trainer.supervisor.watch import ChildEnd, Ended

FULL, FINISH, BASELINE, DUMMY = Mode.FULL, Mode.FINISH, Mode.BASELINE, Mode.DUMMY
LOG = Path("trainer.log")


def run(*, enabled: bool = True, fallback: bool = True, seconds: int = 100) -> ResolvedRun:
    return resolve(
        job(automl={"enabled": enabled, "fallback": fallback}, budget={"timeLeftSeconds": seconds}), {}
    )


def end(ended: Ended) -> ChildEnd:
    return ChildEnd(ended=ended, message="it died")


def test_the_number_of_children_is_bounded() -> None:
    assert first_ladder(run()) == [FULL, FULL, FINISH, BASELINE, DUMMY]
    assert first_ladder(run(enabled=False)) == [BASELINE, BASELINE, DUMMY]


@pytest.mark.parametrize(
    ("ended", "used", "left"),
    [
        (Ended.CRASHED, 10, [FULL, FINISH, BASELINE, DUMMY]),
        (Ended.HUNG, 10, [FULL, FINISH, BASELINE, DUMMY]),
        (Ended.CRASHED, 100, [BASELINE, DUMMY]),
        (Ended.OVERRAN, 50, [BASELINE, DUMMY]),
    ],
)
def test_without_time_only_the_light_models_are_left(ended: Ended, used: float, left: list[Mode]) -> None:
    assert rungs_left(run(), [FULL, FINISH, BASELINE, DUMMY], end(ended), used_seconds=used) == left


@pytest.mark.parametrize(
    ("mode", "used", "limit"), [(FULL, 0, 105), (FINISH, 90, 105), (BASELINE, 0, 135), (DUMMY, 120, 155)]
)
def test_light_models_have_time_even_when_the_budget_is_gone(mode: Mode, used: float, limit: float) -> None:
    assert clock_limit(run(), mode, used) == limit


@pytest.mark.parametrize(
    ("enabled", "mode", "kind"),
    [
        (True, FULL, "restart"),
        (True, FINISH, "restart"),
        (True, BASELINE, ("tpot", "baseline")),
        (True, DUMMY, ("baseline", "dummy")),
        (False, BASELINE, "restart"),
        (False, DUMMY, ("baseline", "dummy")),
    ],
)
@pytest.mark.parametrize("fallback", [True, False])
def test_a_step_is_told_and_refused_where_the_job_does_not_allow_it(
    enabled: bool, mode: Mode, kind: str | tuple[str, str], fallback: bool
) -> None:
    one = run(enabled=enabled, fallback=fallback)
    if kind == "restart":
        event = step_down(one, mode, end(Ended.CRASHED), log=LOG)
        assert isinstance(event, Warned)
        assert "trainer.log" in event.message
    elif not fallback:
        with pytest.raises(RunFailed, match=r"automl\.fallback is false"):
            step_down(one, mode, end(Ended.CRASHED), log=LOG)
    else:
        event = step_down(one, mode, end(Ended.HUNG), log=LOG)
        assert isinstance(event, FellBack)
        assert (event.fallback.from_, event.fallback.to) == kind
        assert event.fallback.reason == "TrainerHung"
