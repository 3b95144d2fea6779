"""What identifies the trainer and limits it: ServiceAccount, Role, RoleBinding, plan, report and key."""

import base64
from typing import Any

from trainingjob_certificates.signatures import ReportKey
from trainingjob_operator.children import PLAN_ANNOTATION, Child, Owner, metadata, name_of
from trainingjob_operator.frozen_plan import IMAGE_KEY, RUN_KEY, Plan
from trainingjob_operator.settings import Settings

__all__ = [
    "KEY_FILE",
    "build_report",
    "build_report_key",
    "build_role",
    "build_role_binding",
    "build_run",
    "build_service_account",
    "header",
    "plan_annotation",
]

KEY_FILE = "report.key"
MAX_COPY_BYTES = 200 * 1024
"""The annotations of an object are limited to 256 KiB; only an oversized search space exceeds this."""


def header(owner: Owner, child: Child, key: str = "") -> dict[str, Any]:
    """Return what every manifest begins with: API version, kind and metadata."""
    return {"apiVersion": child.api_version, "kind": child.kind, "metadata": metadata(owner, child, key)}


def build_run(owner: Owner, plan: Plan, _: Settings) -> dict[str, Any]:
    """Return the immutable ConfigMap with the plan: the fence against beginning a job twice."""
    return header(owner, Child.RUN) | {"immutable": True, "data": {RUN_KEY: plan.text, IMAGE_KEY: plan.image}}


def plan_annotation(plan: Plan) -> dict[str, str]:
    """Return the Job's copy of the plan, from which a deleted fence is made again; empty if too large."""
    return {PLAN_ANNOTATION: plan.text} if len(plan.text.encode()) <= MAX_COPY_BYTES else {}


def build_report(owner: Owner, _plan: Plan, _: Settings) -> dict[str, Any]:
    """Return the empty ConfigMap that the trainer alone writes its report to."""
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
    found, trainer = header(owner, Child.SERVICE_ACCOUNT), plan.run.trainer
    # The operator's annotations win: it finds the job by them.
    annotations = {**(trainer.service_account_annotations or {}), **found["metadata"]["annotations"]}
    return found | {
        "metadata": found["metadata"] | {"annotations": annotations},
        "automountServiceAccountToken": False,
        "imagePullSecrets": [{"name": one.name} for one in trainer.image_pull_secrets or ()],
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
