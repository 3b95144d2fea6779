"""From a job and settings to its plan; the share of jobs that get AutoML."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    assert [len(members) for members in inside] == pytest.approx([0, 100, 1000, 2000], abs=60)
    assert all(small <= large for small, large in pairwise(inside))


def test_all_jobs_of_a_user_are_on_the_same_side():
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
def test_the_share_is_below_the_spec_and_above_the_environment(percent, automl, variables, expected):
    settings = Settings(trainer_image="t", rollout_percent=percent, defaults=variables)
    spec = {} if automl is None else {"automl": {"enabled": automl}}
    run = make_plan(job(**spec), settings).run
    assert (run.automl_enabled, run.sources["automl.enabled"]) == expected


def test_a_job_without_output_uses_the_default():
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
def test_endpoints_must_be_on_the_allow_list(spec, reason, word):
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
def test_an_operator_handles_the_jobs_of_its_class(label, operator_class, expected):
    labels = {} if label is None else {"automl.trainingjob.dev/operator-class": label}
    assert Settings(trainer_image="t", operator_class=operator_class).handles(labels) is expected


def test_https_is_off_unless_the_installation_allows_it():
    spec = {"dataset": {"uri": "https://data.example/x.csv"}}
    cause = make_plan(job(**spec), SETTINGS)
    assert cause.reason == "NotAllowed"
    assert "does not allow https:// datasets" in cause.message
    assert isinstance(make_plan(job(**spec), Settings(trainer_image="t", allow_https=True)), Plan)


@pytest.mark.parametrize("field", ["dataset", "output"])
def test_local_files_are_rejected_in_a_cluster(field):
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


USER = "automl.trainingjob.dev/user"
PERCENTS = st.floats(min_value=0, max_value=100, allow_nan=False)
NAMES = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,40}[a-z0-9])?", fullmatch=True)
LABELS = st.one_of(st.just({}), NAMES.map(lambda name: {USER: name}))


@given(namespace=NAMES, name=NAMES, labels=LABELS, one=PERCENTS, other=PERCENTS)
def test_a_job_in_the_share_stays_in_a_greater_share(namespace, name, labels, one, other):
    small, large = sorted((one, other))
    if in_rollout(small, namespace, name, labels):
        assert in_rollout(large, namespace, name, labels)


@given(namespace=NAMES, name=NAMES, labels=LABELS)
def test_a_share_of_zero_has_no_job_and_of_a_hundred_all(namespace, name, labels):
    assert in_rollout(0, namespace, name, labels) is False
    assert in_rollout(100, namespace, name, labels) is True
    assert in_rollout(None, namespace, name, labels) is None


@given(user=NAMES, jobs=st.lists(st.tuples(NAMES, NAMES), min_size=2, max_size=8), percent=PERCENTS)
def test_all_jobs_of_a_user_are_on_one_side_in_every_namespace(user, jobs, percent):
    assert len({in_rollout(percent, namespace, name, {USER: user}) for namespace, name in jobs}) == 1


def first_share(namespace, name):
    """Return the least whole percentage at which a job is in, 1 to 100."""
    return next(percent for percent in range(101) if in_rollout(percent, namespace, name, {}))


@pytest.mark.parametrize(
    "jobs",
    [
        pytest.param([("team", f"churn-{number}") for number in range(20_000)], id="numbered"),
        pytest.param([(f"team-{number}", "churn") for number in range(20_000)], id="by namespace"),
        pytest.param([("a" * (number % 60 + 1), f"{number:x}") for number in range(20_000)], id="lengths"),
    ],
)
def test_each_percent_holds_as_many_jobs_as_any_other(jobs):
    counts = [0] * 100
    for job in jobs:
        counts[first_share(*job) - 1] += 1
    expected = len(jobs) / 100
    chi_squared = sum((count - expected) ** 2 / expected for count in counts)
    # 99 degrees of freedom: mean 99, deviation 14. The jobs are fixed, so that this never flickers.
    assert chi_squared < 99 + 4 * math.sqrt(2 * 99)
    assert min(counts) > 0


@pytest.mark.parametrize(
    ("namespace", "name", "labels", "bucket"),
    [
        pytest.param("team-a", "churn", {}, 9538, id="by name"),
        pytest.param("team-b", "churn", {}, 5622, id="another namespace"),
        pytest.param("team-a", "churn", {USER: "ada"}, 398, id="by user"),
    ],
)
def test_a_new_release_moves_no_job_to_the_other_side(namespace, name, labels, bucket):
    assert in_rollout((bucket + 0.5) / 100, namespace, name, labels) is True
    assert in_rollout((bucket - 0.5) / 100, namespace, name, labels) is False


@pytest.mark.parametrize("explicit", [None, True, False], ids=lambda value: f"spec={value}")
@pytest.mark.parametrize("variable", [None, "true", "false"], ids=lambda value: f"variable={value}")
@pytest.mark.parametrize("percent", [None, 0.0, 100.0], ids=lambda value: f"share={value}")
def test_precedence(explicit, variable, percent):
    defaults = {} if variable is None else {"ENABLE_AUTOML": variable}
    settings = Settings(trainer_image="t", rollout_percent=percent, defaults=defaults)
    run = make_plan(job(**({} if explicit is None else {"automl": {"enabled": explicit}})), settings).run
    if variable == "false":
        expected = False
    elif explicit is not None:
        expected = explicit
    elif percent is not None:
        expected = percent == 100.0
    else:
        expected = True
    assert run.automl_enabled is expected
