"""One parser for addresses, and the one way to show them."""

import pytest

from trainingjob_api import claim_of, public_uri


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
    ],
)
def test_uris_are_shown_without_secrets(uri, shown):
    assert public_uri(uri) == shown
