"""Argo CD's health script and Flux' health expressions, executed, against the table in the docs."""

import re
from pathlib import Path

import pytest
import yaml

from support.conditions import COLUMNS

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs/reference/conditions.md"
KEY = "resource.customizations.health.automl.trainingjob.dev_TrainingJob"
STATUSES = {"T": "True", "F": "False", "?": "Unknown"}
# Where Flux' gate on jobs differs from kstatus: a started job is enough, and a suspended job is healthy.
BEGUN = {
    "searching",
    "searching after a step down",
    "uploading",
    "suspended",
    "suspended, still stopping",
}


def rows():
    """Return the table of the docs, each row by the names of its columns."""
    text = re.search(r"<!-- table -->(.*)<!-- end -->", DOCS.read_text(), re.DOTALL).group(1)
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.strip().splitlines()]
    return [dict(zip(lines[0], line, strict=True)) for line in lines[2:]]


def resource(row):
    conditions = [
        {"type": kind, "status": STATUSES[row[kind]], "reason": "AsRequested", "message": f"{kind} it is"}
        for kind in COLUMNS
    ]
    conditions[0]["reason"] = row["Reason of Ready"].strip("`")
    return {
        "metadata": {"generation": 2},
        "status": {"observedGeneration": 2, "phase": row["Phase"], "conditions": conditions},
    }


ROWS = [pytest.param(row, id=row["Situation"]) for row in rows()]


# --- Argo CD


@pytest.fixture(scope="module")
def customizations():
    return yaml.safe_load((ROOT / "gitops/argocd/argocd-cm.yaml").read_text())["data"]


@pytest.fixture
def run():
    """Return a function that runs a script as Argo CD does: Lua 5.1, its base and table libraries."""
    lua51 = pytest.importorskip("lupa.lua51", reason="lupa carries Lua")

    def health(script, resource):
        lua = lua51.LuaRuntime(unpack_returned_tuples=True, register_eval=False, register_builtins=False)
        for library in ("string", "io", "math", "debug", "coroutine"):
            lua.globals()[library] = None
        lua.globals().obj = lua.table_from(resource, recursive=True)
        result = lua.execute(script)
        return result["status"], result["message"]

    return health


def test_the_table_was_read():
    assert len(ROWS) >= 11


@pytest.mark.parametrize("row", ROWS)
def test_argo_cd_shows_what_the_table_says(row, run, customizations):
    status, message = run(customizations[KEY], resource(row))
    assert status == row["Argo CD"]
    assert message.startswith(f"{row['Reason of Ready'].strip('`')}: Ready it is")


@pytest.mark.parametrize(
    "made",
    [
        pytest.param({"metadata": {"generation": 1}}, id="no status"),
        pytest.param({"metadata": {"generation": 1}, "status": {}}, id="an empty status"),
        pytest.param({"metadata": {"generation": 1}, "status": {"conditions": []}}, id="no conditions"),
    ],
)
def test_argo_cd_waits_for_a_job_without_a_status(made, run, customizations):
    assert run(customizations[KEY], made) == ("Progressing", "No operator has looked at the job yet")


@pytest.mark.parametrize("row", ROWS)
def test_argo_cd_ignores_a_status_that_is_older_than_the_spec(row, run, customizations):
    made = resource(row)
    made["metadata"]["generation"] = 3
    status, message = run(customizations[KEY], made)
    assert (status, "last change" in message) == ("Progressing", True)


def test_argo_cd_shows_a_fallback_of_a_healthy_job(run, customizations):
    (row,) = [row for row in rows() if row["Situation"] == "a model, accepted"]
    assert row["Degraded"] == "T"
    status, message = run(customizations[KEY], resource(row))
    assert status == "Healthy"
    assert message.endswith("(stepped down: AsRequested)")


def test_applications_have_the_health_that_waves_wait_for(run, customizations):
    script = customizations["resource.customizations.health.argoproj.io_Application"]
    assert run(script, {"metadata": {}}) == ("Progressing", "")
    assert run(script, {"status": {"health": {"status": "Degraded", "message": "no"}}}) == ("Degraded", "no")


def test_ignored_updates_do_not_change_the_health(customizations):
    key = "resource.customizations.ignoreResourceUpdates.automl.trainingjob.dev_TrainingJob"
    pointers = yaml.safe_load(customizations[key])["jsonPointers"]
    assert pointers
    from trainingjob_api import TrainingJobStatus

    fields = {field.alias or name for name, field in TrainingJobStatus.model_fields.items()}
    assert {pointer.removeprefix("/status/") for pointer in pointers} <= fields
    assert not {"/status/conditions", "/status/phase", "/status/observedGeneration"} & set(pointers)


# --- Flux


@pytest.fixture(scope="module")
def expressions():
    documents = yaml.safe_load_all((ROOT / "gitops/flux/clusters/prod/trainingjob.yaml").read_text())
    (found,) = [
        manifest["spec"]["healthCheckExprs"]
        for manifest in documents
        if "healthCheckExprs" in manifest.get("spec", {})
    ]
    (check,) = found
    assert (check["apiVersion"], check["kind"]) == ("automl.trainingjob.dev/v1alpha1", "TrainingJob")
    return check


@pytest.fixture(scope="module")
def evaluate():
    """Return a function that does what Flux does with the expressions of a health check."""
    cel = pytest.importorskip("cel_expr_python.cel", reason="cel-expr-python carries CEL")
    environment = cel.NewEnv(variables={"status": cel.Type.DYN, "metadata": cel.Type.DYN})

    def health(expressions, resource):
        if resource["status"]["observedGeneration"] != resource["metadata"]["generation"]:
            return "InProgress"
        for key, status in (("inProgress", "InProgress"), ("failed", "Failed"), ("current", "Current")):
            if key in expressions:
                result = environment.compile(expressions[key]).eval(data=resource).value()
                assert isinstance(result, bool)
                if result:
                    return status
        return "InProgress"

    return health


@pytest.mark.parametrize("row", ROWS)
def test_flux_waits_for_the_start_of_a_job_and_not_for_its_end(row, evaluate, expressions):
    expected = "Current" if row["Situation"] in BEGUN else row["kstatus"]
    assert evaluate(expressions, resource(row)) == expected


def test_flux_ignores_a_status_that_is_older_than_the_spec(evaluate, expressions):
    made = resource(rows()[2])
    made["metadata"]["generation"] = 3
    assert evaluate(expressions, made) == "InProgress"
