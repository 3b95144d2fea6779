"""A field of the spec is declared in a single place: a copy of the contract gets a new field."""

import shutil
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "crds/trainingjob_api"
BEFORE = "    cv_folds: Annotated["
FIELD = """    max_pipelines: Annotated[
        StrictInt, Field(ge=1, le=1_000_000), SEARCH.by("TPOT__MAX_PIPELINES").in_status()
    ] = Field(default=100_000, description="Maximum number of evaluated pipelines.")
"""
PROGRAM = """
from trainingjob_api import TABLE, SpecError, TrainingJobSpec, parse_job, resolve
from trainingjob_api.crd import build_crd, render_reference

def job(**budget):
    spec = {"dataset": {"uri": "sample://iris"}, "targetColumn": "t", "budget": budget}
    meta = {"apiVersion": "automl.trainingjob.dev/v1alpha1", "kind": "TrainingJob"}
    return parse_job({**meta, "metadata": {"name": "x"}, "spec": spec})

unset, given = resolve(job(), {}), resolve(job(maxPipelines=7), {})
assert (unset.budget.max_pipelines, given.budget.max_pipelines) == (100_000, 7)
assert unset.search_digest() != given.search_digest()
assert given.listed()["budget.maxPipelines"] == 7
assert given.summary().max_pipelines == 7
assert given.sources["budget.maxPipelines"] == "spec"
assert resolve(job(), {"TPOT__MAX_PIPELINES": "9"}).budget.max_pipelines == 9
definition = build_crd()
schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
bounds = schema["spec"]["properties"]["budget"]["properties"]["maxPipelines"]
assert (bounds["type"], bounds["minimum"], bounds["maximum"]) == ("integer", 1, 1_000_000)
assert schema["status"]["properties"]["resolved"]["properties"]["maxPipelines"]["maximum"] == 1_000_000
reference = render_reference(definition)
assert "`spec.budget.maxPipelines`" in reference and "`TPOT__MAX_PIPELINES`" in reference
try:
    job(maxPipelines=0)
except SpecError as error:
    assert error.field == "spec.budget.maxPipelines"
else:
    raise AssertionError("the bound is not checked")
"""


def test_a_field_is_declared_in_one_place(tmp_path: Path) -> None:
    shutil.copytree(PACKAGE, tmp_path / "trainingjob_api", ignore=shutil.ignore_patterns("__pycache__"))
    spec = tmp_path / "trainingjob_api/spec.py"
    text = spec.read_text()
    assert text.count(BEFORE) == 1
    spec.write_text(text.replace(BEFORE, FIELD + BEFORE))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], check=False, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
