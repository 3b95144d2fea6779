"""Names of children are valid, stable and different for any name of a job."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainingjob_operator.children import (
    TRAINER_CHILDREN,
    Child,
    Owner,
    child_name,
    labels,
    metadata,
    name_of,
)

PART = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,60}[a-z0-9])?", fullmatch=True)
NAMES = st.lists(PART, min_size=1, max_size=4).map(".".join)
LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
LABEL_VALUE = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")


@given(NAMES, st.sampled_from(list(TRAINER_CHILDREN)), st.integers(45, 63))
def test_a_childs_name_is_a_dns_label_of_bounded_length(job, child, limit):
    name = child_name(job, child.suffix, limit)
    assert len(name) <= limit
    assert LABEL.fullmatch(name)
    assert name.endswith(child.suffix)
    assert name == child_name(job, child.suffix, limit)


@given(st.lists(NAMES, min_size=2, max_size=5, unique=True))
def test_different_jobs_have_different_children(jobs):
    kinds = {(child.plural, child.suffix) for child in TRAINER_CHILDREN}
    made = [(plural, child_name(job, suffix)) for job in jobs for plural, suffix in kinds]
    assert len(set(made)) == len(made)


@given(NAMES)
def test_labels_are_valid(job):
    assert all(
        len(label) <= 63 and LABEL_VALUE.fullmatch(label) for label in labels(Owner(job, "n", "uid")).values()
    )


@pytest.mark.parametrize(
    ("job", "expected"),
    [
        ("churn", "churn-run"),
        ("a" * 59, "a" * 59 + "-run"),
        ("a" * 60, "a" * 48 + "-XXXXXXXXXX-run"),
        ("churn.v1", "churn-v1-XXXXXXXXXX-run"),
    ],
)
def test_short_names_stay_readable(job, expected):
    name = child_name(job, "-run")
    assert re.fullmatch(expected.replace("X", "[0-9a-f]"), name)


def test_names_that_differ_after_the_cut_differ():
    assert child_name("a" * 252 + "b", "-run") != child_name("a" * 252 + "c", "-run")


def test_what_pods_mount_and_write_has_another_name_for_a_job_that_is_created_again():
    names = [
        {child: name_of(Owner("churn", "team", uid), child) for child in TRAINER_CHILDREN}
        for uid in ("a", "b")
    ]
    assert {child for child in TRAINER_CHILDREN if names[0][child] != names[1][child]} == {
        Child.RUN,
        Child.REPORT,
    }
    assert all(LABEL.fullmatch(name) and len(name) <= 63 for name in names[0].values())


def test_a_child_knows_its_job_by_its_full_name():
    meta = metadata(Owner("x" * 253, "team", "uid"), Child.JOB)
    assert meta["annotations"]["automl.trainingjob.dev/job-name"] == "x" * 253
    [owner] = meta["ownerReferences"]
    assert (owner["name"], owner["uid"], owner["controller"]) == ("x" * 253, "uid", True)
