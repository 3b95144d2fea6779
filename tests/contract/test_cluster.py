"""The definition on a real API server: KUBECONFIG names it; no node and no controller is needed."""

import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml

from support.jobs import BAD, CHANGED, FULL, GOOD, document
from trainingjob_api import GROUP, MUTABLE_FIELDS, PLURAL, VERSION
from trainingjob_api.crd import build_crd

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(
        not os.environ.get("KUBECONFIG"),
        reason="KUBECONFIG names no Kubernetes API server to prove the CRD on",
    ),
]
kubernetes = pytest.importorskip("kubernetes", reason="the kubernetes package talks to the API server")

ROOT = Path(__file__).parents[2]
NAME = f"{PLURAL}.{GROUP}"
REQUIRED = {"dataset", "targetColumn"}
IMMUTABLE = sorted(set(FULL) - MUTABLE_FIELDS)


@pytest.fixture(scope="module")
def client():
    with kubernetes.config.new_client_from_config(os.environ["KUBECONFIG"]) as made:
        yield made


@pytest.fixture(scope="module")
def crd(client):
    """Bring the definition up to date, and leave it: others may hold objects of it."""
    api = kubernetes.client.ApiextensionsV1Api(client)
    try:
        api.create_custom_resource_definition(build_crd())
    except kubernetes.client.ApiException as error:
        if error.status != 409:
            raise
        current = api.read_custom_resource_definition(NAME)
        body = build_crd()
        body["metadata"]["resourceVersion"] = current.metadata.resource_version
        api.replace_custom_resource_definition(NAME, body)
    return eventually(lambda: established(api), "the definition is not established")


def established(api):
    """Return the definition once it is established; reads of one object never come from a stale cache."""
    found = api.read_custom_resource_definition(NAME)
    conditions = {condition.type: condition.status for condition in found.status.conditions or ()}
    return found if conditions.get("Established") == "True" else None


def eventually(look, message, seconds=60):
    """Return the first true result of *look*, asked again and again until the time is over."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not (found := look()):
        assert time.monotonic() < deadline, message
        pause.wait(0.2)
    return found


@pytest.fixture(scope="module")
def namespace(client):
    api = kubernetes.client.CoreV1Api(client)
    name = f"contract-{os.urandom(4).hex()}"
    api.create_namespace({"metadata": {"name": name}})
    yield name
    api.delete_namespace(name)


class Jobs:
    """TrainingJobs of one namespace, strict about unknown fields."""

    def __init__(self, client, namespace):
        self.api = kubernetes.client.CustomObjectsApi(client)
        self.place = (GROUP, VERSION, namespace, PLURAL)

    def served(self):
        try:
            self.api.list_namespaced_custom_object(*self.place)
        except kubernetes.client.ApiException as error:
            # Right after the definition is made its address is unknown for a moment.
            if error.status not in {404, 503}:
                raise
            return False
        return True

    def create(self, body, **more):
        return self.api.create_namespaced_custom_object(*self.place, body, field_validation="Strict", **more)

    def replace(self, body, **more):
        name = body["metadata"]["name"]
        return self.api.replace_namespaced_custom_object(*self.place, name, body, **more)

    def set_status(self, body):
        name = body["metadata"]["name"]
        return self.api.replace_namespaced_custom_object_status(*self.place, name, body)

    def delete(self, name):
        self.api.delete_namespaced_custom_object(*self.place, name)


@pytest.fixture(scope="module")
def jobs(client, crd, namespace):
    made = Jobs(client, namespace)
    eventually(made.served, "the resource is not served")
    return made


@pytest.fixture(scope="module")
def full(jobs):
    yield jobs.create(document("full", **FULL))
    jobs.delete("full")


@pytest.fixture(scope="module")
def least(jobs):
    yield jobs.create(document("least", activeDeadlineSeconds=2000))
    jobs.delete("least")


def refused(call, *arguments, **more):
    with pytest.raises(kubernetes.client.ApiException) as error:
        call(*arguments, **more)
    assert error.value.status in {400, 422}, error.value
    return error.value.body


def kubectl(*arguments):
    binary = shutil.which("kubectl", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if binary is None:
        pytest.skip("there is no kubectl on the path")
    return subprocess.run([binary, *arguments], capture_output=True, text=True, timeout=60, check=False)


def test_the_server_is_recent_and_has_no_complaint(client, crd):
    version = kubernetes.client.VersionApi(client).get_code()
    assert (int(version.major), int(version.minor.rstrip("+"))) >= (1, 30)
    conditions = {condition.type: condition for condition in crd.status.conditions}
    assert conditions["NamesAccepted"].status == "True"
    assert "NonStructuralSchema" not in conditions
    assert crd.spec.preserve_unknown_fields in {None, False}


@pytest.mark.parametrize("spec", GOOD)
def test_the_server_accepts_all_that_the_models_accept(jobs, spec):
    sent = document("good", **spec)
    assert jobs.create(sent, dry_run="All")["spec"] == sent["spec"]


@pytest.mark.parametrize(("spec", "field"), BAD)
def test_the_server_rejects_all_that_the_models_reject(jobs, spec, field):
    body = refused(jobs.create, document("bad", **spec), dry_run="All")
    assert field.split(".")[1].split("[")[0] in body if "." in field else body


def test_a_local_file_is_rejected_with_a_remedy(jobs):
    body = refused(jobs.create, document("local", dataset={"uri": "file://./a.csv"}), dry_run="All")
    assert "file:// is for local runs" in body
    body = refused(jobs.create, document("local", output={"uri": "file://./runs"}), dry_run="All")
    assert "use s3://, gs://, az:// or pvc://" in body


@pytest.mark.parametrize("field", sorted(MUTABLE_FIELDS))
def test_mutable_fields_change_and_come_and_go(jobs, full, least, field):
    changed = jobs.replace({**full, "spec": {**full["spec"], field: CHANGED[field]}}, dry_run="All")
    assert changed["spec"][field] == CHANGED[field]
    rest = {name: value for name, value in full["spec"].items() if name != field}
    assert field not in jobs.replace({**full, "spec": rest}, dry_run="All")["spec"]
    added = jobs.replace({**least, "spec": {**least["spec"], field: FULL[field]}}, dry_run="All")
    assert added["spec"][field] == FULL[field]


@pytest.mark.parametrize("field", IMMUTABLE)
def test_immutable_fields_do_not_change(jobs, full, field):
    body = refused(jobs.replace, {**full, "spec": {**full["spec"], field: CHANGED[field]}}, dry_run="All")
    assert f"{field} is immutable" in body


@pytest.mark.parametrize("field", sorted(set(IMMUTABLE) - REQUIRED))
def test_immutable_fields_are_not_removed(jobs, full, field):
    rest = {name: value for name, value in full["spec"].items() if name != field}
    assert f"{field} is immutable" in refused(jobs.replace, {**full, "spec": rest}, dry_run="All")


@pytest.mark.parametrize("field", sorted(set(IMMUTABLE) - REQUIRED - {"activeDeadlineSeconds"}))
def test_immutable_fields_are_not_added(jobs, least, field):
    more = {**least["spec"], field: FULL[field]}
    assert f"{field} is immutable" in refused(jobs.replace, {**least, "spec": more}, dry_run="All")


def test_a_deadline_is_not_added(jobs):
    made = jobs.create(document("without"))
    more = {**made["spec"], "activeDeadlineSeconds": 1800}
    assert "activeDeadlineSeconds is immutable" in refused(
        jobs.replace, {**made, "spec": more}, dry_run="All"
    )
    jobs.delete("without")


def test_a_part_of_an_immutable_field_is_not_added_either(jobs, full):
    spec = {**full["spec"], "dask": {**FULL["dask"], "workers": 5}}
    assert "dask is immutable" in refused(jobs.replace, {**full, "spec": spec}, dry_run="All")
    spec = {**full["spec"], "featureTypes": {**FULL["featureTypes"], "age": "numeric"}}
    assert "featureTypes is immutable" in refused(jobs.replace, {**full, "spec": spec}, dry_run="All")


STATUS = {
    "observedGeneration": 1,
    "phase": "Searching",
    "backend": "dask",
    "modelSource": "tpot",
    "conditions": [
        {
            "type": "AcceptanceMet",
            "status": "True",
            "reason": "Accepted",
            "message": "0.905 is at least 0.8",
            "lastTransitionTime": "2026-11-24T19:42:00Z",
        },
        {
            "type": "Ready",
            "status": "False",
            "reason": "TrainerStarted",
            "lastTransitionTime": "2026-11-24T19:42:00Z",
        },
    ],
    "progress": {"generation": 3, "generations": 20, "evaluated": 96, "bestScore": "0.912"},
    "best": {"pipeline": "PCA → SVC", "score": "0.912", "holdoutScore": "0.905"},
    "leaderboard": [{"rank": 1, "pipeline": "PCA → SVC", "score": "0.912"}],
    "fallbacks": [{"from": "dask", "to": "local", "reason": "SchedulerLost", "time": "2026-11-24T19:42:00Z"}],
}


@pytest.fixture
def reported(jobs):
    made = jobs.create(document("reported"))
    yield jobs.set_status({**made, "status": STATUS})
    jobs.delete("reported")


def test_the_status_is_a_subresource(jobs, reported):
    assert reported["status"] == STATUS
    assert reported["metadata"]["generation"] == 1
    other = jobs.replace({**reported, "status": {"phase": "Failed"}})
    assert other["status"] == STATUS
    other = jobs.set_status({**other, "spec": {**other["spec"], "targetColumn": "x"}})
    assert other["spec"]["targetColumn"] == "target"


@pytest.mark.parametrize(
    "status",
    [
        {"phase": "Dreaming"},
        {"best": {"pipeline": "x", "score": "NaN"}},
        {"leaderboard": [{"rank": n, "pipeline": "x", "score": "1"} for n in range(1, 12)]},
        {"conditions": [STATUS["conditions"][0], STATUS["conditions"][0]]},
        {"progress": {"evaluated": -1}},
    ],
)
def test_the_status_is_bounded(jobs, reported, status):
    refused(jobs.set_status, {**reported, "status": status})


def test_kubectl_prints_the_columns(reported, namespace):
    for word in ("tj", "automl", "trainingjobs"):
        result = kubectl("get", word, "-n", namespace)
        assert result.returncode == 0, result.stderr
        head, *rows = [line.split() for line in result.stdout.splitlines()]
        assert head == ["NAME", "PHASE", "REASON", "BACKEND", "MODEL", "BEST", "PROGRESS", "ACCEPTED", "AGE"]
        row = next(row for row in rows if row[0].endswith("reported"))
        assert row[1:8] == ["Searching", "TrainerStarted", "dask", "tpot", "0.912", "3", "True"]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("trainingjob", "A table, a target and a budget"),
        ("trainingjob.spec", "Column to predict."),
        ("tj.spec.budget.timeLeftSeconds", "TPOT__TIME_LEFT, else 600"),
        ("tj.spec.dask.tolerations.effect", "NoSchedule"),
        ("tj.status.progress.timedOut", "Pipelines stopped at the time limit."),
    ],
)
def test_kubectl_explain_describes_the_fields(crd, path, text):
    result = kubectl("explain", path)
    assert result.returncode == 0, result.stderr
    assert text in " ".join(result.stdout.split())


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda path: path.stem)
def test_examples_are_applied_or_are_for_local_runs(crd, namespace, path):
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    local = data["spec"].get("output", {}).get("uri", "").startswith("file://")
    result = kubectl("apply", "-n", namespace, "--dry-run=server", "-f", str(path))
    assert (result.returncode == 0) is not local, result.stderr
    assert not local or "file:// is for local runs" in result.stderr


def test_kubectl_rejects_a_misspelt_field(crd, namespace, tmp_path):
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(document("typo", budgets={"cvFolds": 3})))
    result = kubectl("apply", "-n", namespace, "--dry-run=server", "-f", str(path))
    assert result.returncode != 0
    assert 'unknown field "spec.budgets"' in result.stderr
