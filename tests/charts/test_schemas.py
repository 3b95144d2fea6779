"""Everything that is rendered, against the schemas of the Kubernetes versions that the charts are for."""

import json

import pytest
import yaml

from support.charts import CASES, CRDS, OPERATOR, ROOT, manifests

kubernetes_validate = pytest.importorskip(
    "kubernetes_validate", reason="kubernetes-validate carries the schemas of Kubernetes"
)

VERSIONS = ("1.30", "1.36")
FOREIGN = {"monitoring.coreos.com/v1"}
"""Groups that Kubernetes does not define itself; their shape is looked at in a test of its own."""


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("case", CASES)
def test_kubernetes_takes_what_is_rendered(case, version):
    documents = [each for each in manifests(OPERATOR, CASES[case]) if each["apiVersion"] not in FOREIGN]
    assert documents
    for each in documents:
        kubernetes_validate.validate(each, version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_the_definition_and_the_quota(version):
    quota = yaml.safe_load((ROOT / "helm/examples/resource-quota.yaml").read_text())
    for each in (*manifests(CRDS), quota):
        kubernetes_validate.validate(each, version, strict=True)


def test_a_misspelt_field_would_be_found():
    (service,) = [each for each in manifests(OPERATOR) if each["kind"] == "Service"]
    broken = json.loads(json.dumps(service).replace("targetPort", "targetport"))
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, VERSIONS[-1], strict=True)


def test_a_quota_counts_only_what_every_pod_of_a_job_sets():
    quota = yaml.safe_load((ROOT / "helm/examples/resource-quota.yaml").read_text())["spec"]["hard"]
    assert {name for name in quota if name.startswith(("requests.", "limits."))} <= {
        "requests.cpu",
        "requests.memory",
        "limits.cpu",
        "limits.memory",
    }


def test_the_foreign_objects_have_the_fields_that_their_definitions_ask_for():
    documents = [each for each in manifests(OPERATOR, CASES["full"]) if each["apiVersion"] in FOREIGN]
    assert sorted(each["kind"] for each in documents) == ["PrometheusRule", "ServiceMonitor"]
    for each in documents:
        spec = each["spec"]
        if each["kind"] == "ServiceMonitor":
            assert set(spec) == {"selector", "endpoints"}
            assert all(set(one) == {"port", "path", "interval"} for one in spec["endpoints"])
        else:
            (group,) = spec["groups"]
            assert set(group) == {"name", "rules"}
            for rule in group["rules"]:
                assert (
                    {"alert", "expr", "labels", "annotations"}
                    <= set(rule)
                    <= {
                        "alert",
                        "expr",
                        "for",
                        "labels",
                        "annotations",
                    }
                )
