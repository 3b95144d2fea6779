"""The granted rights are exactly those that docs/security.md lists."""

import re

import pytest

from support.charts import CASES, OPERATOR, ROOT, documented, manifests, named, rights
from trainingjob_operator.children import DASK_CHILDREN, Child, Owner, name_of
from trainingjob_operator.manifests import build_role

ROLE = "trainingjob-system:trainingjob-operator"


def granted(name, values):
    """Return what the Role of that name allows, the same in each namespace."""
    found = [
        rights(manifest["rules"])
        for manifest in manifests(OPERATOR, values)
        if manifest["kind"] in {"Role", "ClusterRole"} and manifest["metadata"]["name"] == name
    ]
    assert found
    assert all(granted == found[0] for granted in found)
    return found[0]


@pytest.mark.parametrize("case", CASES)
def test_the_documented_rights_of_the_operator_are_those_of_the_chart(case):
    expected = documented("operator")
    if CASES[case].get("dask", {}).get("enabled", True):
        expected |= documented("operator with dask")
    assert granted(ROLE, CASES[case]) == expected


def test_the_documented_rights_of_the_dask_operator_are_those_of_the_chart():
    for case in ("full", "cluster-wide"):
        assert granted(f"{ROLE}:dask", CASES[case]) == documented("dask operator")


@pytest.mark.parametrize("case", CASES)
def test_the_documented_rights_of_helm_test_are_those_of_the_chart(case):
    test = named("Role", f"{ROLE}:test", manifests(OPERATOR, CASES[case]))
    assert rights(test["rules"]) == documented("test")


def test_the_documented_rights_of_a_job_are_those_that_the_operator_grants():
    (rule,) = build_role(Owner("churn", "team", "uid"), None, None)["rules"]
    assert rights([rule]) == documented("job")
    assert rule["resourceNames"] == [name_of(Owner("churn", "team", "uid"), Child.REPORT)]


def test_each_part_of_a_dask_cluster_can_be_made_and_deleted():
    held = documented("operator with dask")
    for part in DASK_CHILDREN:
        group = part.api_version.rpartition("/")[0]
        assert {(group, part.plural, verb) for verb in ("create", "delete")} <= held


def test_the_design_note_lists_only_documented_rights():
    note = (ROOT / "docs/design/0004-operator.md").read_text()
    table = note.partition("## Rights")[2].partition("\n## ")[0]
    for line in re.findall(r"^\| ([a-z/, ]+) \| ([a-z, ]+) \|$", table, re.MULTILINE):
        resources, verbs = (set(re.split(r", *", cell)) for cell in line)
        tables = documented("operator") | documented("operator with dask")
        known = {(resource, verb) for _, resource, verb in tables}
        assert {(resource, verb) for resource in resources for verb in verbs} <= known
