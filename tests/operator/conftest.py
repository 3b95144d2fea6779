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
