"""All manifests against the schemas of the supported Kubernetes versions."""

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
def test_the_kubernetes_schema_accepts_the_rendered_manifests(case, version):
    documents = [
        manifest for manifest in manifests(OPERATOR, CASES[case]) if manifest["apiVersion"] not in FOREIGN
    ]
    assert documents
    for manifest in documents:
        kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_kubernetes_schema_accepts_definition_and_quota(version):
    quota = yaml.safe_load((ROOT / "helm/examples/resource-quota.yaml").read_text())
    for manifest in (*manifests(CRDS), quota):
        kubernetes_validate.validate(manifest, version, strict=True)


def test_the_kubernetes_schema_rejects_a_misspelt_field():
    (service,) = [manifest for manifest in manifests(OPERATOR) if manifest["kind"] == "Service"]
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


def test_objects_for_prometheus_have_the_required_fields():
    documents = [
        manifest for manifest in manifests(OPERATOR, CASES["full"]) if manifest["apiVersion"] in FOREIGN
    ]
    assert sorted(manifest["kind"] for manifest in documents) == ["PrometheusRule", "ServiceMonitor"]
    for manifest in documents:
        spec = manifest["spec"]
        if manifest["kind"] == "ServiceMonitor":
            assert set(spec) == {"selector", "endpoints"}
            assert all(set(endpoint) == {"port", "path", "interval"} for endpoint in spec["endpoints"])
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
