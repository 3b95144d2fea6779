"""The Secret with the key that a run signs its reports with; the trainer alone mounts it."""

import base64
from typing import Any

from trainingjob_certificates.signing import ReportKey
from trainingjob_operator.desired.parts import volume
from trainingjob_operator.names import Owner, key_metadata, key_name

__all__ = ["KEY_FILE", "KEY_PATH", "build_report_key", "key_volume"]

KEY_FILE = "report.key"
KEY_DIR = "/var/run/trainingjob/report-key"
KEY_PATH = f"{KEY_DIR}/{KEY_FILE}"


def build_report_key(owner: Owner, key: ReportKey) -> dict[str, Any]:
    """Return the Secret; the operator keeps the public half only and never reads it."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": key_metadata(owner, key.public),
        "immutable": True,
        "type": "Opaque",
        "data": {KEY_FILE: base64.b64encode(key.pem).decode()},
    }


def key_volume(owner: Owner, public: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the volume with the key, without which the pod does not start, and its mount."""
    secret = {"secretName": key_name(owner, public), "optional": False, "defaultMode": 0o440}
    return volume("report-key", KEY_DIR, {"secret": secret}, read_only=True)
