# ruff: noqa: INP001 - a script that a pod runs, no part of a package
"""What ``helm test`` runs: make the job in ``JOB_FILE``, wait for its end, say how it went, delete it."""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from kubernetes import client, config

GROUP, VERSION, PLURAL = "automl.trainingjob.dev", "v1alpha1", "trainingjobs"
POLL_SECONDS = 2.0


def say(text: str) -> None:
    """Write a line to the pod's log, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def ready(job: dict[str, Any]) -> str:
    """Return reason and message of the condition that says what matters now."""
    for condition in job.get("status", {}).get("conditions", []):
        if condition["type"] == "Ready":
            return f"{condition['reason']}: {condition.get('message', '')}"
    return "no conditions yet: check that this release handles that namespace and class"


def run(api: Any, manifest: dict[str, Any], seconds: float) -> int:
    """Run the job; return 0 if it succeeded within *seconds*."""
    namespace = manifest["metadata"]["namespace"]
    made = api.create_namespaced_custom_object(GROUP, VERSION, namespace, PLURAL, manifest)
    name = made["metadata"]["name"]
    say(f"trainingjob/{name} is made in {namespace}")
    try:
        return follow(api, namespace, name, time.monotonic() + seconds)
    finally:
        api.delete_namespaced_custom_object(GROUP, VERSION, namespace, PLURAL, name)


def follow(api: Any, namespace: str, name: str, deadline: float) -> int:
    """Say each change until the job ends; return 0 if it succeeded."""
    before = ""
    while True:
        job = api.get_namespaced_custom_object(GROUP, VERSION, namespace, PLURAL, name)
        status = job.get("status", {})
        now = f"{status.get('phase', 'no phase')}, {ready(job)}"
        if now != before:
            say(now)
            before = now
        if status.get("phase") == "Succeeded":
            best = status.get("best", {})
            say(f"model: {status.get('modelSource')}, hold-out score {best.get('holdoutScore')}")
            say(f"artifacts: {', '.join(each['uri'] for each in status.get('artifacts', []))}")
            return 0
        if status.get("phase") == "Failed":
            return 1
        if time.monotonic() > deadline:
            say("the time of the test is over; kubectl describe trainingjob says more while a job lasts")
            return 1
        time.sleep(POLL_SECONDS)


if __name__ == "__main__":
    config.load_incluster_config()
    sys.exit(
        run(
            client.CustomObjectsApi(),
            json.loads(Path(os.environ["JOB_FILE"]).read_text(encoding="utf-8")),
            float(os.environ["TEST_SECONDS"]),
        )
    )
