"""The trainer's pod: one container, restricted, read-only but for its scratch space."""

from typing import Any

from trainingjob_api import claim_of
from trainingjob_operator.desired.certificates import scheduler_address, tls_environment, tls_volume
from trainingjob_operator.desired.parts import CONTAINER_SECURITY, placement, pod_security, scratch, volume
from trainingjob_operator.desired.report import REPORT_KEY
from trainingjob_operator.desired.report_key import KEY_PATH, key_volume
from trainingjob_operator.desired.resources import WORK_SIZE, build_resources
from trainingjob_operator.names import COMPONENT_LABEL, TRAINER, Child, Owner, metadata, name_of
from trainingjob_operator.resolution import Plan, wants_cluster
from trainingjob_operator.settings import Settings

__all__ = [
    "CONTAINER",
    "DATASET_CREDENTIALS",
    "GRACE_SECONDS",
    "OUTPUT_CREDENTIALS",
    "REPORT_KEY",
    "REQUIRED_KEYS",
    "build_pod_template",
    "trainer_container",
]

CONTAINER = "trainer"
GRACE_SECONDS = 60
"""Between SIGTERM and SIGKILL: time to mirror the journal."""

RUN_DIR = "/etc/trainingjob"
STATE_DIR = "/var/run/trainingjob"
WORK_DIR = f"{STATE_DIR}/work"
CLAIMS_DIR = f"{STATE_DIR}/claims"
CA_DIR = "/etc/trainingjob-ca"
CA_KEY = "ca.crt"
DATASET_CREDENTIALS, OUTPUT_CREDENTIALS = "dataset-credentials", "output-credentials"
"""Names of volumes."""
DATASET_CREDENTIALS_DIR = f"{STATE_DIR}/{DATASET_CREDENTIALS}"
OUTPUT_CREDENTIALS_DIR = f"{STATE_DIR}/{OUTPUT_CREDENTIALS}"
REQUIRED_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
OPTIONAL_KEYS = ("AWS_SESSION_TOKEN",)
TMP_SIZE = "2Gi"


def build_pod_template(owner: Owner, plan: Plan, settings: Settings) -> dict[str, Any]:
    """Return the template of the Job's pods."""
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
        "volumes": [one for one, _ in _volumes(owner, plan, settings)],
        **placement(trainer, trainer.node_selector, trainer.tolerations),
    }
    return {
        "metadata": {
            "labels": meta["labels"] | {COMPONENT_LABEL: TRAINER},
            "annotations": meta["annotations"],
        },
        "spec": spec,
    }


def trainer_container(raw: dict[str, Any]) -> dict[str, Any]:
    """Return the trainer's container of a pod or a template, whatever a webhook has added; empty if none."""
    containers: list[dict[str, Any]] = (raw.get("spec") or {}).get("containers") or []
    return next((container for container in containers if container.get("name") == CONTAINER), {})


def _container(owner: Owner, plan: Plan, settings: Settings) -> dict[str, Any]:
    container: dict[str, Any] = {
        "name": CONTAINER,
        "image": plan.image,
        "command": ["trainingjob", "pod"],
        "env": _environment(owner, plan, settings),
        "resources": build_resources(plan.run, settings),
        "securityContext": CONTAINER_SECURITY,
        # The last lines say why a trainer died that could not report it.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [mount for _, mount in _volumes(owner, plan, settings)],
    }
    if settings.image_pull_policy:
        container["imagePullPolicy"] = settings.image_pull_policy
    return container


def _environment(owner: Owner, plan: Plan, settings: Settings) -> list[dict[str, Any]]:
    run = plan.run
    values = dict(settings.trainer_environment) | {
        "HOME": "/tmp",  # noqa: S108  # a volume of the pod's own
        "MPLCONFIGDIR": "/tmp",  # noqa: S108
        "TRAININGJOB_PVC_ROOT": CLAIMS_DIR,
        "TRAININGJOB_JOB_NAME": owner.name,
        "TRAININGJOB_JOB_UID": owner.uid,
        "TRAININGJOB_PLAN_DIGEST": plan.digest,
        "TRAININGJOB_REPORT_CONFIGMAP": name_of(owner, Child.REPORT),
        "TRAININGJOB_WORK_DIR": WORK_DIR,
    }
    if plan.report_key is not None:
        values["TRAININGJOB_REPORT_KEY_FILE"] = KEY_PATH
    if run.dataset.credentials_secret_ref is not None:
        values["TRAININGJOB_CREDENTIALS_DIR"] = DATASET_CREDENTIALS_DIR
    if run.output.credentials_secret_ref is not None:
        values["TRAININGJOB_OUTPUT_CREDENTIALS_DIR"] = OUTPUT_CREDENTIALS_DIR
    if settings.ca_config_map:
        values["SSL_CERT_FILE"] = f"{CA_DIR}/{CA_KEY}"
    if wants_cluster(plan):
        values |= tls_environment("client") | {"DASK_SCHEDULER_ADDRESS": scheduler_address(owner)}
    fields = {"POD_NAMESPACE": "metadata.namespace", "POD_UID": "metadata.uid"}
    return [
        *({"name": name, "value": value} for name, value in sorted(values.items())),
        *(
            {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}
            for name, path in sorted(fields.items())
        ),
    ]


def _volumes(owner: Owner, plan: Plan, settings: Settings) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return each volume with its mount."""
    run = plan.run
    config = {"configMap": {"name": name_of(owner, Child.RUN)}}
    found = [
        volume("run", RUN_DIR, config, read_only=True),
        scratch("work", WORK_DIR, WORK_SIZE),
        scratch("tmp", "/tmp", TMP_SIZE),  # noqa: S108
    ]
    if plan.report_key is not None:
        found.append(key_volume(owner, plan.report_key))
    for name, path, reference in (
        (DATASET_CREDENTIALS, DATASET_CREDENTIALS_DIR, run.dataset.credentials_secret_ref),
        (OUTPUT_CREDENTIALS, OUTPUT_CREDENTIALS_DIR, run.output.credentials_secret_ref),
    ):
        if reference is not None:
            found.append(volume(name, path, _secret(reference.name), read_only=True))
    if settings.ca_config_map:
        authorities = {"name": settings.ca_config_map, "items": [{"key": CA_KEY, "path": CA_KEY}]}
        found.append(volume("ca", CA_DIR, {"configMap": authorities}, read_only=True))
    source, goal = claim_of(run.dataset.uri), claim_of(run.output.uri)
    for number, claim in enumerate(dict.fromkeys(one for one in (source, goal) if one)):
        claimed = {"persistentVolumeClaim": {"claimName": claim}}
        found.append(volume(f"claim-{number}", f"{CLAIMS_DIR}/{claim}", claimed, read_only=claim != goal))
    if wants_cluster(plan):
        found.append(tls_volume(owner, "client", optional=True))
    return found


def _secret(name: str) -> dict[str, Any]:
    # Two keys have to be there: a Secret may come later than the job, and the kubelet waits for it. A session
    # token is seldom there, and "optional" holds for a whole source.
    sources = [
        {"secret": {"name": name, "items": _items(REQUIRED_KEYS)}},
        {"secret": {"name": name, "optional": True, "items": _items(OPTIONAL_KEYS)}},
    ]
    return {"projected": {"defaultMode": 0o440, "sources": sources}}


def _items(keys: tuple[str, ...]) -> list[dict[str, str]]:
    return [{"key": key, "path": key} for key in keys]
