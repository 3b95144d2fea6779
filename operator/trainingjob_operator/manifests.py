"""Pure builders: a plan and its owner in, one complete manifest out, which is never changed afterwards.

Here are the trainer's: its identity and rights, plan, report and key, and the Job that runs its pod, one at a
time, restricted, read-only but for its scratch space.
"""

import base64
from collections.abc import Callable
from typing import Any

from trainingjob_api import EXIT_INVALID, OBJECT_STORAGE, ObjectStorage, claim_of, storage_of
from trainingjob_certificates import ReportKey
from trainingjob_operator import dask_manifests as dask
from trainingjob_operator.children import (
    COMPONENT_LABEL,
    PLAN_ANNOTATION,
    TRAINER,
    TRAINER_CONTAINER,
    Child,
    Owner,
    header,
    metadata,
    name_of,
)
from trainingjob_operator.job_view import IMAGE_KEY, RUN_KEY, Plan
from trainingjob_operator.pod_parts import (
    CONTAINER_SECURITY,
    WORK_SIZE,
    Volume,
    environment,
    placement,
    pod_security,
    pull_policy,
    scratch,
    trainer_resources,
    volume,
)
from trainingjob_operator.settings import Settings

EXIT_TERMINATED = 143
"""The trainer's exit code after SIGTERM, its work saved."""
GRACE_SECONDS = 60
"""Between SIGTERM and SIGKILL: time to mirror the journal."""

RUN_DIR = "/etc/trainingjob"
STATE_DIR = "/var/run/trainingjob"
WORK_DIR = f"{STATE_DIR}/work"
CLAIMS_DIR = f"{STATE_DIR}/claims"
KEY_DIR = f"{STATE_DIR}/report-key"
CA_DIR = "/etc/trainingjob-ca"
CA_KEY = "ca.crt"
DATASET_CREDENTIALS, OUTPUT_CREDENTIALS = "dataset-credentials", "output-credentials"
"""Names of volumes."""
DATASET_CREDENTIALS_DIR = f"{STATE_DIR}/{DATASET_CREDENTIALS}"
OUTPUT_CREDENTIALS_DIR = f"{STATE_DIR}/{OUTPUT_CREDENTIALS}"
TMP_SIZE = "2Gi"
AZURE_IDENTITY = "azure.workload.identity/"
"""Beginning of the names of labels and annotations of Azure's workload identity."""
KEY_FILE = "report.key"
MAX_COPY_BYTES = 200 * 1024
"""The annotations of an object are limited to 256 KiB; only an oversized search space exceeds this."""


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


def build_job(owner: Owner, plan: Plan, settings: Settings) -> dict[str, Any]:
    """Return the Job.

    It has no ``ttlSecondsAfterFinished``: the operator would recreate a Job that has deleted itself.
    """
    run, found = plan.run, header(owner, Child.JOB)
    meta = found["metadata"]
    # A copy of the plan, from which a deleted fence is made again.
    copy = {PLAN_ANNOTATION: plan.text} if len(plan.text.encode()) <= MAX_COPY_BYTES else {}
    return found | {
        "metadata": meta | {"annotations": meta["annotations"] | copy},
        "spec": {
            "parallelism": 1,
            "completions": 1,
            "completionMode": "NonIndexed",
            "suspend": False,
            "backoffLimit": run.backoff_limit,
            "activeDeadlineSeconds": run.active_deadline_seconds,
            # Never two pods at once: the next starts when the last is gone.
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {"rules": _failure_rules()},
            "template": _pod_template(owner, plan, settings),
        },
    }


def _failure_rules() -> list[dict[str, Any]]:
    def exits(code: int) -> dict[str, Any]:
        return {"containerName": TRAINER_CONTAINER, "operator": "In", "values": [code]}

    return [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {"action": "FailJob", "onExitCodes": exits(EXIT_INVALID)},
        # Stopped on request (a drained node, a deleted pod), which is not a failure of the run.
        {"action": "Ignore", "onExitCodes": exits(EXIT_TERMINATED)},
    ]


def _pod_template(owner: Owner, plan: Plan, settings: Settings) -> dict[str, Any]:
    meta, trainer, volumes = metadata(owner, Child.JOB), plan.run.trainer, _volumes(owner, plan, settings)
    labels = meta["labels"] | {COMPONENT_LABEL: TRAINER}
    if any(name.startswith(AZURE_IDENTITY) for name in trainer.service_account_annotations or ()):
        # Azure's webhook gives its token to pods with this label only.
        labels |= {f"{AZURE_IDENTITY}use": "true"}
    container = {
        "name": TRAINER_CONTAINER,
        "image": plan.image,
        "command": ["trainingjob", "pod"],
        "env": _environment(owner, plan, settings),
        "resources": trainer_resources(plan.run, settings),
        "securityContext": CONTAINER_SECURITY,
        # The last log lines explain a trainer that died before it could report.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [mount for _, mount in volumes],
    }
    return {
        "metadata": {"labels": labels, "annotations": meta["annotations"]},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": GRACE_SECONDS,
            "serviceAccountName": name_of(owner, Child.SERVICE_ACCOUNT),
            "automountServiceAccountToken": True,
            "enableServiceLinks": False,
            "securityContext": pod_security(settings),
            "containers": [container | pull_policy(settings)],
            "volumes": [source for source, _ in volumes],
            **placement(trainer, trainer.node_selector, trainer.tolerations),
        },
    }


def _environment(owner: Owner, plan: Plan, settings: Settings) -> list[dict[str, Any]]:
    run = plan.run
    values = dict(settings.trainer_environment) | {
        "TRAININGJOB_PVC_ROOT": CLAIMS_DIR,
        "TRAININGJOB_JOB_NAME": owner.name,
        "TRAININGJOB_JOB_UID": owner.uid,
        "TRAININGJOB_PLAN_DIGEST": plan.digest,
        "TRAININGJOB_REPORT_CONFIGMAP": name_of(owner, Child.REPORT),
        "TRAININGJOB_WORK_DIR": WORK_DIR,
    }
    if plan.report_key is not None:
        values["TRAININGJOB_REPORT_KEY_FILE"] = f"{KEY_DIR}/{KEY_FILE}"
    if run.dataset.credentials_secret_ref is not None:
        values["TRAININGJOB_CREDENTIALS_DIR"] = DATASET_CREDENTIALS_DIR
    if run.output.credentials_secret_ref is not None:
        values["TRAININGJOB_OUTPUT_CREDENTIALS_DIR"] = OUTPUT_CREDENTIALS_DIR
    if settings.ca_config_map:
        values["SSL_CERT_FILE"] = f"{CA_DIR}/{CA_KEY}"
    if plan.distributed:
        address = dask.scheduler_address(owner)
        values |= dask.tls_environment("client") | {"DASK_SCHEDULER_ADDRESS": address}
    fields = (("POD_NAMESPACE", "metadata.namespace"), ("POD_UID", "metadata.uid"))
    return [
        *environment(values),
        *({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in fields),
    ]


def _volumes(owner: Owner, plan: Plan, settings: Settings) -> list[Volume]:
    """Return each volume with its mount."""
    run = plan.run
    config = {"configMap": {"name": name_of(owner, Child.RUN)}}
    found = [
        volume("run", RUN_DIR, config, read_only=True),
        scratch("work", WORK_DIR, WORK_SIZE),
        scratch("tmp", "/tmp", TMP_SIZE),  # noqa: S108
    ]
    if plan.report_key is not None:
        # Without the key the pod must not start.
        name = name_of(owner, Child.REPORT_KEY, plan.report_key)
        secret = {"secretName": name, "optional": False, "defaultMode": 0o440}
        found.append(volume("report-key", KEY_DIR, {"secret": secret}, read_only=True))
    for name, path, part in (
        (DATASET_CREDENTIALS, DATASET_CREDENTIALS_DIR, run.dataset),
        (OUTPUT_CREDENTIALS, OUTPUT_CREDENTIALS_DIR, run.output),
    ):
        if part.credentials_secret_ref is not None:
            secret = _secret(part.credentials_secret_ref.name, part.uri)
            found.append(volume(name, path, secret, read_only=True))
    if settings.ca_config_map:
        authorities = {"name": settings.ca_config_map, "items": [{"key": CA_KEY, "path": CA_KEY}]}
        found.append(volume("ca", CA_DIR, {"configMap": authorities}, read_only=True))
    source, goal = claim_of(run.dataset.uri), claim_of(run.output.uri)
    for number, claim in enumerate(dict.fromkeys(claim for claim in (source, goal) if claim)):
        claimed = {"persistentVolumeClaim": {"claimName": claim}}
        found.append(volume(f"claim-{number}", f"{CLAIMS_DIR}/{claim}", claimed, read_only=claim != goal))
    if plan.distributed:
        found.append(dask.tls_volume(owner, "client", optional=True))
    return found


def required_keys(uri: str) -> tuple[str, ...]:
    """Return the keys that a Secret with credentials for *uri* must have."""
    return _storage(uri).required


def _storage(uri: str) -> ObjectStorage:
    # A Secret may be named for another kind of address too, where nothing reads it.
    return storage_of(uri) or OBJECT_STORAGE["s3"]


def _secret(name: str, uri: str) -> dict[str, Any]:
    # The kubelet waits for a Secret and its required keys that are created after the job. "optional" applies
    # to a whole source, so each key that may be missing has its own.
    kind = _storage(uri)
    sources = [
        {"secret": {"name": name, "items": _items(kind.required)}},
        *({"secret": {"name": name, "optional": True, "items": _items((key,))}} for key in kind.optional),
    ]
    return {"projected": {"defaultMode": 0o440, "sources": sources}}


def _items(keys: tuple[str, ...]) -> list[dict[str, str]]:
    return [{"key": key, "path": key} for key in keys]


_BUILDERS: dict[Child, Callable[[Owner, Plan, Settings], dict[str, Any]]] = {
    Child.RUN: build_run,
    Child.SERVICE_ACCOUNT: build_service_account,
    Child.ROLE: build_role,
    Child.ROLE_BINDING: build_role_binding,
    Child.REPORT: build_report,
    Child.DASK_CERTIFICATES: dask.build_certificates,
    Child.DASK_POLICY: dask.build_network_policy,
    Child.JOB: build_job,
    Child.DASK_CLUSTER: dask.build_dask_cluster,
}


def build(child: Child, owner: Owner, plan: Plan, settings: Settings) -> dict[str, Any]:
    """Return the manifest of *child*; each call makes new certificates."""
    return _BUILDERS[child](owner, plan, settings)
