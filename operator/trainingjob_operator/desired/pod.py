"""The trainer's pod: one container, restricted, read-only but for its scratch space."""

from typing import Any

from trainingjob_api import Toleration
from trainingjob_operator.desired.report import REPORT_KEY
from trainingjob_operator.desired.resources import WORK_SIZE, build_resources
from trainingjob_operator.names import Child, Owner, child_name, metadata
from trainingjob_operator.resolution import Plan, claim_of
from trainingjob_operator.settings import Settings

__all__ = ["CONTAINER", "GRACE_SECONDS", "REPORT_KEY", "build_pod_template"]

CONTAINER = "trainer"
GRACE_SECONDS = 60
"""Between SIGTERM and SIGKILL: time to mirror the journal."""

RUN_DIR = "/etc/trainingjob"
STATE_DIR = "/var/run/trainingjob"
WORK_DIR = f"{STATE_DIR}/work"
CLAIMS_DIR = f"{STATE_DIR}/claims"
DATASET_CREDENTIALS_DIR = f"{STATE_DIR}/dataset-credentials"
OUTPUT_CREDENTIALS_DIR = f"{STATE_DIR}/output-credentials"
CREDENTIAL_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
TMP_SIZE = "2Gi"


def build_pod_template(owner: Owner, plan: Plan, settings: Settings) -> dict[str, Any]:
    """Return the template of the Job's pods."""
    meta = metadata(owner, Child.JOB)
    trainer = plan.run.trainer
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "serviceAccountName": child_name(owner.name, Child.SERVICE_ACCOUNT.suffix),
        "automountServiceAccountToken": True,
        "enableServiceLinks": False,
        "securityContext": _pod_security(settings),
        "containers": [_container(owner, plan, settings)],
        "volumes": [volume for volume, _ in _volumes(owner, plan)],
    }
    if trainer.node_selector:
        spec["nodeSelector"] = dict(trainer.node_selector)
    if trainer.tolerations:
        spec["tolerations"] = [_toleration(one) for one in trainer.tolerations]
    if trainer.priority_class_name:
        spec["priorityClassName"] = trainer.priority_class_name
    if trainer.image_pull_secrets:
        spec["imagePullSecrets"] = [{"name": one.name} for one in trainer.image_pull_secrets]
    return {
        "metadata": {
            "labels": meta["labels"] | {"app.kubernetes.io/component": CONTAINER},
            "annotations": meta["annotations"],
        },
        "spec": spec,
    }


def _container(owner: Owner, plan: Plan, settings: Settings) -> dict[str, Any]:
    container: dict[str, Any] = {
        "name": CONTAINER,
        "image": plan.image,
        "command": ["trainingjob", "pod"],
        "env": _environment(owner, plan, settings),
        "resources": build_resources(plan.run, settings),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        # The last lines say why a trainer died that could not report it.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [mount for _, mount in _volumes(owner, plan)],
    }
    if settings.image_pull_policy:
        container["imagePullPolicy"] = settings.image_pull_policy
    return container


def _pod_security(settings: Settings) -> dict[str, Any]:
    context: dict[str, Any] = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    if settings.run_as_user:
        user = settings.run_as_user
        context |= {"runAsUser": user, "runAsGroup": user}
        # A claim is writable by its group only.
        context |= {"fsGroup": user, "fsGroupChangePolicy": "OnRootMismatch"}
    return context


def _environment(owner: Owner, plan: Plan, settings: Settings) -> list[dict[str, Any]]:
    run = plan.run
    values = dict(settings.trainer_environment) | {
        "HOME": "/tmp",  # noqa: S108  # a volume of the pod's own
        "MPLCONFIGDIR": "/tmp",  # noqa: S108
        "TRAININGJOB_PVC_ROOT": CLAIMS_DIR,
        "TRAININGJOB_REPORT_CONFIGMAP": child_name(owner.name, Child.REPORT.suffix),
        "TRAININGJOB_WORK_DIR": WORK_DIR,
    }
    if run.dataset.credentials_secret_ref is not None:
        values["TRAININGJOB_CREDENTIALS_DIR"] = DATASET_CREDENTIALS_DIR
    if run.output.credentials_secret_ref is not None:
        values["TRAININGJOB_OUTPUT_CREDENTIALS_DIR"] = OUTPUT_CREDENTIALS_DIR
    fields = {"POD_NAMESPACE": "metadata.namespace", "POD_UID": "metadata.uid"}
    return [
        *({"name": name, "value": value} for name, value in sorted(values.items())),
        *(
            {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}
            for name, path in sorted(fields.items())
        ),
    ]


def _volumes(owner: Owner, plan: Plan) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return each volume with its mount."""
    run = plan.run
    config = {"configMap": {"name": child_name(owner.name, Child.RUN.suffix)}}
    found = [
        _volume("run", RUN_DIR, config, read_only=True),
        _volume("work", WORK_DIR, {"emptyDir": {"sizeLimit": WORK_SIZE}}),
        _volume("tmp", "/tmp", {"emptyDir": {"sizeLimit": TMP_SIZE}}),  # noqa: S108
    ]
    for name, path, reference in (
        ("dataset-credentials", DATASET_CREDENTIALS_DIR, run.dataset.credentials_secret_ref),
        ("output-credentials", OUTPUT_CREDENTIALS_DIR, run.output.credentials_secret_ref),
    ):
        if reference is not None:
            found.append(_volume(name, path, _secret(reference.name), read_only=True))
    source, goal = claim_of(run.dataset.uri), claim_of(run.output.uri)
    for number, claim in enumerate(dict.fromkeys(one for one in (source, goal) if one)):
        volume = {"persistentVolumeClaim": {"claimName": claim}}
        found.append(_volume(f"claim-{number}", f"{CLAIMS_DIR}/{claim}", volume, read_only=claim != goal))
    return found


def _volume(
    name: str, path: str, source: dict[str, Any], *, read_only: bool = False
) -> tuple[dict[str, Any], dict[str, Any]]:
    mount = {"name": name, "mountPath": path} | ({"readOnly": True} if read_only else {})
    return {"name": name} | source, mount


def _secret(name: str) -> dict[str, Any]:
    # Optional, keys included: what is missing becomes the trainer's clear error instead of a pod that never
    # starts, and a session token is seldom there.
    keys = [{"key": key, "path": key} for key in CREDENTIAL_KEYS]
    return {"secret": {"secretName": name, "optional": True, "defaultMode": 0o440, "items": keys}}


def _toleration(toleration: Toleration) -> dict[str, Any]:
    return toleration.model_dump(mode="json", by_alias=True, exclude_none=True)
