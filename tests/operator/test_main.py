"""Errors at start-up are reported in a line, with exit status 2."""

import json
import logging
import os
import signal
import subprocess
import sys
from importlib.metadata import version

import pytest

from support.fake_kubernetes import Cluster, Store
from support.fake_kubernetes.server import Server
from trainingjob_operator.__main__ import main

PATIENCE = 60


@pytest.fixture(autouse=True)
def log():
    """Leave the log of the tests as it was."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = before
    logging.captureWarnings(capture=False)


def test_a_missing_image_is_named(capsys):
    assert main({}) == 2
    line = json.loads(capsys.readouterr().err)
    assert (line["level"], line["event"]) == ("error", "operator cannot start")
    assert "TRAININGJOB_TRAINER_IMAGE" in line["detail"]


def test_a_missing_cluster_is_reported(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "absent"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    assert main({"TRAININGJOB_TRAINER_IMAGE": "x", "TRAININGJOB_NAMESPACES": "a"}) == 2
    assert "No cluster" in capsys.readouterr().err


@pytest.mark.slow
def test_the_process_runs_until_it_is_stopped(tmp_path):
    import time

    import yaml

    store = Store()
    cluster = Cluster(store)
    cluster.submit(suspend=True)
    with Server(store) as server:
        path = tmp_path / "kubeconfig"
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": server.address}}],
            "users": [{"name": "u", "user": {"token": "t"}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        }
        path.write_text(yaml.safe_dump(config))
        environment = {
            "PATH": os.environ["PATH"],
            "KUBECONFIG": str(path),
            "TRAININGJOB_TRAINER_IMAGE": "x",
            "TRAININGJOB_NAMESPACES": "team",
            "TRAININGJOB_PORT": "0",
        }
        command = [sys.executable, "-m", "trainingjob_operator"]
        with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
            end = time.monotonic() + PATIENCE
            while cluster.status.get("phase") != "Suspended":
                assert time.monotonic() < end, "never suspended"
                assert process.poll() is None, process.stderr.read()
                time.sleep(0.05)
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, said
    assert "Traceback" not in said
    lines = [json.loads(line) for line in said.splitlines()]
    assert all({"time", "level", "event"} <= line.keys() for line in lines)
    [start] = [line for line in lines if line["event"] == "operator starts"]
    assert (start["version"], start["scope"]) == (version("trainingjob"), "team")
    assert (start["class"], start["image"]) == ("stable", "x")
    managers = {agent.split("/")[0] for agent in server.agents}
    assert f"trainingjob-operator/{version('trainingjob')}" in server.agents
    assert not managers & {"OpenAPI-Generator"}
