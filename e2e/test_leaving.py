"""Deletion in mid-run with and without an operator, and the time to live of the pods."""

from e2e.kit.jobs import START_SECONDS


def test_a_job_that_is_deleted_in_mid_run_leaves_nothing_behind(start):
    run = start("leaving")
    run.reach("Searching", START_SECONDS)
    run.delete()
    run.gone()


def test_a_job_can_be_deleted_while_the_operator_is_down(start, operator):
    run = start("alone")
    run.reach("Searching", START_SECONDS)
    with operator.down():
        run.delete()
        run.gone()


def test_the_name_of_a_deleted_job_can_be_used_at_once(start):
    options = {"automl": {"enabled": False}, "budget": None}
    first = start("again", **options)
    first.reach("Succeeded", START_SECONDS)
    first.delete()
    second = start("again", **options)
    second.reach("Succeeded", START_SECONDS)
    assert second.uid != first.uid


def test_the_time_to_live_deletes_pods_and_keeps_the_resource(start):
    run = start("short-lived", automl={"enabled": False}, budget=None, ttlSecondsAfterFinished=5)
    status = run.reach("Succeeded", START_SECONDS)
    run.eventually(lambda: run.job is None and not run.pods, "Job and pods are left", 90)
    after = run.status
    assert after["phase"] == "Succeeded"
    assert after["artifacts"] == status["artifacts"]
    assert run.outcomes == ["Succeeded"]
    assert run.conditions()["Ready"] == ("True", "Succeeded")
