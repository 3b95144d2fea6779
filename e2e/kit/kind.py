"""A kind cluster for these tests, if asked for, with both images built and loaded."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["with_kind"]

ROOT = Path(__file__).parents[2]
NAME = "trainingjob-e2e"
IMAGES = {"operator": "trainingjob-operator:e2e", "trainer": "trainingjob-trainer:e2e"}


@contextmanager
def with_kind(environment: dict[str, str], folder: Path) -> Iterator[dict[str, str]]:
    """Yield *environment* as it is, or that of a new kind cluster if E2E_CREATE_KIND is set.

    Raises
    ------
    RuntimeError
        If there is no kind or no container engine.
    """
    if not environment.get("E2E_CREATE_KIND"):
        yield environment
        return
    engine = shutil.which("docker") or shutil.which("podman")
    kind = shutil.which("kind")
    if engine is None or kind is None:
        raise RuntimeError("E2E_CREATE_KIND needs kind, and docker or podman, on the path")
    kubeconfig = str(folder / "kubeconfig")
    _do(kind, "create", "cluster", "--name", NAME, "--kubeconfig", kubeconfig, "--wait", "180s")
    try:
        for part, image in IMAGES.items():
            _do(engine, "build", "--file", f"Dockerfile.{part}", "--tag", image, ".")
            archive = str(folder / f"{part}.tar")
            _do(engine, "save", "--output", archive, image)
            _do(kind, "load", "image-archive", archive, "--name", NAME)
        yield environment | {
            "KUBECONFIG": kubeconfig,
            "E2E_CONTEXT": f"kind-{NAME}",
            "E2E_OPERATOR_IMAGE": f"docker.io/library/{IMAGES['operator']}",
            "E2E_TRAINER_IMAGE": f"docker.io/library/{IMAGES['trainer']}",
        }
    finally:
        _do(kind, "delete", "cluster", "--name", NAME, "--kubeconfig", kubeconfig)


def _do(*command: str) -> None:
    subprocess.run(command, cwd=ROOT, check=True)
