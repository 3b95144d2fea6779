"""The script that ``helm test`` runs, against an API that plays a job."""

import importlib.util
import sys
import types

import pytest

from support.charts import OPERATOR

MANIFEST = {"metadata": {"generateName": "test-", "namespace": "team"}, "spec": {}}


def status(phase, reason="Testing", **more):
    conditions = [{"type": "Ready", "status": "False", "reason": reason, "message": "so it is"}]
    return {"phase": phase, "conditions": conditions} | more


class Api:
    """Answers with the next status at each request, and with the last status from then on."""

    def __init__(self, *statuses):
        self.statuses = list(statuses)
        self.deleted = []

    def create_namespaced_custom_object(self, group, version, namespace, plural, body):
        assert (group, version, plural) == ("automl.trainingjob.dev", "v1alpha1", "trainingjobs")
        return {"metadata": {"name": f"{body['metadata']['generateName']}abc"}}

    def get_namespaced_custom_object(self, group, version, namespace, plural, name):
        now = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        return {"status": now} if now is not None else {}

    def delete_namespaced_custom_object(self, group, version, namespace, plural, name):
        self.deleted.append((namespace, name))


@pytest.fixture
def script(monkeypatch):
    fake = types.ModuleType("kubernetes")
    fake.client = fake.config = types.SimpleNamespace()
    monkeypatch.setitem(sys.modules, "kubernetes", fake)
    spec = importlib.util.spec_from_file_location("helm_test", OPERATOR / "files/helm_test.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "POLL_SECONDS", 0.0)
    return module


def test_a_model_is_a_success_and_the_job_is_deleted(script, capsys):
    api = Api(
        None,
        status("Searching", "Searching"),
        status("Searching", "Searching"),
        status(
            "Succeeded",
            "Complete",
            modelSource="tpot",
            best={"holdoutScore": "0.97"},
            artifacts=[{"uri": "s3://models/x/model.joblib"}],
        ),
    )
    assert script.run(api, MANIFEST, 60.0) == 0
    text = capsys.readouterr().out
    assert "check that this release handles that namespace and class" in text
    assert text.count("Searching, Searching: so it is") == 1
    assert "model: tpot, hold-out score 0.97" in text
    assert "s3://models/x/model.joblib" in text
    assert api.deleted == [("team", "test-abc")]


def test_a_failure_says_why(script, capsys):
    api = Api(status("Failed", "SpecInvalid"))
    assert script.run(api, MANIFEST, 60.0) == 1
    assert "Failed, SpecInvalid: so it is" in capsys.readouterr().out
    assert api.deleted


def test_a_job_that_never_ends_fails_the_test(script, capsys):
    api = Api(status("Pending", "ImageUnavailable"))
    assert script.run(api, MANIFEST, -1.0) == 1
    assert "ImageUnavailable" in capsys.readouterr().out
    assert api.deleted


def test_the_job_is_deleted_after_an_api_error(script):
    api = Api(None)
    api.get_namespaced_custom_object = lambda *_: 1 / 0
    with pytest.raises(ZeroDivisionError):
        script.run(api, MANIFEST, 60.0)
    assert api.deleted
