"""Pure builders: a plan and its owner in, one complete manifest out, which is never changed afterwards.

Here are the builders of what identifies the trainer and limits it: ServiceAccount, Role, RoleBinding, plan,
report and key.
"""

import base64
from collections.abc import Callable
from typing import Any

from trainingjob_certificates.signatures import ReportKey
from trainingjob_operator.children import Child, Owner, header, name_of
from trainingjob_operator.frozen_plan import IMAGE_KEY, RUN_KEY, Plan
from trainingjob_operator.manifests import dask, trainer
from trainingjob_operator.manifests.trainer import KEY_FILE
from trainingjob_operator.settings import Settings


def build_run(owner: Owner, plan: Plan, _: Settings) -> dict[str, Any]:
    """Return the immutable ConfigMap with the plan: the fence against beginning a job twice."""
    return header(owner, Child.RUN) | {"immutable": True, "data": {RUN_KEY: plan.text, IMAGE_KEY: plan.image}}


def build_report(owner: Owner, _plan: Plan, _: Settings) -> dict[str, Any]:
    """Return the empty ConfigMap for the report; only the trainer may write to it."""
    return header(owner, Child.REPORT)


def build_report_key(owner: Owner, key: ReportKey) -> dict[str, Any]:
    """Return the Secret that the trainer alone mounts; the operator keeps only the public half."""
    return header(owner, Child.REPORT_KEY, key.public) | {
        "immutable": True,
        "type": "Opaque",
        "data": {KEY_FILE: base64.b64encode(key.pem).decode()},
    }


def build_service_account(owner: Owner, plan: Plan, _: Settings) -> dict[str, Any]:
    """Return the job's own ServiceAccount, with the annotations that the spec asks for (a cloud role)."""
    found, asked = header(owner, Child.SERVICE_ACCOUNT), plan.run.trainer
    # The operator's annotations win: it finds the job by them.
    annotations = {**(asked.service_account_annotations or {}), **found["metadata"]["annotations"]}
    return found | {
        "metadata": found["metadata"] | {"annotations": annotations},
        "automountServiceAccountToken": False,
        "imagePullSecrets": [{"name": secret.name} for secret in asked.image_pull_secrets or ()],
    }


def build_role(owner: Owner, _plan: Plan, _: Settings) -> dict[str, Any]:
    """Return the Role: get and patch of one ConfigMap.

    ``resourceNames`` cannot limit ``create``, so the operator makes the report first.
    """
    rule = {
        "apiGroups": [""],
        "resources": [Child.REPORT.plural],
        "resourceNames": [name_of(owner, Child.REPORT)],
        "verbs": ["get", "patch"],
    }
    return header(owner, Child.ROLE) | {"rules": [rule]}


def build_role_binding(owner: Owner, _plan: Plan, _: Settings) -> dict[str, Any]:
    """Return the RoleBinding of the trainer's ServiceAccount and Role."""
    account = Child.SERVICE_ACCOUNT
    return header(owner, Child.ROLE_BINDING) | {
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": Child.ROLE.kind,
            "name": name_of(owner, Child.ROLE),
        },
        "subjects": [{"kind": account.kind, "name": name_of(owner, account), "namespace": owner.namespace}],
    }


_BUILDERS: dict[Child, Callable[[Owner, Plan, Settings], dict[str, Any]]] = {
    Child.RUN: build_run,
    Child.SERVICE_ACCOUNT: build_service_account,
    Child.ROLE: build_role,
    Child.ROLE_BINDING: build_role_binding,
    Child.REPORT: build_report,
    Child.DASK_CERTIFICATES: dask.build_certificates,
    Child.DASK_POLICY: dask.build_network_policy,
    Child.JOB: trainer.build_job,
    Child.DASK_CLUSTER: dask.build_dask_cluster,
}


def build(child: Child, owner: Owner, plan: Plan, settings: Settings) -> dict[str, Any]:
    """Return the manifest of *child*; each call makes new certificates."""
    return _BUILDERS[child](owner, plan, settings)
