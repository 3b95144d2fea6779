"""A Dask operator and its pods; a test triggers each step."""

from support.fake_kubernetes.cluster import NAMESPACE, ROOTS
from trainingjob_operator.children import DASK_CHILDREN

KOPF = "kopf.zalando.org/KopfFinalizerMarker"


class DaskOperator:
    """What the Dask operator, the Deployment controller and the kubelet make of a DaskCluster."""

    def __init__(self, store):
        self.store = store

    def parts(self, part=None):
        """Return the parts of Dask clusters that there are, those that go away aside."""
        plurals = {part.plural} if part else {child.plural for child in DASK_CHILDREN}
        found = [raw for (plural, *_), raw in self.store.objects.items() if plural in plurals]
        found = [manifest for manifest in found if not manifest["metadata"]["name"].endswith("-key")]
        return [manifest for manifest in found if not manifest["metadata"].get("deletionTimestamp")]

    @property
    def cluster(self):
        """The DaskCluster, even one that goes away."""
        found = [raw for (plural, *_), raw in self.store.objects.items() if plural == "daskclusters"]
        return found[0] if found else None

    def notice(self):
        """Put the finalizer on it, as the first thing that is done."""
        self.cluster["metadata"]["finalizers"].append(KOPF)

    def let_go(self):
        """Do what is done when a cluster is deleted."""
        self.store.release("daskclusters", NAMESPACE, self.cluster["metadata"]["name"], KOPF)

    def make(self, *roles, **status):
        """Make Deployments: ``scheduler``, ``worker`` as often as is asked."""
        for number, role in enumerate(roles):
            meta = self._meta(role, number)
            name = meta["name"]
            self._post("deployments", {"metadata": meta, "spec": {}})
            self.store.patch("deployments", NAMESPACE, name, {"status": status}, sub="status")

    def fail_replicas(self, message):
        condition = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message}
        for (plural, *_), raw in list(self.store.objects.items()):
            if plural == "deployments":
                name = raw["metadata"]["name"]
                change = {"status": {"conditions": [condition]}}
                self.store.patch("deployments", NAMESPACE, name, change, sub="status")

    def make_pod(self, role, *, conditions=(), **container):
        """Make a pod whose container has *container* as its status."""
        meta = self._meta(role, sum(1 for plural, *_ in self.store.objects if plural == "pods"))
        self._post("pods", {"metadata": meta, "spec": {}})
        status = {"phase": "Pending", "conditions": list(conditions)}
        status["containerStatuses"] = [{"name": role, **container}] if container else []
        self.store.patch("pods", NAMESPACE, meta["name"], {"status": status}, sub="status")

    def come_up(self):
        """Do all that is done for a cluster."""
        self.notice()
        self.make("scheduler", "worker", "worker")
        for role in ("scheduler", "worker", "worker"):
            self.make_pod(role, state={"running": {"startedAt": self.store.stamp()}})

    def _meta(self, role, number):
        meta = self.cluster["metadata"]
        labels = {"dask.org/cluster-name": meta["name"], "dask.org/component": role}
        return {
            "name": f"{meta['name']}-{role}-{number}",
            "labels": meta["labels"] | labels,
            "annotations": meta["annotations"],
            "ownerReferences": [{"kind": "DaskCluster", "uid": meta["uid"], "controller": True}],
        }

    def _post(self, plural, body):
        path = f"{ROOTS[plural]}/namespaces/{NAMESPACE}/{plural}"
        status, raw = self.store.handle("POST", path, body=body)
        assert status == 201, raw
