"""The Job that runs the trainer's pod: one at a time, restricted, read-only but for its scratch space."""

from typing import Any

from trainingjob_api import EXIT_INVALID, OBJECT_STORAGE, ObjectStorage, claim_of, storage_of
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
from trainingjob_operator.frozen_plan import Plan
from trainingjob_operator.manifests.dask import scheduler_address, tls_environment, tls_volume
from trainingjob_operator.manifests.pod_parts import (
    CONTAINER_SECURITY,
    WORK_SIZE,
    Volume,
    environment,
    placement,
    pod_security,
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


def build_job(owner: Owner, plan: Plan, settings: Settings) -> dict[str, Any]:
    """Return the Job.

    It has no ``ttlSecondsAfterFinished``: the operator would recreate a Job that has deleted itself.
    """
    run, found = plan.run, header(owner, Child.JOB)
    meta = found["metadata"]
    return found | {
        "metadata": meta | {"annotations": meta["annotations"] | _plan_annotation(plan)},
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


def _plan_annotation(plan: Plan) -> dict[str, str]:
    """Return the Job's copy of the plan, from which a deleted fence is made again; empty if too large."""
    return {PLAN_ANNOTATION: plan.text} if len(plan.text.encode()) <= MAX_COPY_BYTES else {}


def _failure_rules() -> list[dict[str, Any]]:
    return [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {
            "action": "FailJob",
            "onExitCodes": {"containerName": TRAINER_CONTAINER, "operator": "In", "values": [EXIT_INVALID]},
        },
        {
            # Stopped on request (a drained node, a deleted pod), which is no failure of the run.
            "action": "Ignore",
            "onExitCodes": {
                "containerName": TRAINER_CONTAINER,
                "operator": "In",
                "values": [EXIT_TERMINATED],
            },
        },
    ]


def _pod_template(owner: Owner, plan: Plan, settings: Settings) -> dict[str, Any]:
    meta = metadata(owner, Child.JOB)
    trainer = plan.run.trainer
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "serviceAccountName": name_of(owner, Child.SERVICE_ACCOUNT),
        "automountServiceAccountToken": True,
        "enableServiceLinks": False,
        "securityContext": pod_security(settings),
        "containers": [_container(owner, plan, settings)],
        "volumes": [source for source, _ in _volumes(owner, plan, settings)],
        **placement(trainer, trainer.node_selector, trainer.tolerations),
    }
    labels = meta["labels"] | {COMPONENT_LABEL: TRAINER}
    if any(name.startswith(AZURE_IDENTITY) for name in trainer.service_account_annotations or ()):
        # Azure's webhook gives its token to pods with this label only.
        labels |= {f"{AZURE_IDENTITY}use": "true"}
    return {
        "metadata": {
            "labels": labels,
            "annotations": meta["annotations"],
        },
        "spec": spec,
    }


def _container(owner: Owner, plan: Plan, settings: Settings) -> dict[str, Any]:
    container: dict[str, Any] = {
        "name": TRAINER_CONTAINER,
        "image": plan.image,
        "command": ["trainingjob", "pod"],
        "env": _environment(owner, plan, settings),
        "resources": trainer_resources(plan.run, settings),
        "securityContext": CONTAINER_SECURITY,
        # The last log lines explain a trainer that died before it could report.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [mount for _, mount in _volumes(owner, plan, settings)],
    }
    if settings.image_pull_policy:
        container["imagePullPolicy"] = settings.image_pull_policy
    return container


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
        values |= tls_environment("client") | {"DASK_SCHEDULER_ADDRESS": scheduler_address(owner)}
    fields = {"POD_NAMESPACE": "metadata.namespace", "POD_UID": "metadata.uid"}
    return [
        *environment(values),
        *(
            {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}
            for name, path in sorted(fields.items())
        ),
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
        found.append(tls_volume(owner, "client", optional=True))
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
