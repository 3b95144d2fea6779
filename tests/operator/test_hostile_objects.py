"""Valid objects that take long to parse do not block the event loop."""

import json
import sys
import threading
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import trainingjob_operator.job_view as subjects
from support.fake_kubernetes import Cluster, Operation, Store
from support.fake_kubernetes.cluster import NAMESPACE
from trainingjob_api import parse_report
from trainingjob_api.report import MAX_REPORT_BYTES, ReportError
from trainingjob_operator import observe as reports
from trainingjob_operator import reconciler
from trainingjob_operator.children import Child

READERS = ("trainingjob_api", "trainingjob_operator", "yaml", "difflib")
MOST_CALLS = 3_000
"""Calls of one pass in the loop's own thread, whatever the objects hold; a plain job takes about 300."""


@contextmanager
def counted_calls():
    """Count the calls of code that reads objects, in this thread alone: that of the event loop."""
    calls = [0]

    def count(frame, event, _):
        if event == "call" and any(f"/{reader}/" in frame.f_code.co_filename for reader in READERS):
            calls[0] += 1

    sys.setprofile(count)
    try:
        yield calls
    finally:
        sys.setprofile(None)


def filled(before, item, after, size, mark=","):
    """Return a text of about *size* characters that repeats *item*."""
    count = max(1, (size - len(before) - len(after)) // (len(item) + len(mark)))
    return before + mark.join([item] * count) + after


# Recipes for texts: what comes first, what is repeated, what comes last, how long, and what is between.
SPACES = st.tuples(
    st.sampled_from(
        [
            "{type: choice, options: [",
            "{type: estimator, name: A, hyperparameters: {a: {choice: [",
            "a: &a [1]\nb: [",
            *("[", "{", "", "|\n ", '"', "!!int ", "#"),
        ]
    ),
    st.sampled_from(
        [
            *("[]", "{}", "{type: choise}", "{type: choice, options: [[]]}", "{low: [], high: []}"),
            *("1", "1:1", "*a", "&a 1", "\\u0041", "- ", "[", "?", "\n", "'", "a: 1", "<<: *a"),
            *("é", "\U0001f600", "0x", ".5", "1e"),
        ]
    ),
    st.sampled_from(["", "]}", "]", "}", "]}}}", '"', "x"]),
    st.sampled_from([10, 1_000, 14_000, 65_000]),
    st.sampled_from([",", "", " ", "\n", ":"]),
)
REPORTS = st.tuples(
    st.sampled_from(
        ['{"jobUid":"u","leaderboard":[', '{"artifacts":[', "[", '{"a":', '{"resolved":{"sources":{', ""]
    ),
    st.sampled_from(["{}", "1", '"x":1', "[", '{"rank":1}', "9", "\\u0001", "null"]),
    st.sampled_from(["]}", "", "}", "}}}"]),
    st.sampled_from([100, 200_000, 1_000_000]),
)


@settings(max_examples=15)
@given(SPACES, SPACES, REPORTS, st.sampled_from(["a", " ", 'secret "']), st.booleans())
def test_objects_are_never_parsed_in_the_event_loop(inline, referenced, told, word, whole):
    long = word * 20_000
    store = Store()
    cluster, operation = Cluster(store), Operation(store)
    space = {"inline": filled(*inline)} if whole else {"configMapRef": {"name": "space"}}
    cluster.submit(searchSpace=space)
    meta = {"name": "space"}
    raw = {"metadata": meta, "data": {"search-space.yaml": filled(*referenced)}}
    store.create("/api/v1", "ConfigMap", "configmaps", NAMESPACE, raw)
    many = {f"l{number}": "v" for number in range(3_000)}
    cluster.job["metadata"] |= {"labels": many, "annotations": {"a": long}}
    with counted_calls() as calls:
        operation.look()
    assert calls[0] < MOST_CALLS
    operation.settle()
    if cluster.child(Child.JOB) is None:
        assert cluster.status["phase"] == "Failed"
        return
    cluster.run_pod()
    waiting = {"waiting": {"reason": "CreateContainerConfigError", "message": long}}
    cluster.pod_status(phase="Pending", containerStatuses=[{"name": "trainer", "state": waiting}])
    name = cluster.name_of(Child.REPORT)
    store.patch("configmaps", NAMESPACE, name, {"data": {"report.json": filled(*told)}})
    with counted_calls() as calls:
        operation.look()
    assert calls[0] < MOST_CALLS


def test_parsing_and_status_run_outside_the_event_loop(cluster, operation, monkeypatch):
    seen = {}
    for name in ("read_job_view", "observe", "build_status", "merge_patch"):
        real = getattr(reconciler, name)

        def spy(*args, _name=name, _real=real, **kwargs):
            seen.setdefault(_name, set()).add(threading.get_ident())
            return _real(*args, **kwargs)

        monkeypatch.setattr(reconciler, name, spy)
    cluster.submit()
    operation.settle()
    assert seen.keys() == {"read_job_view", "observe", "build_status", "merge_patch"}
    assert threading.get_ident() not in set().union(*seen.values())


@pytest.fixture
def parses(monkeypatch):
    """Name what is parsed."""
    found = []
    for module, name in ((subjects, "parse_job"), (reports, "parse_report")):
        real = getattr(module, name)

        def spy(what, _name=name, _real=real):
            found.append(_name)
            return _real(what)

        monkeypatch.setattr(module, name, spy)
    return found


def test_a_spec_is_parsed_once_for_a_generation(cluster, operation, parses):
    cluster.submit()
    operation.settle()
    cluster.run_pod()
    operation.settle()
    operation.look()
    assert parses.count("parse_job") == 1
    cluster.change(suspend=True)
    operation.settle()
    assert parses.count("parse_job") == 2


def test_labels_are_read_again_although_the_spec_is_cached(cluster):
    cluster.submit()
    remembered = reconciler.lru_cache(2)(subjects.parse_spec)
    subjects.read_job_view(cluster.job, remembered)
    cluster.job["metadata"]["labels"] = {"a": "b"}
    assert subjects.read_job_view(cluster.job, remembered).job.metadata.labels["a"] == "b"
    assert remembered.cache_info().hits == 1


def test_nothing_is_parsed_for_a_job_that_has_ended(cluster, operation, parses):
    operation.run_to_success(cluster)
    del parses[:]
    cluster.change(ttlSecondsAfterFinished=100, acceptance={"minScore": 2.0}, suspend=True)
    due = operation.settle()
    assert due == pytest.approx(100, abs=5)
    assert cluster.condition("AcceptanceMet")["status"] == "False"
    assert not parses


@pytest.mark.parametrize("item", [{}, 1, []], ids=["empty", "number", "list"])
@pytest.mark.parametrize(
    "field", ["leaderboard", "paretoFront", "artifacts", "findings", "warnings", "fallbacks"]
)
def test_a_report_of_bad_items_costs_one_error_a_list(field, item):
    count = (MAX_REPORT_BYTES - 100) // (len(json.dumps(item)) + 1)
    with pytest.raises(ReportError) as caught:
        parse_report(json.dumps({"jobUid": "u", field: [item] * count}, separators=(",", ":")))
    assert f"{field}.0" in str(caught.value)
    assert f"{field}.1" not in str(caught.value)
