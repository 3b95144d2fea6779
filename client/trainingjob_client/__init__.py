"""The client of TrainingJobs: create, read, follow and delete them, in a cluster or on this machine.

::

    from trainingjob_api import load_job
    from trainingjob_client import KubernetesBackend, TrainingJobClient

    client = TrainingJobClient(KubernetesBackend(namespace="ml"))
    client.create(load_job(Path("job.yaml")))
    print(client.wait("churn").status.best)

All errors have a ``reason`` of the contract and a ``message`` for people::

    ClientError
    ├── InvalidRequest      the caller must act: kubeconfig, name, permissions or spec
    ├── ServiceUnavailable  the cluster or a package is missing or does not answer; a retry may help
    └── JobFailed           the job ended without a model

The backend is the only seam: a test passes an object with the methods of `Backend`.
"""

from trainingjob_client._backends import KubernetesBackend, LocalBackend
from trainingjob_client._client import (
    Backend,
    ClientError,
    InvalidRequest,
    Job,
    JobFailed,
    JobLog,
    ServiceUnavailable,
    TrainingJobClient,
)

__all__ = [
    "Backend",
    "ClientError",
    "InvalidRequest",
    "Job",
    "JobFailed",
    "JobLog",
    "KubernetesBackend",
    "LocalBackend",
    "ServiceUnavailable",
    "TrainingJobClient",
]
