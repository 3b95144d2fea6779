from pathlib import Path

import pytest

from support.jobs import job
from trainingjob_api import ResolvedRun, resolve
from trainingjob_trainer.errors import RunFailed
from trainingjob_trainer.events import FellBack, Warned
from trainingjob_trainer.run.fallback import Mode, clock_limit, first_ladder, rungs_left, step_down
from trainingjob_trainer.run.watch import ChildEnd, Ended

FULL, LOCAL, FINISH, BASELINE, DUMMY = Mode.FULL, Mode.LOCAL, Mode.FINISH, Mode.BASELINE, Mode.DUMMY
LOG = Path("trainer.log")


def run(
    *, enabled: bool = True, fallback: bool = True, seconds: int = 100, mode: str = "local"
) -> ResolvedRun:
    automl = {"enabled": enabled, "fallback": fallback}
    return resolve(job(automl=automl, budget={"timeLeftSeconds": seconds}, parallelMode=mode), {})


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
        (Ended.CRASHED, 100, [FINISH, BASELINE, DUMMY]),
        (Ended.HUNG, 104, [FINISH, BASELINE, DUMMY]),
        (Ended.OVERRAN, 50, [BASELINE, DUMMY]),
    ],
)
def test_without_time_there_is_no_search_and_slow_fits_are_not_repeated(
    ended: Ended, used: float, left: list[Mode]
) -> None:
    assert rungs_left(run(), [FULL, FINISH, BASELINE, DUMMY], end(ended), used_seconds=used) == left


@pytest.mark.parametrize(
    ("mode", "used", "limit"), [(FULL, 0, 105), (FINISH, 90, 105), (BASELINE, 0, 135), (DUMMY, 120, 155)]
)
def test_light_models_have_time_after_the_end_of_the_budget(mode: Mode, used: float, limit: float) -> None:
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
def test_a_fallback_is_reported_and_rejected_if_the_job_forbids_it(
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


@pytest.mark.parametrize(
    ("fallback", "enabled", "rungs"),
    [
        (True, True, [FULL, LOCAL, FINISH, BASELINE, DUMMY]),
        (False, True, [FULL, FULL, FINISH, BASELINE, DUMMY]),
        (True, False, [BASELINE, BASELINE, DUMMY]),
    ],
)
def test_a_distributed_run_continues_locally_if_allowed(
    fallback: bool, enabled: bool, rungs: list[Mode]
) -> None:
    assert first_ladder(run(fallback=fallback, enabled=enabled, mode="distributed")) == rungs


@pytest.mark.parametrize(
    ("ended", "reason"),
    [
        (Ended.STRANDED, "SchedulerLost"),
        (Ended.HUNG, "TrainerHung"),
        (Ended.CRASHED, "TrainerCrashed"),
        (Ended.OUT_OF_MEMORY, "OutOfMemory"),
    ],
)
def test_leaving_the_cluster_is_a_fallback(ended: Ended, reason: str) -> None:
    event = step_down(run(mode="distributed"), LOCAL, end(ended), log=LOG)
    assert isinstance(event, FellBack)
    assert (event.fallback.from_, event.fallback.to, event.fallback.reason) == ("dask", "local", reason)


def test_a_cluster_is_left_once() -> None:
    event = step_down(run(mode="distributed"), LOCAL, end(Ended.CRASHED), log=LOG, left_dask=True)
    assert isinstance(event, Warned)


def test_a_lost_cluster_ends_a_run_that_may_not_continue_locally() -> None:
    with pytest.raises(RunFailed, match=r"automl\.fallback is false, so there is no local search"):
        step_down(run(mode="distributed", fallback=False), FULL, end(Ended.STRANDED), log=LOG)
