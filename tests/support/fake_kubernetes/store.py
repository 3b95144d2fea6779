"""Objects of the API server and their history."""

import copy
import functools
import json
import threading
from datetime import UTC, datetime, timedelta

START = datetime(2026, 11, 1, 12, 0, 0, tzinfo=UTC)
FOREGROUND = "foregroundDeletion"
WITH_STATUS = {"trainingjobs", "jobs", "pods", "deployments"}
RESOURCES = {
    "/api/v1": {
        "configmaps": "ConfigMap",
        "serviceaccounts": "ServiceAccount",
        "pods": "Pod",
        "events": "Event",
        "namespaces": "Namespace",
        "secrets": "Secret",
    },
    "/apis/apps/v1": {"deployments": "Deployment"},
    "/apis/networking.k8s.io/v1": {"networkpolicies": "NetworkPolicy"},
    "/apis/kubernetes.dask.org/v1": {"daskclusters": "DaskCluster"},
    "/apis/batch/v1": {"jobs": "Job"},
    "/apis/rbac.authorization.k8s.io/v1": {"roles": "Role", "rolebindings": "RoleBinding"},
    "/apis/automl.trainingjob.dev/v1alpha1": {"trainingjobs": "TrainingJob"},
}


class Refusal(Exception):  # noqa: N818  # what a server says
    """An answer that is no success."""

    def __init__(self, status, message):
        super().__init__(message)
        self.status, self.message = status, message


def locked(method):
    """Let one thread at a time in: a server answers from its own."""

    @functools.wraps(method)
    def call(self, *args, **kwargs):
        with self.lock:
            return method(self, *args, **kwargs)

    return call


class Store:
    """An API server's objects.

    ``now`` is its clock, set by tests; ``writes`` lists every write that was taken; ``unknown`` names
    kinds that are not installed.
    """

    def __init__(self):
        self.objects = {}
        self.history = []
        self.version = 0
        self.now = START
        self.writes = []
        self.unknown = set()
        self.lock = threading.RLock()

    def pass_time(self, **kwargs):
        self.now += timedelta(**kwargs)

    def stamp(self):
        return self.now.strftime("%Y-%m-%dT%H:%M:%SZ")

    @locked
    def handle(self, method, path, query=None, body=None, content="application/json"):
        """Return status and object of one request; watches are the server's business."""
        query = query or {}
        try:
            root, plural, namespace, name, sub = parse(path)
            kind = RESOURCES[root][plural]
        except (KeyError, ValueError):
            return 404, failure(404, f"no such path: {path}")
        if plural in self.unknown:
            return 404, failure(404, "the server could not find the requested resource")
        key = (plural, namespace, name)
        try:
            match method:
                case "GET" if name:
                    return 200, copy.deepcopy(self.get(*key))
                case "GET":
                    return 200, self._list(kind, plural, namespace, query)
                case "POST":
                    new = self.create(root, kind, plural, namespace, json.loads(json.dumps(body)))
                    return 201, copy.deepcopy(new)
                case "PATCH":
                    return 200, copy.deepcopy(self.patch(*key, body, sub=sub))
                case "DELETE":
                    # Without a word about them the pods of a Job stay, as they did when Jobs were new.
                    default = {"propagationPolicy": "Orphan"} if plural == "jobs" else {}
                    self.delete(*key, **default | (body or {}))
                    return 200, {"kind": "Status", "status": "Success"}
        except Refusal as refusal:
            return refusal.status, failure(refusal.status, refusal.message)
        return 405, failure(405, method)

    def get(self, plural, namespace, name):
        try:
            return self.objects[plural, namespace, name]
        except KeyError:
            raise Refusal(404, f"{plural} {name!r} not found") from None

    def create(self, root, kind, plural, namespace, new):
        meta = new.setdefault("metadata", {})
        key = (plural, namespace, meta["name"])
        if key in self.objects:
            raise Refusal(409, f"{plural} {meta['name']!r} already exists")
        api_version = root.removeprefix("/apis/").removeprefix("/api/")
        new |= {"apiVersion": api_version, "kind": kind}
        if plural in WITH_STATUS:
            new.pop("status", None)
        number = sum(1 for change in self.history if change[0] == "ADDED") + 1
        meta |= {"namespace": namespace, "uid": f"uid-{number:04}", "generation": 1}
        meta["creationTimestamp"] = self.stamp()
        self.objects[key] = new
        self._record("ADDED", plural, new)
        self.writes.append(("POST", plural, meta["name"]))
        return new

    @locked
    def patch(self, plural, namespace, name, change, sub=""):
        old = self.get(plural, namespace, name)
        want = change.get("metadata") or {}
        if want.get("uid", old["metadata"]["uid"]) != old["metadata"]["uid"]:
            raise Refusal(409, "the uid in the precondition is another one")
        version = want.get("resourceVersion")
        if version and version != old["metadata"]["resourceVersion"]:
            raise Refusal(409, "the object has been modified")
        if old.get("immutable") and "data" in change:
            raise Refusal(422, "the object is immutable")
        parts = ("status",) if sub == "status" else tuple(part for part in change if part != "status")
        new = copy.deepcopy(old)
        for part in parts:
            if part != "metadata" and part in change:
                new[part] = merge(new.get(part), change[part])
        if new != old:
            if new.get("spec") != old.get("spec"):
                new["metadata"]["generation"] += 1
            self.objects[plural, namespace, name] = new
            self._record("MODIFIED", plural, new)
        self.writes.append(("PATCH", plural + (f"/{sub}" if sub else ""), name))
        return new

    @locked
    def delete(self, plural, namespace, name, preconditions=None, propagationPolicy="Background", **_):
        old = self.get(plural, namespace, name)
        if (preconditions or {}).get("uid", old["metadata"]["uid"]) != old["metadata"]["uid"]:
            raise Refusal(409, "the uid in the precondition is another one")
        if propagationPolicy == "Orphan":
            self._orphan(old["metadata"]["uid"])
        self.writes.append(("DELETE", plural, name))
        self._remove(plural, namespace, name)

    @locked
    def release(self, plural, namespace, name, finalizer):
        """Take a finalizer away; what waits for it is deleted."""
        raw = self.get(plural, namespace, name)
        raw["metadata"]["finalizers"].remove(finalizer)
        if raw["metadata"].get("deletionTimestamp"):
            self._remove(plural, namespace, name)

    def _orphan(self, uid):
        for raw in self.objects.values():
            owners = raw["metadata"].get("ownerReferences") or []
            raw["metadata"]["ownerReferences"] = [owner for owner in owners if owner["uid"] != uid]

    def _remove(self, plural, namespace, name):
        """Delete an object, or mark it where a finalizer holds it; dependents first if it asks for that."""
        old = self.objects[plural, namespace, name]
        held = old["metadata"].get("finalizers") or []
        if FOREGROUND in held:
            held.remove(FOREGROUND)
            self._collect(leaving=old["metadata"]["uid"])
        if held:
            old["metadata"].setdefault("deletionTimestamp", self.stamp())
            self._record("MODIFIED", plural, old)
            return
        del self.objects[plural, namespace, name]
        self._record("DELETED", plural, old)
        self._collect()

    @locked
    def since(self, plural, namespace, version, selector):
        """Return what a watch from *version* on brings, and the version after it."""
        found = [
            {"type": kind, "object": copy.deepcopy(raw)}
            for kind, its_plural, number, raw in self.history
            if its_plural == plural
            and number > version
            and namespace in {None, raw["metadata"].get("namespace")}
            and selected(raw, selector)
        ]
        return found, self.version

    def _list(self, kind, plural, namespace, query):
        found = [
            copy.deepcopy(raw)
            for (its_plural, its_namespace, _), raw in sorted(self.objects.items())
            if its_plural == plural
            and namespace in {None, its_namespace}
            and selected(raw, query.get("labelSelector"))
            and fields_match(raw, query.get("fieldSelector"))
        ]
        start, limit = int(query.get("continue") or 0), int(query.get("limit") or len(found) or 1)
        meta = {"resourceVersion": str(self.version)}
        if start + limit < len(found):
            meta["continue"] = str(start + limit)
        return {"kind": f"{kind}List", "metadata": meta, "items": found[start : start + limit]}

    def _record(self, kind, plural, raw):
        self.version += 1
        raw["metadata"]["resourceVersion"] = str(self.version)
        self.history.append((kind, plural, self.version, copy.deepcopy(raw)))

    def _collect(self, leaving=None):
        """Delete what has owners, none of which exists, or stays."""
        living = {raw["metadata"]["uid"] for raw in self.objects.values()} - {leaving}
        for (plural, namespace, name), raw in list(self.objects.items()):
            owners = raw["metadata"].get("ownerReferences")
            orphan = owners and not any(owner["uid"] in living for owner in owners)
            held = raw["metadata"].get("deletionTimestamp")
            if orphan and not held and (plural, namespace, name) in self.objects:
                self._remove(plural, namespace, name)


def parse(path):
    """Return group path, plural, namespace, name and subresource of *path*."""
    parts = path.strip("/").split("/")
    size = 2 if parts[0] == "api" else 3
    root, rest = "/" + "/".join(parts[:size]), parts[size:]
    namespace = None
    if rest[0] == "namespaces" and len(rest) > 2:
        namespace, rest = rest[1], rest[2:]
    plural, name, sub = (*rest, "", "")[:3]
    return root, plural, namespace, name, sub


def failure(status, message, **details):
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "code": status,
        "message": message,
        "details": details,
    }


def merge(old, change):
    """Apply a merge patch."""
    if not isinstance(change, dict):
        return copy.deepcopy(change)
    new = dict(old) if isinstance(old, dict) else {}
    for name, value in change.items():
        if value is None:
            new.pop(name, None)
        else:
            new[name] = merge(new.get(name), value)
    return new


def selected(raw, selector):
    labels = raw["metadata"].get("labels") or {}
    pairs = (part.partition("=") for part in (selector or "").split(",") if part)
    return all(labels.get(name) == value for name, _, value in pairs)


def fields_match(raw, selector):
    for part in (selector or "").split(","):
        name, _, value = part.partition("=")
        if name == "involvedObject.uid" and raw.get("involvedObject", {}).get("uid") != value:
            return False
        if name == "metadata.name" and raw["metadata"]["name"] != value:
            return False
        if name == "reason" and raw.get("reason") != value:
            return False
    return True
