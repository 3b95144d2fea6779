"""What the pods of trainer, scheduler and workers have in common."""

from typing import Any

from trainingjob_api import Toleration, Trainer
from trainingjob_operator.settings import Settings

__all__ = ["CONTAINER_SECURITY", "placement", "pod_security", "scratch", "volume"]

CONTAINER_SECURITY: dict[str, Any] = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
}


def pod_security(settings: Settings) -> dict[str, Any]:
    """Return the security context of a pod."""
    context: dict[str, Any] = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    if settings.run_as_user:
        user = settings.run_as_user
        context |= {"runAsUser": user, "runAsGroup": user}
        # A claim is writable by its group only, and a Secret readable.
        context |= {"fsGroup": user, "fsGroupChangePolicy": "OnRootMismatch"}
    return context


def placement(
    trainer: Trainer, node_selector: dict[str, str] | None, tolerations: tuple[Toleration, ...] | None
) -> dict[str, Any]:
    """Return where a pod may run, how urgent it is, how its image is pulled; empty where nothing is asked."""
    found: dict[str, Any] = {}
    if node_selector:
        found["nodeSelector"] = dict(node_selector)
    if tolerations:
        found["tolerations"] = [
            one.model_dump(mode="json", by_alias=True, exclude_none=True) for one in tolerations
        ]
    if trainer.priority_class_name:
        found["priorityClassName"] = trainer.priority_class_name
    if trainer.image_pull_secrets:
        found["imagePullSecrets"] = [{"name": one.name} for one in trainer.image_pull_secrets]
    return found


def scratch(name: str, path: str, size: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return an empty volume with its mount."""
    return volume(name, path, {"emptyDir": {"sizeLimit": size}})


def volume(
    name: str, path: str, source: dict[str, Any], *, read_only: bool = False
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a volume with its mount."""
    mount = {"name": name, "mountPath": path} | ({"readOnly": True} if read_only else {})
    return {"name": name} | source, mount
