"""The operator's environment."""

import pytest

from trainingjob_api import SpecError
from trainingjob_operator.settings import Settings

IMAGE = {"TRAININGJOB_TRAINER_IMAGE": "registry.example/trainer:1"}


def test_the_image_alone_is_enough():
    assert Settings.from_environment(IMAGE) == Settings(trainer_image="registry.example/trainer:1")


def test_all_variables_are_read():
    settings = Settings.from_environment(
        IMAGE
        | {
            "TRAININGJOB_NAMESPACES": "a, b,",
            "TRAININGJOB_OPERATOR_CLASS": "canary",
            "TRAININGJOB_ROLLOUT_PERCENT": "12.5",
            "TRAININGJOB_ALLOWED_ENDPOINTS": "minio.example",
            "TRAININGJOB_ALLOW_HTTPS": "true",
            "TRAININGJOB_ALLOW_PRIVATE_HTTPS": "true",
            "TRAININGJOB_OUTPUT_URI": "s3://models",
            "TPOT__GENERATIONS": "7",
            "TPOT__METRIC": "",
            "AWS_ENDPOINT_URL": "https://minio.example",
            "TRAININGJOB_METRICS_JOB_LABEL": "yes",
        }
    )
    assert settings.namespaces == ("a", "b")
    assert settings.rollout_percent == 12.5
    assert dict(settings.defaults) == {"TPOT__GENERATIONS": "7"}
    assert dict(settings.trainer_environment) == {
        "AWS_ENDPOINT_URL": "https://minio.example",
        "TRAININGJOB_ALLOWED_ENDPOINTS": "minio.example",
        "TRAININGJOB_ALLOW_HTTPS": "true",
        "TRAININGJOB_ALLOW_PRIVATE_HTTPS": "true",
    }
    assert settings.allow_https
    assert settings.job_label


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TRAININGJOB_TRAINER_IMAGE", " "),
        ("TRAININGJOB_ROLLOUT_PERCENT", "101"),
        ("TRAININGJOB_ROLLOUT_PERCENT", "nan"),
        ("TRAININGJOB_WORKERS", "0"),
        ("TRAININGJOB_WORKERS", "two"),
        ("TRAININGJOB_ALLOW_HTTPS", "maybe"),
        ("TRAININGJOB_PORT", "65536"),
    ],
)
def test_a_bad_variable_is_named(name, value):
    with pytest.raises(SpecError, match=name):
        Settings.from_environment(IMAGE | {name: value})
