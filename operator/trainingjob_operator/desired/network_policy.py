"""The NetworkPolicy of a Dask cluster: whoever reaches a scheduler or worker can run code on it."""

from typing import Any

from trainingjob_operator.names import DASK_COMPONENT_LABEL, UID_LABEL, DaskPart, Owner, dask_metadata

__all__ = ["build_network_policy"]

_DNS = 53


def build_network_policy(owner: Owner) -> dict[str, Any]:
    """Return the policy: the job's pods may talk to scheduler and workers, and these to each other and DNS.

    Workers listen on ports that the system chooses, so that it names no ports.
    """
    mine = {UID_LABEL: owner.uid}
    dask = {
        "matchLabels": mine,
        "matchExpressions": [
            {"key": DASK_COMPONENT_LABEL, "operator": "In", "values": ["scheduler", "worker"]}
        ],
    }
    return {
        "apiVersion": DaskPart.POLICY.api_version,
        "kind": DaskPart.POLICY.kind,
        "metadata": dask_metadata(owner),
        "spec": {
            "podSelector": dask,
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": [{"podSelector": {"matchLabels": mine}}]}],
            "egress": [
                {"to": [{"podSelector": dask}]},
                {"ports": [{"protocol": protocol, "port": _DNS} for protocol in ("UDP", "TCP")]},
            ],
        },
    }
