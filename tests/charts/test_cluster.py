"""The charts on a real API server: manifests, rights and admission.

KUBECONFIG names it. All that is made stands in namespaces of its own; what is cluster-wide has names of its
own, holds for these namespaces only, and is removed.
"""

import copy
import os
import threading
import time

import pytest

from support.charts import CASES, OPERATOR, documented, manifests, pods
from trainingjob_api import GROUP, PLURAL, parse_job
from trainingjob_api.crd import build_crd
from trainingjob_operator.children import Child, Owner, name_of
from trainingjob_operator.job_view import make_plan
from trainingjob_operator.manifests import build_role, build_role_binding, build_service_account
from trainingjob_operator.settings import Settings

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(
        not os.environ.get("KUBECONFIG"),
        reason="KUBECONFIG names no Kubernetes API server to install on",
    ),
]
kubernetes = pytest.importorskip("kubernetes", reason="the kubernetes package talks to the API server")
from kubernetes.dynamic import DynamicClient  # noqa: E402

FOREIGN = "monitoring.coreos.com"
RUN = f"charts-{os.urandom(4).hex()}"
SYSTEM, TEAM_A, TEAM_B = f"{RUN}-system", f"{RUN}-a", f"{RUN}-b"
RENAMED = {"trainingjob-system": SYSTEM, "team-a": TEAM_A, "team-b": TEAM_B}
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
JOB = {
    "apiVersion": f"{GROUP}/v1alpha1",
    "kind": "TrainingJob",
    "metadata": {"name": "refused"},
    "spec": {"dataset": {"uri": "s3://datasets/churn.csv"}, "targetColumn": "churned"},
}


@pytest.fixture(scope="module")
def client():
    with kubernetes.config.new_client_from_config(os.environ["KUBECONFIG"]) as made:
        yield made


@pytest.fixture(scope="module")
def api(client):
    """Everything that an administrator can reach; the definition is there."""
    extensions = kubernetes.client.ApiextensionsV1Api(client)
    try:
        extensions.create_custom_resource_definition(build_crd())
    except kubernetes.client.ApiException as error:
        if error.status != 409:
            raise
    return DynamicClient(client)


@pytest.fixture(scope="module")
def namespaces(client, api):
    core = kubernetes.client.CoreV1Api(client)
    for name in RENAMED.values():
        core.create_namespace({"metadata": {"name": name, "labels": RESTRICTED}})
    yield
    for name in RENAMED.values():
        core.delete_namespace(name)


def eventually(look, message, seconds=60):
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not (found := look()):
        assert time.monotonic() < deadline, message
        pause.wait(0.5)
    return found


def objects(values):
    """Return what the chart makes in this test's namespaces."""
    values = copy.deepcopy(values)
    if "namespaces" in values:
        values["namespaces"] = [RENAMED[name] for name in values["namespaces"]]
    documents = manifests(OPERATOR, values, namespace=SYSTEM)
    for manifest in documents:
        if manifest["kind"].startswith("ValidatingAdmissionPolicy"):
            manifest["metadata"]["name"] += f"-{RUN}"
            if "policyName" in manifest["spec"]:
                manifest["spec"]["policyName"] += f"-{RUN}"
                manifest["spec"]["matchResources"] = {
                    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": TEAM_A}}
                }
        elif manifest["kind"] not in {"ClusterRole", "ClusterRoleBinding"}:
            manifest["metadata"].setdefault("namespace", SYSTEM)
    return documents


def create(api, body, **options):
    kind = api.resources.get(api_version=body["apiVersion"], kind=body["kind"])
    return kind.create(body=body, namespace=body["metadata"].get("namespace"), **options)


@pytest.mark.parametrize("case", CASES)
def test_the_api_server_accepts_all_manifests(case, api, namespaces):
    for manifest in objects(CASES[case]):
        # A pod's account must be there first; the next test does without it.
        if manifest["kind"] != "Pod" and not manifest["apiVersion"].startswith(FOREIGN):
            create(api, manifest, dry_run="All", field_validation="Strict")


@pytest.mark.parametrize("case", CASES)
def test_a_restricted_namespace_admits_each_pod(case, api, namespaces):
    for name, spec in pods(objects(CASES[case])):
        # Accounts and classes are not made in a dry run, and admission would miss them first.
        pod = {
            key: value
            for key, value in spec.items()
            if key not in {"serviceAccountName", "priorityClassName"}
        }
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": f"x-{name}", "namespace": TEAM_A},
            "spec": pod | {"restartPolicy": "Never"},
        }
        create(api, body, dry_run="All", field_validation="Strict")
        broken = copy.deepcopy(body)
        del broken["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"]
        with pytest.raises(kubernetes.client.ApiException, match="violates PodSecurity"):
            create(api, broken, dry_run="All")


def rules_of(account, namespace):
    """Return what `kubectl auth can-i --list --as=` says: rights, with the names they are held to."""
    with kubernetes.config.new_client_from_config(os.environ["KUBECONFIG"]) as made:
        made.set_default_header("Impersonate-User", f"system:serviceaccount:{account}")
        review = kubernetes.client.AuthorizationV1Api(made).create_self_subject_rules_review(
            {"spec": {"namespace": namespace}}
        )
    return {
        (group, resource, verb): tuple(rule.resource_names or ())
        for rule in review.status.resource_rules
        for group in rule.api_groups or ()
        for resource in rule.resources or ()
        for verb in rule.verbs
        # What everybody may who is logged in: ask about himself.
        if group not in {"authorization.k8s.io", "authentication.k8s.io"}
    }


@pytest.fixture(scope="module")
def installed(api, namespaces):
    """The accounts and Roles of a release that has everything turned on, without its pods."""
    made = {"ServiceAccount", "Role", "RoleBinding"}
    for manifest in objects(CASES["full"]):
        if manifest["kind"] in made:
            create(api, manifest)


@pytest.mark.parametrize(
    ("account", "tables"),
    [
        pytest.param("trainingjob-operator", ("operator", "operator with dask"), id="operator"),
        pytest.param("trainingjob-dask-operator", ("dask operator",), id="dask operator"),
        pytest.param("trainingjob-operator-test", ("test",), id="helm test"),
    ],
)
def test_each_account_has_exactly_the_documented_rights(account, tables, installed):
    wanted = set().union(*(documented(table) for table in tables))
    where = f"{SYSTEM}:{account}"
    for namespace in (TEAM_A,) if tables == ("test",) else (TEAM_A, TEAM_B):
        eventually(lambda there=namespace: rules_of(where, there), "the Role is not in force")
        found = rules_of(where, namespace)
        assert set(found) == wanted
        assert not any(found.values())
    for namespace in (SYSTEM, "default", "kube-system"):
        assert not rules_of(where, namespace)


def test_the_account_of_a_job_may_only_write_its_report(api, namespaces):
    owner = Owner("churn", TEAM_B, "00000000-0000-0000-0000-000000000000")
    settings = Settings(trainer_image="trainer:1", output_uri="s3://models")
    made = make_plan(parse_job(JOB), settings)
    for build in (build_service_account, build_role, build_role_binding):
        body = build(owner, made, settings)
        # Its owner is not there, and the garbage collector would tidy up.
        orphan = body | {"metadata": {k: v for k, v in body["metadata"].items() if k != "ownerReferences"}}
        create(api, orphan)
    account = f"{TEAM_B}:churn-trainer"
    found = eventually(lambda: rules_of(account, TEAM_B), "the Role is not in force")
    assert set(found) == documented("job")
    assert set(found.values()) == {(name_of(owner, Child.REPORT),)}
    assert not rules_of(account, TEAM_A)


@pytest.fixture(scope="module")
def policies(client, api, namespaces):
    """Yield once the admission policies of the full values are in force in a namespace."""
    documents = [
        manifest for manifest in objects(CASES["full"]) if manifest["kind"].startswith("ValidatingAdmission")
    ]
    admission = kubernetes.client.AdmissionregistrationV1Api(client)
    try:
        for manifest in documents:
            create(api, manifest)
        for wrong in (
            {"nJobs": 9},
            {"output": {"uri": "s3://elsewhere"}},
            {"trainer": {"priorityClassName": "system-cluster-critical"}},
        ):
            eventually(lambda wrong=wrong: refusal(api, wrong), f"no policy looks at {wrong}")
        yield
    finally:
        for manifest in documents:
            name = manifest["metadata"]["name"]
            if manifest["kind"] == "ValidatingAdmissionPolicy":
                admission.delete_validating_admission_policy(name)
            else:
                admission.delete_validating_admission_policy_binding(name)


def refusal(api, spec, namespace=TEAM_A):
    """Return the message with which a job is refused, `None` if it is taken."""
    merged = JOB["spec"] | spec
    try:
        create(
            api,
            JOB | {"metadata": {"name": "refused", "namespace": namespace}, "spec": merged},
            dry_run="All",
        )
    except kubernetes.client.ApiException as error:
        return error.body if isinstance(error.body, str) else error.body.decode()
    return None


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        pytest.param(
            {"budget": {"timeLeftSeconds": 7200}},
            "spec.budget.timeLeftSeconds: 7200 is above the maximum of this cluster, 3600; "
            "ask for 3600 or less",
            id="time",
        ),
        pytest.param(
            {"budget": {"perRunLimitSeconds": 301}}, "spec.budget.perRunLimitSeconds: 301 is", id="limit"
        ),
        pytest.param(
            {"budget": {"generations": 101}}, "spec.budget.generations: 101 is above", id="generations"
        ),
        pytest.param(
            {"budget": {"populationSize": 201}}, "spec.budget.populationSize: 201 is above", id="population"
        ),
        pytest.param({"budget": {"cvFolds": 11}}, "spec.budget.cvFolds: 11 is above", id="folds"),
        pytest.param({"nJobs": 9}, "spec.nJobs: 9 is above the maximum of this cluster, 8", id="workers"),
        pytest.param({"memoryLimitMb": 8193}, "spec.memoryLimitMb: 8193 is above", id="memory"),
        pytest.param({"dask": {"workers": 17}}, "spec.dask.workers: 17 is above", id="dask workers"),
        pytest.param(
            {"activeDeadlineSeconds": 7201}, "spec.activeDeadlineSeconds: 7201 is above", id="deadline"
        ),
        pytest.param({"backoffLimit": 4}, "spec.backoffLimit: 4 is above", id="back-off"),
        pytest.param(
            {"dataset": {"uri": "s3://datasets-of-others/x.csv"}},
            "spec.dataset.uri: s3://datasets-of-others/x.csv is not in a place that this cluster allows; "
            "use one of s3://datasets, s3://shared/tables/, sample://",
            id="a bucket that begins alike",
        ),
        pytest.param(
            {"dataset": {"uri": "s3://shared/other.csv"}},
            "spec.dataset.uri: s3://shared/other.csv",
            id="folder",
        ),
        pytest.param(
            {"dataset": {"uri": "pvc://claim/x.csv"}}, "spec.dataset.uri: pvc://claim/x.csv", id="claim"
        ),
        pytest.param(
            {"output": {"uri": "s3://elsewhere/x"}},
            "spec.output.uri: s3://elsewhere/x is not in a place that this cluster allows; "
            "use one of s3://models",
            id="output",
        ),
        pytest.param(
            {"dataset": JOB["spec"]["dataset"] | {"endpoint": "https://evil.example"}},
            "spec.dataset.endpoint: evil.example is not on the list of allowed endpoints of this cluster; "
            "use one of minio.example, s3.example",
            id="endpoint",
        ),
        pytest.param(
            {"output": {"uri": "s3://models", "endpoint": "http://minio.example.evil.example:9000"}},
            "spec.output.endpoint: minio.example.evil.example is not",
            id="output endpoint",
        ),
        pytest.param(
            {"trainer": {"priorityClassName": "system-cluster-critical"}},
            "spec.trainer.priorityClassName: system-cluster-critical is not a priority class that "
            "this cluster allows; use one of low, batch",
            id="priority",
        ),
    ],
)
def test_admission_rejects_a_job_out_of_bounds_with_a_readable_message(spec, message, api, policies):
    assert message in (refusal(api, spec) or "it was taken")


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param({}, id="nothing said"),
        pytest.param({"budget": {"timeLeftSeconds": 3600, "generations": 100}}, id="on the bounds"),
        pytest.param({"dataset": {"uri": "sample://iris"}}, id="sample"),
        pytest.param({"dataset": {"uri": "s3://shared/tables/x.csv"}}, id="folder"),
        pytest.param(
            {"output": {"uri": "s3://models/team", "endpoint": "https://S3.example:9000"}}, id="output"
        ),
        pytest.param({"trainer": {"priorityClassName": "batch"}}, id="priority"),
    ],
)
def test_admission_accepts_a_job_within_bounds(spec, api, policies):
    assert refusal(api, spec) is None


def test_the_policies_do_not_apply_to_other_namespaces(api, policies):
    assert refusal(api, {"nJobs": 9}, TEAM_B) is None


def test_a_job_older_than_the_bounds_can_still_be_suspended(api, policies):
    kind = api.resources.get(api_version=JOB["apiVersion"], kind=JOB["kind"])
    # Made in the other namespace, where no bounds are; an edit looks the same to a policy.
    body = JOB | {
        "metadata": {"name": "old", "namespace": TEAM_B, "labels": {f"{GROUP}/operator-class": "none"}}
    }
    kind.create(body=body | {"spec": JOB["spec"] | {"nJobs": 9}}, namespace=TEAM_B)
    binding = api.resources.get(
        api_version="admissionregistration.k8s.io/v1", kind="ValidatingAdmissionPolicyBinding"
    )
    selector = {
        "matchExpressions": [
            {"key": "kubernetes.io/metadata.name", "operator": "In", "values": [TEAM_A, TEAM_B]}
        ]
    }
    binding.patch(
        name=f"trainingjob-budgets-{RUN}",
        body={"spec": {"matchResources": {"namespaceSelector": {"matchLabels": None} | selector}}},
        content_type="application/merge-patch+json",
    )
    eventually(lambda: refusal(api, {"nJobs": 9}, TEAM_B), "the bounds do not reach the other namespace")
    kind.patch(
        name="old",
        namespace=TEAM_B,
        body={"spec": {"suspend": True}},
        content_type="application/merge-patch+json",
    )
    assert kind.get(name="old", namespace=TEAM_B).spec.suspend is True


def test_the_policies_name_the_plural_of_the_definition():
    for manifest in manifests(OPERATOR, CASES["full"]):
        if manifest["kind"] == "ValidatingAdmissionPolicy":
            (rule,) = manifest["spec"]["matchConstraints"]["resourceRules"]
            assert (rule["apiGroups"], rule["resources"]) == ([GROUP], [PLURAL])
