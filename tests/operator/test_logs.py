"""One schema for every line of the log, whoever writes it."""

import asyncio
import io
import json
import logging
import re
import warnings

import kopf
import pytest

from support.fake_kubernetes.client import Fault
from trainingjob_operator.children import Child
from trainingjob_operator.telemetry import configure_logs, set_log_context
from trainingjob_operator.transport import ApiFault
from trainingjob_operator.workqueue import WorkQueue

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@pytest.fixture
def lines():
    """Read what the log has."""
    root, stream = logging.getLogger(), io.StringIO()
    before = root.handlers[:], root.level
    # Another test may have turned it on, and its own context of warnings has undone it since.
    logging.captureWarnings(capture=False)
    configure_logs(stream)
    set_log_context()
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.handlers[:], root.level = before
    logging.captureWarnings(capture=False)


def test_every_line_has_time_level_and_event(lines):
    logging.getLogger("kopf.activities").warning("a line\nof %s", "Kopf's")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("a warning", stacklevel=1)
    logging.getLogger("asyncio").error("it failed", exc_info=ValueError("why"))
    told = ("a line", "a warning", "it failed")
    found = [one for one in lines() if any(words in one["event"] for words in told)]
    assert [one["level"] for one in found] == ["warning", "warning", "error"]
    assert all(list(one)[:3] == ["time", "level", "event"] and TIME.fullmatch(one["time"]) for one in found)
    assert found[0]["event"] == "a line\nof Kopf's"
    assert "a warning" in found[1]["event"]
    assert "ValueError: why" in found[2]["traceback"]


def test_a_line_of_a_pass_names_job_uid_and_attempt(lines, cluster, operation):
    cluster.submit()
    operation.settle()
    cluster.run_pod()
    operation.settle()
    cluster.report(raw="nonsense")
    operation.settle()
    first, *_, refused = lines()
    uid = cluster.job["metadata"]["uid"]
    assert (first["event"], first["job"], first["uid"]) == ("phase changed", "team/churn", uid)
    assert (first["phase"], first["reason"]) == ("Pending", "CreatingResources")
    assert "attempt" not in first
    assert (refused["event"], refused["reason"], refused["attempt"]) == ("report rejected", "Malformed", 1)


def test_a_call_that_fails_is_named_with_method_path_and_code(lines, cluster, operation):
    operation.client.faults = [Fault(403, "POST", "events", times=9, message="not allowed")]
    cluster.submit()
    operation.settle()
    [refused, *_] = [one for one in lines() if one["event"] == "event refused"]
    assert (refused["method"], refused["code"]) == ("POST", 403)
    assert refused["path"] == "/api/v1/namespaces/team/events"
    assert refused["detail"] == "not allowed"


@pytest.mark.parametrize("orphan", [False, True], ids=["with its Job", "orphan"])
def test_a_child_that_is_refused_while_a_trainer_runs_is_named(lines, cluster, operation, orphan):
    cluster.submit()
    operation.settle()
    cluster.run_pod()
    operation.settle()
    if orphan:
        cluster.orphan_pods()
    cluster.lose(Child.ROLE)
    operation.client.faults = [Fault(403, "POST", "roles", times=9, message="not allowed")]
    operation.settle()
    assert cluster.ready == ("False", "Searching"), "the run continues"
    [refused, *_] = [one for one in lines() if one["event"] == "child not created"]
    assert (refused["level"], refused["reason"]) == ("warning", "Forbidden")
    assert "the Role of this job: not allowed" in refused["detail"]


def test_a_pass_that_fails_is_named_with_its_call(lines, operation):
    queue = WorkQueue(operation.reconciler.reconcile, workers=1, metrics=operation.metrics)
    operation.client.faults = [Fault(500, "GET", "trainingjobs")]

    asyncio.run(queue._pass(operation.key))
    [line] = lines()
    assert (line["event"], line["job"], line["code"]) == ("pass failed", "team/churn", 500)
    assert line["path"].endswith("/trainingjobs/churn")


def test_a_line_of_kopfs_about_a_job_has_the_jobs_keys(lines):
    reference = {"kind": "TrainingJob", "namespace": "team", "name": "churn", "uid": "u"}
    logger = logging.getLogger("kopf.objects")
    logger.warning("x", extra={"k8s_ref": reference, "settings": kopf.OperatorSettings()})
    logger.warning("x", extra={"k8s_ref": reference | {"kind": "Pod"}, "k8s_skip": True})
    job, pod = lines()
    assert (job["job"], job["uid"]) == ("team/churn", "u")
    assert pod["object"] == "Pod team/churn"
    assert "settings" not in job


def test_every_write_has_our_field_manager(cluster, operation):
    operation.run_to_success(cluster)
    managers = {
        method: {query.get("fieldManager") for one, query in operation.client.queries if one == method}
        for method in ("GET", "POST", "PATCH", "DELETE")
    }
    assert managers["POST"] == managers["PATCH"] == {"trainingjob-operator"}
    assert managers["GET"] == {None}


def test_a_fault_without_a_call_has_the_same_keys():
    assert ApiFault(0, "x").fields == {"method": "", "path": "", "code": 0, "detail": "x"}
