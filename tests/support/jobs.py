"""Documents of TrainingJobs that tests share; the models and an API server must agree on them."""

from typing import Any

import pytest

from trainingjob_api import API_VERSION, KIND, TrainingJob, parse_job

DIGEST = "0f" * 32


def document(name: str = "job", /, **spec: Any) -> dict[str, Any]:
    """Return a TrainingJob as plain data: the least that is valid, and *spec* on top."""
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": name},
        "spec": {"dataset": {"uri": "s3://data/table.csv"}, "targetColumn": "target", **spec},
    }


def job(name: str = "job", /, **spec: Any) -> TrainingJob:
    """Return the TrainingJob of :func:`document`."""
    return parse_job(document(name, **spec))


FULL: dict[str, Any] = {
    "dataset": {
        "uri": "s3://datasets/a b/churn.csv",
        "endpoint": "https://minio.example:9000",
        "format": "csv",
        "credentialsSecretRef": {"name": "minio"},
        "sha256": DIGEST,
    },
    "targetColumn": "churned",
    "positiveLabel": "yes",
    "task": "classification",
    "featureTypes": {"zip": "categorical", "id": "ignore"},
    "metric": "f1",
    "validation": {"holdoutFraction": 0.2, "strategy": "group", "groupColumn": "household"},
    "automl": {"enabled": True, "fallback": True},
    "ensemble": "auto",
    "budget": {
        "timeLeftSeconds": 900,
        "perRunLimitSeconds": 60,
        "generations": 20,
        "populationSize": 32,
        "cvFolds": 5,
    },
    "searchSpace": {"preset": "linear"},
    "parallelMode": "distributed",
    "nJobs": 2,
    "memoryLimitMb": 3072,
    "dask": {
        "workers": 4,
        "readyTimeoutSeconds": 120,
        "workerResources": {"requests": {"cpu": "1", "memory": "4Gi"}, "limits": {"nvidia.com/gpu": "1"}},
        "schedulerResources": {"limits": {"cpu": "500m"}},
        "nodeSelector": {"kubernetes.io/arch": "amd64"},
        "tolerations": [{"key": "training", "operator": "Exists", "effect": "NoSchedule"}],
    },
    "output": {
        "uri": "s3://models/prefix",
        "endpoint": "https://minio.example",
        "credentialsSecretRef": {"name": "minio"},
        "leaderboardTopK": 10,
    },
    "acceptance": {"minScore": 0.8, "mustBeatBaseline": True},
    "randomState": 4294967295,
    "suspend": False,
    "activeDeadlineSeconds": 1800,
    "backoffLimit": 2,
    "ttlSecondsAfterFinished": 3600,
    "trainer": {
        "resources": {"requests": {"cpu": "1"}},
        "nodeSelector": {"pool": "training"},
        "tolerations": [{"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60}],
        "priorityClassName": "high",
        "serviceAccountAnnotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/training"},
        "imagePullSecrets": [{"name": "registry"}],
    },
}
"""Every field of the spec once."""

CHANGED: dict[str, Any] = {
    "dataset": {"uri": "s3://datasets/other.csv"},
    "targetColumn": "left",
    "positiveLabel": "no",
    "task": "auto",
    "featureTypes": {"zip": "numeric", "id": "ignore"},
    "metric": "roc_auc",
    "validation": {"holdoutFraction": 0.3, "strategy": "group", "groupColumn": "household"},
    "automl": {"enabled": False, "fallback": True},
    "ensemble": "off",
    "budget": {"timeLeftSeconds": 901},
    "searchSpace": {"preset": "graph"},
    "parallelMode": "local",
    "nJobs": 3,
    "memoryLimitMb": 2048,
    "dask": {"workers": 5},
    "output": {"uri": "s3://models/elsewhere"},
    "acceptance": {"minScore": 0.7},
    "randomState": 1,
    "suspend": True,
    "activeDeadlineSeconds": 1801,
    "backoffLimit": 3,
    "ttlSecondsAfterFinished": 60,
    "trainer": {"priorityClassName": "low"},
}
"""Another valid value for each field of the spec."""

GOOD = [
    pytest.param({}, id="least"),
    pytest.param(FULL, id="full"),
    pytest.param({"dataset": {"uri": "pvc://claim/a/b.csv"}}, id="claim"),
    pytest.param({"dataset": {"uri": "https://host.example:8443/a.csv?x=1"}}, id="https"),
    pytest.param({"dataset": {"uri": "sample://breast_cancer"}}, id="sample"),
    pytest.param({"dataset": {"uri": "s3://data/a..b/c.csv"}}, id="dots inside a name"),
    pytest.param({"output": {"uri": "s3://models"}}, id="bucket alone"),
    pytest.param({"output": {"uri": "pvc://models"}}, id="claim alone"),
    pytest.param({"validation": {"groupColumn": "g"}}, id="group without strategy"),
    pytest.param({"validation": {"strategy": "auto", "timeColumn": "t"}}, id="time with auto"),
    pytest.param({"validation": {"strategy": "time", "timeColumn": "t"}}, id="time"),
    pytest.param(
        {"validation": {}, "automl": {}, "budget": {}, "dask": {}, "output": {}, "trainer": {}}, id="empty"
    ),
    pytest.param({"acceptance": {"minScore": -12.5}}, id="negative score"),
    pytest.param({"acceptance": {"minScore": 1}}, id="whole score"),
    pytest.param({"searchSpace": {"inline": "{type: group, names: [classifiers]}"}}, id="inline"),
    pytest.param({"searchSpace": {"configMapRef": {"name": "space", "key": "space.yaml"}}}, id="config map"),
    pytest.param(
        {"trainer": {"resources": {"limits": {"cpu": 2, "ephemeral-storage": "1Gi"}}}}, id="bare quantity"
    ),
    pytest.param(
        {"dask": {"tolerations": [{"key": "a", "value": "b", "operator": "Equal"}]}}, id="toleration"
    ),
    pytest.param(
        {"activeDeadlineSeconds": 60, "budget": {"timeLeftSeconds": 60}}, id="deadline is the budget"
    ),
    pytest.param({"ttlSecondsAfterFinished": 0, "backoffLimit": 0, "randomState": 0}, id="zeros"),
    pytest.param({"featureTypes": {"a column, with spaces": "text", "ü": "numeric"}}, id="odd columns"),
]

BAD = [
    pytest.param({"dataset": {}}, "spec.dataset.uri", id="no uri"),
    pytest.param({"dataset": {"uri": ""}}, "spec.dataset.uri", id="empty uri"),
    pytest.param({"dataset": {"uri": "ftp://x/y"}}, "spec.dataset.uri", id="scheme"),
    pytest.param({"dataset": {"uri": "s3://bucket"}}, "spec.dataset.uri", id="no key"),
    pytest.param({"dataset": {"uri": "s3://UPPER/key"}}, "spec.dataset.uri", id="bucket name"),
    pytest.param({"dataset": {"uri": "http://host/x"}}, "spec.dataset.uri", id="http"),
    pytest.param(
        {"dataset": {"uri": "https://user:pw@host/x"}}, "spec.dataset.uri", id="credentials in an address"
    ),
    pytest.param({"dataset": {"uri": "pvc://claim/../x"}}, "spec.dataset", id="dots"),
    pytest.param({"dataset": {"uri": "pvc://claim/a/%2e%2e/x"}}, "spec.dataset", id="escaped dots"),
    pytest.param({"dataset": {"uri": "pvc://claim/a%20b"}}, "spec.dataset", id="escape in a claim"),
    pytest.param({"dataset": {"uri": "s3://data/a%2Fb"}}, "spec.dataset", id="escaped slash"),
    pytest.param({"dataset": {"uri": "https://data.example/a%5C..%5Cb"}}, "spec.dataset", id="backslash"),
    pytest.param({"dataset": {"uri": "pvc://claim/x/.."}}, "spec.dataset", id="dots at the end"),
    pytest.param({"dataset": {"uri": "s3://data/" + "x" * 1100}}, "spec.dataset.uri", id="long uri"),
    pytest.param({"dataset": {"uri": "s3://data/a\nb"}}, "spec.dataset.uri", id="line break"),
    pytest.param({"dataset": {"uri": "sample://a", "format": "xml"}}, "spec.dataset.format", id="format"),
    pytest.param({"dataset": {"uri": "sample://a", "sha256": "abc"}}, "spec.dataset.sha256", id="digest"),
    pytest.param(
        {"dataset": {"uri": "sample://a", "endpoint": "minio"}}, "spec.dataset.endpoint", id="endpoint"
    ),
    pytest.param(
        {"dataset": {"uri": "sample://a", "credentialsSecretRef": {"name": "A_b"}}},
        "spec.dataset.credentialsSecretRef.name",
        id="secret name",
    ),
    pytest.param({"targetColumn": ""}, "spec.targetColumn", id="empty target"),
    pytest.param({"targetColumn": 1}, "spec.targetColumn", id="target is a number"),
    pytest.param({"positiveLabel": True}, "spec.positiveLabel", id="label is a boolean"),
    pytest.param({"task": "regression", "positiveLabel": "a"}, "spec", id="label of a regression"),
    pytest.param({"task": "Classification"}, "spec.task", id="case"),
    pytest.param({"featureTypes": {"a": "numerical"}}, "spec.featureTypes.a", id="feature type"),
    pytest.param({"featureTypes": {"": "text"}}, "spec.featureTypes", id="empty column"),
    pytest.param({"featureTypes": {"x" * 300: "text"}}, "spec.featureTypes", id="long column"),
    pytest.param({"featureTypes": {"target": "text"}}, "spec", id="type of the target"),
    pytest.param({"metric": "f1 score"}, "spec.metric", id="metric"),
    pytest.param({"validation": {"strategy": "group"}}, "spec.validation", id="group without column"),
    pytest.param({"validation": {"strategy": "time"}}, "spec.validation", id="time without column"),
    pytest.param(
        {"validation": {"groupColumn": "g", "timeColumn": "t"}}, "spec.validation", id="both columns"
    ),
    pytest.param(
        {"validation": {"strategy": "kfold", "groupColumn": "g"}}, "spec.validation", id="kfold and group"
    ),
    pytest.param({"validation": {"groupColumn": "target"}}, "spec", id="target as group"),
    pytest.param({"validation": {"timeColumn": "target"}}, "spec", id="target as time"),
    pytest.param({"validation": {"holdoutFraction": 0}}, "spec.validation.holdoutFraction", id="no hold-out"),
    pytest.param(
        {"validation": {"holdoutFraction": 0.6}}, "spec.validation.holdoutFraction", id="big hold-out"
    ),
    pytest.param({"automl": {"enabled": "true"}}, "spec.automl.enabled", id="boolean as text"),
    pytest.param({"ensemble": False}, "spec.ensemble", id="off without quotes"),
    pytest.param({"budget": {"timeLeftSeconds": 0}}, "spec.budget.timeLeftSeconds", id="no time"),
    pytest.param({"budget": {"timeLeftSeconds": "60"}}, "spec.budget.timeLeftSeconds", id="number as text"),
    pytest.param({"budget": {"timeLeftSeconds": 10**7}}, "spec.budget.timeLeftSeconds", id="too much time"),
    pytest.param({"budget": {"generations": 2.5}}, "spec.budget.generations", id="fraction"),
    pytest.param({"budget": {"cvFolds": 1}}, "spec.budget.cvFolds", id="one fold"),
    pytest.param({"searchSpace": {"preset": "lineer"}}, "spec.searchSpace.preset", id="preset"),
    pytest.param({"searchSpace": {"preset": "linear", "inline": "{}"}}, "spec.searchSpace", id="two spaces"),
    pytest.param({"searchSpace": {"inline": "x" * 70_000}}, "spec.searchSpace.inline", id="long inline"),
    pytest.param({"parallelMode": False}, "spec.parallelMode", id="off unquoted"),
    pytest.param({"parallelMode": "off"}, "spec.parallelMode", id="off quoted"),
    pytest.param({"nJobs": 0}, "spec.nJobs", id="no jobs"),
    pytest.param({"memoryLimitMb": 1}, "spec.memoryLimitMb", id="no memory"),
    pytest.param({"dask": {"workers": 0}}, "spec.dask.workers", id="no workers"),
    pytest.param({"dask": {"nodeSelector": {"a b": "c"}}}, "spec.dask.nodeSelector", id="label key"),
    pytest.param({"dask": {"nodeSelector": {"a": "c d"}}}, "spec.dask.nodeSelector.a", id="label value"),
    pytest.param(
        {"dask": {"tolerations": [{"effect": "NoSchedule"}]}}, "spec.dask.tolerations[0]", id="no key"
    ),
    pytest.param(
        {"dask": {"tolerations": [{"key": "a", "operator": "Exists", "value": "b"}]}},
        "spec.dask.tolerations[0]",
        id="value with Exists",
    ),
    pytest.param(
        {"dask": {"tolerations": [{"key": "a"}] * 17}}, "spec.dask.tolerations", id="many tolerations"
    ),
    pytest.param({"output": {"uri": "https://host/x"}}, "spec.output.uri", id="output over https"),
    pytest.param({"output": {"uri": "s3://models/../x"}}, "spec.output", id="dots in output"),
    pytest.param({"output": {"uri": "pvc://claim/%2e%2e"}}, "spec.output", id="escapes in output"),
    pytest.param({"output": {"leaderboardTopK": 0}}, "spec.output.leaderboardTopK", id="no board"),
    pytest.param({"acceptance": {"minScore": "0.8"}}, "spec.acceptance.minScore", id="score as text"),
    pytest.param({"randomState": -1}, "spec.randomState", id="seed"),
    pytest.param({"randomState": 2**32}, "spec.randomState", id="big seed"),
    pytest.param(
        {"activeDeadlineSeconds": 59, "budget": {"timeLeftSeconds": 60}},
        "spec",
        id="deadline below the budget",
    ),
    pytest.param(
        {"trainer": {"resources": {"limits": {"cpu": 0.5}}}}, "spec.trainer", id="fraction of a core"
    ),
    pytest.param({"trainer": {"resources": {"limits": {"cpu": "half"}}}}, "spec.trainer", id="quantity"),
    pytest.param({"budgets": {}}, "spec.budgets", id="unknown field"),
    pytest.param(
        {"dataset": {"uri": "sample://a", "url": "x"}}, "spec.dataset.url", id="unknown field below"
    ),
]
"""Specs that are refused, and the beginning of the field that the models name."""
