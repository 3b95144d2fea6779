"""From a job and settings to its plan."""

from itertools import pairwise

import pytest

from trainingjob_api import parse_job
from trainingjob_api.reasons import Cause
from trainingjob_operator.job_view import Plan, in_rollout, make_plan
from trainingjob_operator.settings import Settings

SETTINGS = Settings(trainer_image="trainer:1")


def job(labels=None, **spec):
    return parse_job(
        {
            "apiVersion": "automl.trainingjob.dev/v1alpha1",
            "kind": "TrainingJob",
            "metadata": {"name": "churn", "namespace": "team", "uid": "u", "labels": labels or {}},
            "spec": {
                "dataset": {"uri": "s3://data/x.csv"},
                "targetColumn": "y",
                "output": {"uri": "s3://models"},
            }
            | spec,
        }
    )


def test_a_greater_share_includes_a_smaller_one():
    names = [f"job-{number}" for number in range(2000)]
    inside = [
        {name for name in names if in_rollout(percent, "team", name, {})} for percent in (0, 5, 50, 100)
    ]
    assert [len(one) for one in inside] == pytest.approx([0, 100, 1000, 2000], abs=60)
    assert all(small <= large for small, large in pairwise(inside))


def test_a_user_is_on_one_side():
    label = {"automl.trainingjob.dev/user": "ada"}
    assert len({in_rollout(50, "team", f"job-{number}", label) for number in range(50)}) == 1


@pytest.mark.parametrize(
    ("percent", "automl", "variables", "expected"),
    [
        pytest.param(None, None, {}, (True, "default"), id="no-share"),
        pytest.param(0, None, {}, (False, "rollout"), id="outside"),
        pytest.param(100, None, {}, (True, "rollout"), id="inside"),
        pytest.param(0, True, {}, (True, "spec"), id="explicit"),
        pytest.param(100, True, {"ENABLE_AUTOML": "false"}, (False, "environment"), id="switch"),
    ],
)
def test_the_share_stands_between_spec_and_environment(percent, automl, variables, expected):
    settings = Settings(trainer_image="t", rollout_percent=percent, defaults=variables)
    spec = {} if automl is None else {"automl": {"enabled": automl}}
    run = make_plan(job(**spec), settings).run
    assert (run.automl_enabled, run.sources["automl.enabled"]) == expected


def test_a_default_output_is_used_where_there_is_none():
    settings = Settings(
        trainer_image="t", output_uri="s3://all", output_endpoint="https://m", output_secret="k"
    )
    output = make_plan(job(output={"leaderboardTopK": 3}), settings).run.output
    assert (output.uri, output.endpoint, output.credentials_secret_ref.name) == ("s3://all", "https://m", "k")
    assert output.leaderboard_top_k == 3
    assert make_plan(job(), settings).run.output.endpoint is None


@pytest.mark.parametrize(
    ("spec", "reason", "word"),
    [
        (
            {"dataset": {"uri": "s3://tables/x", "endpoint": "https://evil.example"}},
            "NotAllowed",
            "evil.example",
        ),
        (
            {"output": {"uri": "s3://tables/x", "endpoint": "https://evil.example"}},
            "NotAllowed",
            "spec.output.endpoint",
        ),
        ({"dataset": {"uri": "https://evil.example/x.csv"}}, "NotAllowed", "spec.dataset.uri"),
        ({"dataset": {"uri": "gs://tables/x"}}, "NotAllowed", "storage.googleapis.com"),
        ({"output": {"uri": "az://models"}}, "NotAllowed", "spec.output.uri"),
    ],
)
def test_endpoints_are_held_to_the_list(spec, reason, word):
    settings = Settings(trainer_image="t", allow_https=True, allowed_endpoints=("minio.example",))
    cause = make_plan(job(**spec), settings)
    assert cause.reason == reason
    assert word in cause.message
    good = {"uri": "s3://tables/x", "endpoint": "https://minio.example"}
    assert isinstance(make_plan(job(dataset=good), settings), Plan)


@pytest.mark.parametrize(
    ("uri", "host"),
    [
        ("gs://tables/x", "storage.googleapis.com"),
        ("az://tables/x", "blob.core.windows.net"),
        ("az://tables/x", "models.blob.core.windows.net"),
    ],
)
def test_a_cloud_is_allowed_by_its_host(uri, host):
    settings = Settings(trainer_image="t", allowed_endpoints=("minio.example", host))
    assert isinstance(make_plan(job(dataset={"uri": uri}), settings), Plan)


def test_a_bad_default_is_named():
    cause = make_plan(job(), Settings(trainer_image="t", defaults={"TPOT__GENERATIONS": "many"}))
    assert isinstance(cause, Cause)
    assert "TPOT__GENERATIONS" in cause.message


@pytest.mark.parametrize(
    ("label", "operator_class", "expected"),
    [
        (None, "stable", True),
        ("", "stable", True),
        ("stable", "stable", True),
        ("canary", "stable", False),
        (None, "canary", False),
        ("canary", "canary", True),
    ],
)
def test_classes(label, operator_class, expected):
    labels = {} if label is None else {"automl.trainingjob.dev/operator-class": label}
    assert Settings(trainer_image="t", operator_class=operator_class).handles(labels) is expected


def test_https_is_off_unless_the_installation_allows_it():
    spec = {"dataset": {"uri": "https://data.example/x.csv"}}
    cause = make_plan(job(**spec), SETTINGS)
    assert cause.reason == "NotAllowed"
    assert "does not allow https:// datasets" in cause.message
    assert isinstance(make_plan(job(**spec), Settings(trainer_image="t", allow_https=True)), Plan)


@pytest.mark.parametrize("field", ["dataset", "output"])
def test_files_of_a_machine_are_for_local_runs(field):
    cause = make_plan(job(**{field: {"uri": "file://x"}}), SETTINGS)
    assert cause.reason == "SpecInvalid"
    assert f"spec.{field}.uri: file://" in cause.message


def test_the_jobs_own_secret_and_endpoint_come_before_the_defaults():
    settings = Settings(
        trainer_image="t", output_uri="s3://all", output_endpoint="https://m", output_secret="k"
    )
    own = {"endpoint": "https://own", "credentialsSecretRef": {"name": "own"}}
    output = make_plan(job(output=own), settings).run.output
    assert (output.uri, output.endpoint, output.credentials_secret_ref.name) == (
        "s3://all",
        "https://own",
        "own",
    )
