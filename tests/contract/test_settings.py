"""How operator and trainer read their settings from variables."""

from typing import Annotated

import pytest
from pydantic import Field
from pydantic.dataclasses import dataclass

from trainingjob_api import SpecError
from trainingjob_api.environment import Variable, Words, read_settings


@dataclass(frozen=True, kw_only=True)
class Sample:
    image: str
    hosts: Words = ()
    limit: Annotated[int, Field(ge=1, le=9)] = 3
    share: float | None = None
    allowed: bool = True
    private: bool = False
    endpoint: Annotated[str | None, Variable(("FIRST", "SECOND"))] = None
    known: str = ""


def read(**environment):
    return read_settings(Sample, {"TRAININGJOB_IMAGE": "a", **environment}, known="b")


def test_unset_and_empty_variables_leave_the_defaults():
    plain = Sample(image="a", known="b")
    assert read() == plain
    assert read(TRAININGJOB_LIMIT=" ", TRAININGJOB_HOSTS="", TRAININGJOB_PRIVATE="", FIRST="") == plain


@pytest.mark.parametrize("text", ["", " "])
def test_an_empty_flag_is_false_even_if_it_is_on_by_default(text):
    assert read().allowed
    assert not read(TRAININGJOB_ALLOWED=text).allowed


def test_every_kind_is_read():
    found = read(
        TRAININGJOB_HOSTS=" a, b,", TRAININGJOB_LIMIT="9", TRAININGJOB_SHARE="0.5", TRAININGJOB_ALLOWED="No"
    )
    assert (found.hosts, found.limit, found.share, found.allowed) == (("a", "b"), 9, 0.5, False)


def test_the_first_variable_that_is_set_wins():
    assert read(SECOND="b").endpoint == "b"
    assert read(FIRST="a", SECOND="b").endpoint == "a"
    assert read(TRAININGJOB_ENDPOINT="c", TRAININGJOB_KNOWN="d").endpoint is None


def test_every_bad_variable_is_named_with_cause_and_way_out():
    environment = {"TRAININGJOB_LIMIT": "0", "TRAININGJOB_ALLOWED": "maybe", "TRAININGJOB_SHARE": "half"}
    with pytest.raises(SpecError) as error:
        read_settings(Sample, environment)
    assert {str(problem) for problem in error.value.problems} == {
        "TRAININGJOB_IMAGE: is required; set it",
        "TRAININGJOB_LIMIT: must be greater than or equal to 1, not '0'; correct or unset it",
        "TRAININGJOB_ALLOWED: must be true or false, not 'maybe'; correct or unset it",
        "TRAININGJOB_SHARE: must be a number, not 'half'; correct or unset it",
    }
