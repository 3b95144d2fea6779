"""What the benchmarks of the operator share: which cluster, its definition, and what has been written."""

import argparse
import contextlib
import os
import platform
import re
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import TypeVar

import psutil

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from e2e.kit.cluster import Cluster, ContextError, context_in_use  # noqa: E402  # no package, found by its path
from kubernetes import client  # noqa: E402  # as the line above

from trainingjob_api import GROUP, PLURAL  # noqa: E402
from trainingjob_api.crd import build_crd  # noqa: E402

__all__ = [
    "ROOT",
    "Cluster",
    "definition",
    "describe",
    "eventually",
    "kubeconfig_of",
    "options",
    "spread",
    "throw_away_cluster",
    "verdict",
    "writes",
]

DEFINITION = f"{PLURAL}.{GROUP}"
_VERBS = frozenset({"POST", "PUT", "PATCH", "DELETE", "DELETECOLLECTION", "APPLY"})
_SAMPLE = re.compile(r"apiserver_request_total\{(?P<labels>.*)\} (?P<value>\S+)")
_LABEL = re.compile(r'(\w+)="([^"]*)"')

T = TypeVar("T")


def options(description: str | None, **defaults: int) -> argparse.Namespace:
    """Read the command line: one option for each of *defaults*, and ``--quick``."""
    parser = argparse.ArgumentParser(description=description)
    for name, value in defaults.items():
        parser.add_argument(f"--{name}", type=int, default=value, help=f"{value} by default")
    parser.add_argument("--quick", action="store_true", help="a look that proves nothing")
    return parser.parse_args()


@contextlib.contextmanager
def throw_away_cluster(connections: int = 8) -> Iterator[Cluster]:
    """Yield the cluster of KUBECONFIG; end the benchmark if there is none, or none that may be used."""
    # A benchmark that is asked to stop cleans up, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if not os.environ.get("KUBECONFIG"):
        print("skipped: KUBECONFIG is not set; it has to name a throw-away cluster")
        sys.exit(0)
    try:
        found = context_in_use(os.environ)
    except ContextError as error:
        sys.exit(f"refused: {error}")
    configuration = client.Configuration.get_default_copy()
    configuration.connection_pool_maxsize = connections
    client.Configuration.set_default(configuration)
    cluster = Cluster(*found)
    try:
        yield cluster
    finally:
        cluster.close()


@contextlib.contextmanager
def definition(cluster: Cluster) -> Iterator[None]:
    """Bring the TrainingJob's definition up to date; take it away again if it was not there."""
    wanted = build_crd()
    try:
        cluster.extensions.create_custom_resource_definition(wanted)
        made = True
    except client.ApiException as error:
        if error.status != 409:  # noqa: PLR2004  # conflict
            raise
        made = False
        cluster.extensions.patch_custom_resource_definition(DEFINITION, {"spec": wanted["spec"]})

    def established() -> bool:
        found = cluster.extensions.read_custom_resource_definition(DEFINITION)
        return any(
            condition.type == "Established" and condition.status == "True"
            for condition in found.status.conditions or ()
        )

    eventually(established, f"{DEFINITION} is not established", 60)
    try:
        yield
    finally:
        if made:
            cluster.extensions.delete_custom_resource_definition(DEFINITION)


def describe(cluster: Cluster, *packages: str) -> None:
    """Print machine and versions."""
    server = client.VersionApi(cluster.core.api_client).get_code()
    cores, memory = os.cpu_count(), psutil.virtual_memory().total / 2**30
    load = os.getloadavg()[0]
    print(f"machine: {cores} cores, {memory:.0f} GiB, load {load:.1f}; Python {platform.python_version()}")
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in packages)
    print(f"versions: Kubernetes {server.git_version}; {versions}")


def writes(cluster: Cluster) -> Counter[tuple[str, str]]:
    """Return how many writes the API server has taken so far, by resource and verb."""
    path = cluster.core.api_client.param_serialize("GET", "/metrics", auth_settings=["BearerToken"])
    text = cluster.core.api_client.call_api(*path[:3]).read().decode()
    found: Counter[tuple[str, str]] = Counter()
    for sample in _SAMPLE.finditer(text):
        labels = dict(_LABEL.findall(sample["labels"]))
        if labels["verb"] in _VERBS and labels["code"].startswith("2"):
            resource = "/".join(part for part in (labels["resource"], labels["subresource"]) if part)
            found[resource, labels["verb"]] += int(float(sample["value"]))
    return found


def eventually(look: Callable[[], T], message: str | Callable[[], str], seconds: float) -> T:
    """Return the first true result of *look*; end the benchmark after *seconds*."""
    end = time.monotonic() + seconds
    pause = threading.Event()
    while not (found := look()):
        if time.monotonic() >= end:
            sys.exit(f"stopped: {message() if callable(message) else message} within {seconds:g} s")
        pause.wait(0.2)
    return found


def spread(values: Sequence[float], unit: str, digits: int = 1) -> str:
    """Return median and range as text."""
    low, high = min(values), max(values)
    return (
        f"{median(values):.{digits}f} {unit} (median of {len(values)}; {low:.{digits}f} to {high:.{digits}f})"
    )


def verdict(name: str, value: float, limit: float, unit: str, *, at_least: bool = False) -> bool:
    """Print whether a target is met, and return it."""
    met = value >= limit if at_least else value <= limit
    bound = "at least" if at_least else "at most"
    print(f"target: {name} {bound} {limit:g} {unit}: {'met' if met else 'MISSED'} with {value:.1f}")
    return met


def kubeconfig_of(cluster: Cluster, folder: Path) -> Path:
    """Write a kubeconfig whose active context is the cluster's, for processes that take no other."""
    import yaml  # noqa: PLC0415  # one benchmark of several needs it

    known = yaml.safe_load(Path(cluster.kubeconfig).read_text())
    path = folder / "kubeconfig"
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(known | {"current-context": cluster.context}))
    return path
