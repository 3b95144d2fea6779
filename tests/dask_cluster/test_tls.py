"""A cluster with certificates accepts only clients with certificates, by scheduler file or address."""

import asyncio
import socket
import ssl
from pathlib import Path

import pytest
from distributed import Client

from support.dask_processes import Process, Stage, call, check
from trainingjob_trainer.dask_cluster.connection import client_security, resolve_address
from trainingjob_trainer.dask_cluster.probe import identity
from trainingjob_trainer.errors import RunFailed

TLS = "DASK_DISTRIBUTED__COMM__TLS__"


def options(folder: Path, role: str) -> tuple[str, ...]:
    return (
        *("--tls-ca-file", f"{folder}/ca.crt"),
        *("--tls-cert", f"{folder}/{role}.crt"),
        *("--tls-key", f"{folder}/{role}.key"),
    )


def environment(folder: Path, role: str) -> dict[str, str]:
    files = {
        "CA_FILE": "ca.crt",
        f"{role.upper()}__CERT": f"{role}.crt",
        f"{role.upper()}__KEY": f"{role}.key",
    }
    return {TLS + name: f"{folder}/{file}" for name, file in files.items()}


@pytest.fixture(scope="module")
def ours(stage: Stage) -> Path:
    assert call("certs", str(stage.folder / "ours")).returncode == 0
    return stage.folder / "ours"


@pytest.fixture(scope="module")
def theirs(stage: Stage) -> Path:
    assert call("certs", str(stage.folder / "theirs")).returncode == 0
    return stage.folder / "theirs"


@pytest.fixture(scope="module")
def scheduler(stage: Stage, ours: Path) -> Process:
    scheduler = stage.scheduler(*options(ours, "scheduler"))
    workers = [
        stage.worker("--name", "by-file", environment=environment(ours, "worker")),
        stage.start(
            *("worker", "--name", "by-address", "--scheduler", resolve_address(stage.scheduler_file)),
            *("--local-directory", str(stage.folder)),
            *options(ours, "worker"),
        ),
    ]
    for worker in workers:
        worker.wait_for("works for tls://")
    return scheduler


def refusal(address: str, folder: Path | None) -> str:
    security = None if folder is None else client_security(environment(folder, "client"))
    with pytest.raises(RunFailed) as caught:
        asyncio.run(identity(address, security=security, timeout=2))
    return caught.value.message


def test_all_three_roles_connect_by_file_and_by_address(stage: Stage, scheduler: Process, ours: Path) -> None:
    address = resolve_address(stage.scheduler_file)
    assert address.startswith("tls://")
    security = client_security(environment(ours, "client"))
    for where in ({"address": address}, {"scheduler_file": str(stage.scheduler_file)}):
        with Client(**where, security=security, timeout=10, set_as_default=False) as client:
            workers = client.scheduler_info(n_workers=-1)["workers"]
            assert sorted(worker["name"] for worker in workers.values()) == ["by-address", "by-file"]
            assert all(worker["nanny"].startswith("tls://") for worker in workers.values())
            for worker in workers:
                assert client.submit(lambda: 6 * 7, workers=[worker], pure=False).result(timeout=30) == 42


def test_a_client_without_a_certificate_is_rejected(stage: Stage, scheduler: Process, ours: Path) -> None:
    address = resolve_address(stage.scheduler_file)
    assert "no certificates are configured here" in refusal(address, None)
    refusal(address.replace("tls://", "tcp://"), None)
    host, _, port = address.removeprefix("tls://").rpartition(":")
    context = ssl.create_default_context(cafile=str(ours / "ca.crt"))
    context.check_hostname = False
    with (
        socket.create_connection((host, int(port)), timeout=10) as plain,
        pytest.raises((ssl.SSLError, ConnectionResetError)),
        context.wrap_socket(plain) as wrapped,
    ):
        # With TLS 1.3 the client's side of the handshake is over before it is refused.
        assert wrapped.recv(1) == b"never"


def test_a_client_with_a_certificate_of_another_authority_is_rejected(
    stage: Stage, scheduler: Process, ours: Path, theirs: Path
) -> None:
    address = resolve_address(stage.scheduler_file)
    assert "certificate verify failed" in refusal(address, theirs)
    # It trusts our scheduler, but shows a certificate of its own.
    mixed = stage.folder / "mixed"
    mixed.mkdir()
    for name, source in (("ca.crt", ours), ("client.crt", theirs), ("client.key", theirs)):
        (mixed / name).write_bytes((source / name).read_bytes())
    refusal(address, mixed)


def test_a_worker_of_another_authority_is_rejected(stage: Stage, scheduler: Process, theirs: Path) -> None:
    stranger = stage.worker("--name", "stranger", "--wait-seconds", "0", *options(theirs, "worker"))
    bare = stage.worker("--name", "bare", "--wait-seconds", "0")
    assert stranger.ended() == 1
    assert "certificate verify failed" in stranger.text
    assert bare.ended() == 1
    assert "no certificates are configured here" in bare.text
    assert "stranger joined" not in scheduler.text
    assert "bare joined" not in scheduler.text


def test_a_scheduler_cannot_use_the_certificate_of_a_client(stage: Stage, ours: Path) -> None:
    port = ("--no-scheduler-file", "--port", "0")
    impostor = stage.start("scheduler", *port, *options(ours, "client"))
    impostor.wait_for("the scheduler listens on tls://")
    address = impostor.text.partition("listens on ")[2].split()[0]
    assert "certificate verify failed" in refusal(address, ours)


def test_checks_use_the_certificates(stage: Stage, scheduler: Process, ours: Path) -> None:
    file = ("--scheduler-file", str(stage.scheduler_file))
    well = check("scheduler", *file, environment=environment(ours, "scheduler"))
    assert well.returncode == 0, well.stderr
    assert well.stdout.endswith("answers, workers: 2\n")
    by_name = check("worker", "--name", "by-address", *file, *options(ours, "worker"))
    assert by_name.returncode == 0, by_name.stderr
    bare = check("scheduler", *file)
    assert bare.returncode == 1
    assert "no certificates are configured here" in bare.stderr
