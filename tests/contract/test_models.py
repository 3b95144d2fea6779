import pytest
from pydantic import ValidationError

from support.jobs import BAD, CHANGED, FULL, GOOD, document, job
from trainingjob_api import MUTABLE_FIELDS, SpecError, TrainingJob, TrainingJobSpec, parse_job


@pytest.mark.parametrize("spec", GOOD)
def test_valid_specs_survive_a_round_trip(spec):
    parsed = parse_job(document(**spec))
    again = parse_job(parsed.model_dump(mode="json", by_alias=True, exclude_none=True))
    assert again == parsed


@pytest.mark.parametrize(("spec", "field"), BAD)
def test_invalid_specs_are_rejected_by_field(spec, field):
    with pytest.raises(SpecError) as error:
        parse_job(document(**spec))
    assert error.value.field.startswith(field)
    assert error.value.message


def test_the_full_example_and_its_counterpart_have_every_field():
    names = {info.alias for info in TrainingJobSpec.model_fields.values()}
    assert set(FULL) == names
    assert set(CHANGED) == names
    assert names > MUTABLE_FIELDS
    for name in names:
        parse_job(document(**{**FULL, name: CHANGED[name]}))


def test_models_are_frozen():
    parsed = job(**FULL)
    with pytest.raises(ValidationError):
        parsed.spec.metric = "r2"


def test_python_names_are_valid_in_python_only():
    assert TrainingJob.model_validate(document()).spec.target_column == "target"
    with pytest.raises(SpecError) as error:
        parse_job({**document(), "spec": {"dataset": {"uri": "sample://iris"}, "target_column": "t"}})
    assert "did you mean targetColumn?" in str(error.value)


def test_a_digest_is_kept_in_lower_case():
    assert job(dataset={"uri": "sample://iris", "sha256": "AB" * 32}).spec.dataset.sha256 == "ab" * 32


def test_metadata_of_an_api_server_is_accepted():
    text = document()
    text["metadata"] |= {
        "uid": "0b0e6f2e-6b3c-4d6b-9d1d-0a1b2c3d4e5f",
        "generation": 3,
        "creationTimestamp": "2026-11-24T19:42:00Z",
        "managedFields": [{"manager": "kubectl"}],
        "labels": {"a": "b"},
    }
    meta = parse_job(text).metadata
    assert (meta.generation, meta.labels) == (3, {"a": "b"})
    assert meta.creation_timestamp is not None
    assert meta.creation_timestamp.tzinfo is not None
