"""Addresses are parsed and shown in a single way."""

import pytest
from pydantic import TypeAdapter, ValidationError

from trainingjob_api import (
    OBJECT_STORAGE,
    DatasetUri,
    OutputUri,
    SecretRef,
    SpecError,
    claim_of,
    parse_job,
    public_uri,
)


def job_of(spec):
    return {
        "apiVersion": "automl.trainingjob.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": "churn"},
        "spec": spec,
    }


@pytest.mark.parametrize(("uri", "claim"), [("pvc://a/b/c", "a"), ("pvc://a", "a"), ("s3://a/b", None)])
def test_claims(uri, claim):
    assert claim_of(uri) == claim


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("s3://bucket/key.csv", "s3://bucket/key.csv"),
        ("https://me:secret@host/t.csv?X-Amz-Signature=secret#secret", "https://host/t.csv"),
        ("https://data.example/t.csv?X-Amz-Signature=verysecret", "https://data.example/t.csv"),
        ("https://data.example/t.csv#verysecret", "https://data.example/t.csv"),
        ("sample://iris", "sample://iris"),
        ("file:///data/t.csv", "file:///data/t.csv"),
        ("s3://bucket/a?b", "s3://bucket/a?b"),
        ("s3://key:secret@bucket/a", "s3://bucket/a"),
        ("https://[secret", "https://…"),
        ("gs://bucket/a?b", "gs://bucket/a?b"),
        ("az://account:key@container/a", "az://container/a"),
    ],
)
def test_uris_are_shown_without_secrets(uri, shown):
    assert public_uri(uri) == shown


@pytest.mark.parametrize(
    ("uri", "is_dataset", "is_output"),
    [
        ("gs://models_1.example/a b/t.csv", True, True),
        ("gs://models", False, True),
        ("gs://models/", False, True),
        ("gs://Models/t.csv", False, False),
        ("gs://user@models/t.csv", False, False),
        ("az://models-1/t.csv", True, True),
        ("az://models", False, True),
        ("az://models--1/t.csv", False, False),
        ("az://$root/t.csv", False, False),
        ("az://models_1/t.csv", False, False),
        ("abfs://models/t.csv", False, False),
    ],
)
def test_forms_of_the_addresses_of_clouds(uri, is_dataset, is_output):
    for kind, expected in ((DatasetUri, is_dataset), (OutputUri, is_output)):
        try:
            found = TypeAdapter(kind).validate_python(uri) == uri
        except ValidationError:
            found = False
        assert found is expected


@pytest.mark.parametrize("scheme", ["gs", "az"])
@pytest.mark.parametrize("part", ["dataset", "output"])
def test_an_endpoint_for_cloud_storage_is_rejected(scheme, part):
    spec = {"dataset": {"uri": "sample://iris"}, "targetColumn": "y", "output": {"uri": "s3://models"}}
    spec[part] = {"uri": f"{scheme}://bucket/key", "endpoint": "https://minio.example"}
    with pytest.raises(SpecError) as caught:
        parse_job(job_of(spec))
    [problem] = caught.value.problems
    assert problem.field == f"spec.{part}.endpoint"
    assert "s3:// only" in problem.message


def test_the_definition_names_the_keys_of_each_kind_of_storage():
    text = SecretRef.model_fields["name"].description
    for scheme, kind in OBJECT_STORAGE.items():
        assert f"{scheme}://" in text
        assert all(key in text for key in (*kind.required, *kind.optional))
