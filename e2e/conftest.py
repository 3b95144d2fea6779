"""Fixtures of the end-to-end tests: one installation, one bucket and one namespace for the session.

Environment: KUBECONFIG (which cluster), E2E_CONTEXT, E2E_ALLOWED_CONTEXTS, E2E_OPERATOR_IMAGE,
E2E_TRAINER_IMAGE, E2E_PULL_POLICY, E2E_S3_ENDPOINT with E2E_S3_ACCESS_KEY and E2E_S3_SECRET_KEY, or
E2E_S3_HOST, E2E_RESTART_API_SERVER, E2E_KEEP, E2E_CREATE_KIND. The README beside this file says what they do.
"""

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("kubernetes", reason="the kubernetes package talks to the API server")
pytest.importorskip("helm_python", reason="helm-python-sdk carries Helm")

from e2e.kit.bucket import Bucket, open_bucket
from e2e.kit.cluster import Cluster, ContextError, context_in_use
from e2e.kit.dask import DaskOperator
from e2e.kit.evidence import collect
from e2e.kit.installation import Installation
from e2e.kit.jobs import Run
from e2e.kit.kind import with_kind

TEST_SECONDS = 900


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test the time that a cluster takes."""
    for item in items:
        item.add_marker(pytest.mark.timeout(TEST_SECONDS))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    """Keep the evidence of a failed test before the next test changes the cluster."""
    report = yield
    kit = getattr(item, "funcargs", {})
    if report.failed and "cluster" in kit and "operator" in kit:
        namespaces = [kit["operator"].namespace, kit["namespace"]]
        if "stage" in kit:
            namespaces += kit["stage"].namespaces
        try:
            evidence = str(collect(kit["cluster"], namespaces, item.name))
        except Exception as error:  # noqa: BLE001 - an unavailable API server must not end the other tests
            evidence = f"not collected: {error}"
        report.sections.append(("evidence", evidence))
    return report


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of the tests, with a new kind cluster if E2E_CREATE_KIND is set."""
    with with_kind(dict(os.environ), tmp_path_factory.mktemp("kind")) as found:
        yield found


@pytest.fixture(scope="session")
def cluster(environment: dict[str, str]) -> Iterator[Cluster]:
    """The cluster, if these tests may use it."""
    if not environment.get("KUBECONFIG"):
        pytest.skip("KUBECONFIG names no throw-away cluster")
    try:
        found = Cluster(*context_in_use(environment))
    except ContextError as error:
        pytest.exit(str(error), returncode=2)
    yield found
    found.close()


@pytest.fixture(scope="session")
def prefix() -> str:
    """The prefix of the namespaces of the session."""
    return f"e2e-{os.urandom(3).hex()}"


@pytest.fixture(scope="session")
def namespace(cluster: Cluster, prefix: str, environment: dict[str, str]) -> Iterator[str]:
    """The namespace of the jobs, deleted with all of them at the end."""
    yield cluster.make_namespace(prefix)
    if not environment.get("E2E_KEEP"):
        cluster.delete_namespace(prefix)


@pytest.fixture(scope="session")
def bucket(
    cluster: Cluster,
    namespace: str,
    environment: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Bucket]:
    """The bucket, with its keys in a Secret of the jobs' namespace."""
    with open_bucket(cluster, tmp_path_factory.mktemp("seaweed"), environment) as found:
        found.share(cluster, namespace)
        yield found


@pytest.fixture(scope="session")
def operator(cluster: Cluster, namespace: str, environment: dict[str, str]) -> Iterator[Installation]:
    """The operator, installed by its charts in a namespace of its own."""
    system = cluster.make_namespace(f"{namespace}-system")
    made = Installation(cluster, system, [namespace], environment)
    made.install()
    yield made
    if not environment.get("E2E_KEEP"):
        made.uninstall()
        cluster.delete_namespace(system)


@pytest.fixture(scope="session")
def dask(cluster: Cluster, namespace: str, environment: dict[str, str]) -> Iterator[DaskOperator]:
    """The Dask operator, installed by its own chart in a namespace of its own."""
    made = DaskOperator(cluster, cluster.make_namespace(f"{namespace}-dask"), namespace, environment)
    made.install()
    yield made
    if not environment.get("E2E_KEEP"):
        made.uninstall()
        cluster.delete_namespace(made.namespace)


@pytest.fixture
def start(
    cluster: Cluster, namespace: str, bucket: Bucket, operator: Installation
) -> Iterator[Callable[..., Run]]:
    """Return a function that creates a job from a name and changes of the quick spec; the test deletes it."""
    runs: list[Run] = []

    def make(name: str, **change: Any) -> Run:
        runs.append(Run(cluster, namespace, bucket, name, change))
        return runs[-1]

    yield make
    for run in runs:
        run.delete()
    for run in runs:
        run.gone()
