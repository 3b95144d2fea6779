"""The bucket: SeaweedFS beside the tests, at an address that pods reach, or a given S3 server."""

import hashlib
import json
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import urllib3
from e2e.kit.cluster import Cluster
from minio import Minio
from minio.error import S3Error

from support.seaweed import S3Server

__all__ = ["BUCKET", "SECRET", "Bucket", "open_bucket"]

BUCKET = "trainingjob-e2e"
SECRET = "bucket-keys"


class Bucket:
    """One bucket of an S3 server.

    Parameters
    ----------
    endpoint, access_key, secret_key
        As pods know it, and the tests, too.
    server
        The process behind it if the tests have started it.
    """

    def __init__(self, endpoint: str, access_key: str, secret_key: str, server: S3Server | None) -> None:
        self.endpoint = endpoint
        self.server = server
        self._log_in(access_key, secret_key)
        if not self._client.bucket_exists(BUCKET):
            self._client.make_bucket(BUCKET)

    def _log_in(self, access_key: str, secret_key: str) -> None:
        self._keys = {"AWS_ACCESS_KEY_ID": access_key, "AWS_SECRET_ACCESS_KEY": secret_key}
        address = urlsplit(self.endpoint)
        self._client = Minio(
            address.netloc,
            access_key=access_key,
            secret_key=secret_key,
            secure=address.scheme == "https",
            http_client=urllib3.PoolManager(timeout=10, retries=False),
        )

    def rotate(self, access_key: str, secret_key: str) -> None:
        """Make the server of these tests accept only the new keys."""
        assert self.server is not None
        self.server.stop()
        self.server.access_key, self.server.secret_key = access_key, secret_key
        self.server.start()
        self._log_in(access_key, secret_key)

    def share(self, cluster: Cluster, namespace: str, name: str = SECRET) -> None:
        """Put the keys into a new Secret."""
        cluster.core.create_namespaced_secret(
            namespace, {"metadata": {"name": name}, "stringData": self._keys}
        )

    def share_again(self, cluster: Cluster, namespace: str, name: str) -> None:
        """Put the keys into a Secret that exists."""
        cluster.core.patch_namespaced_secret(name, namespace, {"stringData": self._keys})

    def put(self, key: str, path: Path) -> str:
        """Store a file and return its address."""
        self._client.fput_object(BUCKET, key, str(path))
        return f"s3://{BUCKET}/{key}"

    def keys(self, prefix: str) -> list[str]:
        """Return the keys below *prefix*, without it."""
        found = self._client.list_objects(BUCKET, prefix=prefix, recursive=True)
        return sorted(item.object_name.removeprefix(prefix) for item in found)

    def get(self, key: str) -> bytes | None:
        """Return an object's content."""
        try:
            answer = self._client.get_object(BUCKET, key)
        except S3Error as error:
            if error.code == "NoSuchKey":
                return None
            raise
        try:
            return answer.read()
        finally:
            answer.close()
            answer.release_conn()

    def document(self, key: str) -> Any:
        """Return an object that is JSON."""
        content = self.get(key)
        assert content is not None, f"there is no {key}"
        return json.loads(content)

    def digest(self, uri: str) -> str:
        """Return the SHA-256 of the object at an ``s3://`` address."""
        content = self.get(uri.removeprefix(f"s3://{BUCKET}/"))
        assert content is not None, f"there is no {uri}"
        return hashlib.sha256(content).hexdigest()


@contextmanager
def open_bucket(cluster: Cluster, folder: Path, environment: Mapping[str, str]) -> Iterator[Bucket]:
    """Yield the bucket of ``E2E_S3_ENDPOINT``, or a bucket on a SeaweedFS that runs during the tests."""
    endpoint = environment.get("E2E_S3_ENDPOINT")
    if endpoint:
        keys = (os.environ["E2E_S3_ACCESS_KEY"], os.environ["E2E_S3_SECRET_KEY"])
        yield Bucket(endpoint, *keys, None)
        return
    server = S3Server(folder, host=environment.get("E2E_S3_HOST") or _shared_address(cluster))
    server.start()
    try:
        yield Bucket(server.endpoint, server.access_key, server.secret_key, server)
    finally:
        server.stop()


def _shared_address(cluster: Cluster) -> str:
    """Return an address of this machine that pods reach: the node's own, or the gateway of its network."""
    nodes = cluster.plain(cluster.core.list_node())["items"]
    inside = [
        address["address"]
        for node in nodes
        for address in node["status"]["addresses"]
        if address["type"] == "InternalIP"
    ]
    for candidate in (*inside, *(f"{address.rpartition('.')[0]}.1" for address in inside)):
        if _is_ours(candidate):
            return candidate
    raise RuntimeError(
        f"no address of this machine that pods reach was found among {', '.join(inside)} and their gateways; "
        "set E2E_S3_HOST to such an address, or E2E_S3_ENDPOINT to an S3 server"
    )


def _is_ours(address: str) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True
