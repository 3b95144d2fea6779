"""Helpers that the tests of distributed jobs share."""

STEP = {"from": "dask", "to": "local", "reason": "SchedulerUnavailable", "message": "no cluster was found"}


def fell_back(store, reason="SchedulerUnavailable", attempt=1):
    return STEP | {"reason": reason, "time": store.stamp(), "attempt": attempt}


def said(cluster):
    condition = cluster.condition("DaskReady")
    return condition["status"], condition["reason"]


def writes(store, plural):
    return [(kind, name) for kind, its, name in store.writes if its == plural]
