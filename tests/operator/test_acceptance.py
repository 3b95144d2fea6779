"""Acceptance of a model, and its conditions."""

from support.acceptance import each_row


@each_row
def test_conditions_follow_the_judgement(  # noqa: PLR0917  # fixtures and a case
    cluster, operation, asked, best, met, reason
):
    spec = {} if asked is None else {"acceptance": asked.model_dump(by_alias=True, exclude_none=True)}
    cluster.submit(**spec)
    operation.settle()
    cluster.run_pod()
    cluster.report_success(best=best.model_dump(by_alias=True, exclude_none=True))
    cluster.end_pod(0)
    cluster.end_job("Complete")
    operation.settle()
    good = "False" if met is False else "True"
    assert (cluster.status["phase"], cluster.condition("Complete")["status"]) == ("Succeeded", "True")
    assert (cluster.condition("AcceptanceMet")["status"], cluster.condition("AcceptanceMet")["reason"]) == (
        good,
        reason,
    )
    assert cluster.condition("Ready")["status"] == good
    assert cluster.condition("Stalled")["status"] == ("True" if met is False else "False")
