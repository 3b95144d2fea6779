"""An API server in memory: enough of Kubernetes for an operator, with faults that a test chooses.

The store keeps objects as an API server does: uids, versions, generations, a status of its own where the
kind has one, labels selected on the server, owner references collected, a history that watches replay.
"""

from support.fake_kubernetes.client import DirectClient, Fault, Stopped
from support.fake_kubernetes.cluster import Cluster
from support.fake_kubernetes.dask import DaskOperator
from support.fake_kubernetes.operation import Operation
from support.fake_kubernetes.store import Store

__all__ = ["Cluster", "DaskOperator", "DirectClient", "Fault", "Operation", "Stopped", "Store"]
