"""The share of jobs that get AutoML: stable, uniform, monotone, and behind what is said outright."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainingjob_api import parse_job
from trainingjob_operator.job_view import in_rollout, make_plan
from trainingjob_operator.settings import Settings

USER = "automl.trainingjob.dev/user"
PERCENTS = st.floats(min_value=0, max_value=100, allow_nan=False)
NAMES = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,40}[a-z0-9])?", fullmatch=True)
LABELS = st.one_of(st.just({}), NAMES.map(lambda name: {USER: name}))


@given(namespace=NAMES, name=NAMES, labels=LABELS, one=PERCENTS, other=PERCENTS)
def test_who_is_in_stays_in_when_the_share_grows(namespace, name, labels, one, other):
    small, large = sorted((one, other))
    if in_rollout(small, namespace, name, labels):
        assert in_rollout(large, namespace, name, labels)


@given(namespace=NAMES, name=NAMES, labels=LABELS)
def test_nobody_is_in_at_nought_and_everybody_at_a_hundred(namespace, name, labels):
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
    job = parse_job(
        {
            "apiVersion": "automl.trainingjob.dev/v1alpha1",
            "kind": "TrainingJob",
            "metadata": {"name": "churn", "namespace": "team", "uid": "u"},
            "spec": {
                "dataset": {"uri": "sample://iris"},
                "targetColumn": "target",
                "output": {"uri": "s3://models"},
                **({} if explicit is None else {"automl": {"enabled": explicit}}),
            },
        }
    )
    defaults = {} if variable is None else {"ENABLE_AUTOML": variable}
    run = make_plan(job, Settings(trainer_image="t", rollout_percent=percent, defaults=defaults)).run
    if variable == "false":
        expected = False
    elif explicit is not None:
        expected = explicit
    elif percent is not None:
        expected = percent == 100.0
    else:
        expected = True
    assert run.automl_enabled is expected
