"""A cluster in memory and an operator on it."""

import pytest

from support.fake_kubernetes import Cluster, DaskOperator, Operation, Store


@pytest.fixture
def store():
    return Store()


@pytest.fixture
def cluster(store):
    return Cluster(store)


@pytest.fixture
def operation(store):
    return Operation(store)


@pytest.fixture
def dask(store):
    return DaskOperator(store)


@pytest.fixture
def begun(cluster, operation):
    """A distributed job whose trainer runs."""
    cluster.submit(parallelMode="distributed", dask={"workers": 2, "readyTimeoutSeconds": 120})
    operation.settle()
    cluster.run_pod()
    operation.settle()
    return cluster
