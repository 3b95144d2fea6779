"""A pass calls each layer once: read, observe, decide, apply, write."""

import sys
from collections import Counter

from trainingjob_operator import reconciler

PATH = [
    "api.Api.read_job",
    "job_view.read_job_view",
    "api.Api.snapshot",
    "observe.observe",
    "policies.decide",
    "status.build_status",
    "status.merge_patch",
    "status.events_of",
    "api.Api.write_status",
    "telemetry.Metrics.changed",
]
"""Functions of other layers that a pass calls which writes a status, in this order."""


def test_no_function_of_another_layer_is_called_twice(cluster, operation, monkeypatch):
    async def call(function, *args):
        return function(*args)

    monkeypatch.setattr(reconciler, "_in_thread", call)
    cluster.submit()
    operation.settle()
    cluster.run_pod()
    operation.settle()
    cluster.report_progress(3)
    cluster.later(60)
    calls, prefix = [], "trainingjob_operator."

    def record(frame, event, _argument):
        caller = frame.f_back
        module = frame.f_globals.get("__name__", "")
        if event == "call" and module.startswith(prefix) and caller is not None:
            inside = caller.f_globals.get("__name__", "")
            # A coroutine that is resumed is no call: it does not begin at its first instruction.
            begins = frame.f_lasti < 16
            if inside in {reconciler.__name__, __name__} and module != reconciler.__name__ and begins:
                calls.append(f"{module.removeprefix(prefix)}.{frame.f_code.co_qualname}")

    sys.setprofile(record)
    try:
        operation.look()
    finally:
        sys.setprofile(None)
    assert [name for name in calls if name in PATH] == PATH
    # Those that read the whole cluster or write to it, as opposed to properties and helpers.
    assert all(
        count == 1
        for name, count in Counter(calls).items()
        if name.startswith(("api.", "observe.", "policies."))
    )
