"""Pods that cannot start: each cause has a reason, a message with a remedy, and an end."""

import pytest

from support.fake_kubernetes.cluster import container
from trainingjob_operator.children import Child

STARTING_TROUBLES = [
    pytest.param(
        {
            "containerStatuses": [
                container(waiting={"reason": "ImagePullBackOff", "message": "no such image"})
            ]
        },
        "ImageUnavailable",
        "no such image",
        id="image",
    ),
    pytest.param(
        {
            "conditions": [
                {
                    "type": "PodScheduled",
                    "status": "False",
                    "reason": "Unschedulable",
                    "message": '0/3 nodes are available: persistentvolumeclaim "tables" not found.',
                }
            ]
        },
        "ClaimNotFound",
        "tables",
        id="claim",
    ),
    pytest.param(
        {
            "conditions": [
                {
                    "type": "PodScheduled",
                    "status": "False",
                    "reason": "Unschedulable",
                    "message": "0/3 nodes are available: 3 Insufficient cpu.",
                }
            ]
        },
        "Unschedulable",
        "3 Insufficient cpu.; lower spec.nJobs, spec.memoryLimitMb or spec.trainer.resources, or add nodes",
        id="unschedulable",
    ),
    pytest.param(
        {
            "containerStatuses": [
                container(waiting={"reason": "CreateContainerConfigError", "message": 'secret "x" not found'})
            ]
        },
        "SecretNotFound",
        "Secret x",
        id="secret",
    ),
]


@pytest.mark.parametrize(("status", "reason", "word"), STARTING_TROUBLES)
def test_a_pod_that_cannot_start_is_named_and_fails_at_the_deadline(cluster, operation, status, reason, word):
    cluster.submit(activeDeadlineSeconds=100)
    operation.settle()
    cluster.make_pod(phase="Pending", **status)
    assert operation.settle() is not None
    assert cluster.status["phase"] == "Pending"
    assert cluster.ready == ("False", reason)
    assert word in cluster.condition("Ready")["message"]
    cluster.stop_pods()
    cluster.end_job("Failed", "DeadlineExceeded")
    operation.settle()
    failed = cluster.condition("Failed")
    assert failed["reason"] == "DeadlineExceeded"
    assert reason in failed["message"]
    [attempt] = cluster.status["attemptHistory"]
    assert (attempt["outcome"], attempt["reason"]) == ("DeadlineExceeded", reason)


@pytest.mark.parametrize(
    ("secret", "field"),
    [
        ("reader", "spec.dataset.credentialsSecretRef"),
        ("writer", "spec.output.credentialsSecretRef"),
        ("both", "spec.dataset.credentialsSecretRef and spec.output.credentialsSecretRef"),
        ("registry", "spec.trainer.imagePullSecrets"),
    ],
)
def test_a_missing_secret_is_named_with_its_field(cluster, operation, secret, field):
    both = secret == "both"
    cluster.submit(
        dataset={"uri": "s3://data/x.csv", "credentialsSecretRef": {"name": "both" if both else "reader"}},
        output={"uri": "s3://models", "credentialsSecretRef": {"name": "both" if both else "writer"}},
        trainer={"imagePullSecrets": [{"name": "registry"}]},
    )
    operation.settle()
    waiting = {"reason": "CreateContainerConfigError", "message": f'secret "{secret}" not found'}
    cluster.make_pod(phase="Pending", containerStatuses=[container(waiting=waiting)])
    operation.settle()
    assert cluster.ready == ("False", "SecretNotFound")
    message = cluster.condition("Ready")["message"]
    assert message.startswith(f"Secret {secret} ({field}) does not exist; create it")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("secret reader has no key x", "SecretNotFound"),
        ("configmap ca has no key x", "ConfigMapNotFound"),
        ("Secret", "TrainerCrashed"),
        ("configmap", "TrainerCrashed"),
    ],
)
def test_a_container_error_that_begins_with_an_object_blames_it(cluster, operation, text, reason):
    cluster.submit()
    operation.settle()
    waiting = {"reason": "CreateContainerError", "message": text}
    cluster.make_pod(phase="Pending", containerStatuses=[container(waiting=waiting)])
    operation.settle()
    assert cluster.ready == ("False", reason)
    message = cluster.condition("Ready")["message"]
    assert message.startswith(f"The container of the trainer cannot be created: {text}")


MOUNTING = {
    "phase": "Pending",
    "conditions": [
        {"type": "PodReadyToStartContainers", "status": "False"},
        {"type": "PodScheduled", "status": "True"},
    ],
    "containerStatuses": [container(waiting={"reason": "ContainerCreating"})],
}
SETUP = "MountVolume.SetUp failed for volume "
SECRETS = {
    "dataset": {"uri": "s3://data/x.csv", "credentialsSecretRef": {"name": "reader"}},
    "output": {"uri": "s3://models", "credentialsSecretRef": {"name": "writer"}},
}


def mounting(cluster, operation, *messages, **status):
    """Let a pod wait for its volumes, as the kubelet reports it; return the reason and the message."""
    cluster.submit(activeDeadlineSeconds=100, **SECRETS)
    operation.settle()
    uid = cluster.make_pod(**MOUNTING | status)
    for number, text in enumerate(messages):
        cluster.later(1)
        event = {"involvedObject": {"uid": uid}, "reason": "FailedMount", "message": text}
        event |= {"metadata": {"name": f"mount-{number}"}, "lastTimestamp": cluster.store.stamp()}
        cluster._make("events", event)
    due = operation.settle()
    cluster.later(due)
    operation.settle()
    return cluster.ready, cluster.condition("Ready")["message"]


@pytest.mark.parametrize(
    ("messages", "reason", "words"),
    [
        pytest.param(
            [f'{SETUP}"dataset-credentials" : secret "reader" not found'],
            "CredentialsMissing",
            ["Secret reader", "spec.dataset.credentialsSecretRef", "AWS_SECRET_ACCESS_KEY", "create it"],
            id="dataset",
        ),
        pytest.param(
            [
                f'{SETUP}"output-credentials" : secret "writer" not found',
                f'{SETUP}"output-credentials" : references non-existent secret key: AWS_ACCESS_KEY_ID',
                "Unable to attach or mount volumes: unmounted volumes=[x]: timed out",
            ],
            "CredentialsMissing",
            ["Secret writer", "spec.output.credentialsSecretRef", "key: AWS_ACCESS_KEY_ID"],
            id="key",
        ),
        pytest.param(
            [f'{SETUP}"output-credentials" : failed to sync secret cache: timed out'],
            "VolumeNotMounted",
            ["Volume output-credentials", "failed to sync"],
            id="cache",
        ),
        pytest.param(
            [f'{SETUP}"pvc-1" : rpc error: no such disk'],
            "VolumeNotMounted",
            ["Volume pvc-1", "no such disk"],
            id="disk",
        ),
        pytest.param(
            ['Unable to attach: persistentvolumeclaim "tables" not found'],
            "ClaimNotFound",
            ["PersistentVolumeClaim tables", "create it"],
            id="claim",
        ),
    ],
)
def test_events_show_what_a_pod_waits_for(cluster, operation, messages, reason, words):
    ready, message = mounting(cluster, operation, *messages)
    assert ready == ("False", reason)
    assert [word for word in (*words, "until its deadline (100 s)") if word not in message] == []
    assert cluster.status["phase"] == "Pending"
    assert cluster.condition("Stalled")["status"] == "False"
    cluster.pod_status(phase="Running", containerStatuses=[container(running={})])
    operation.settle()
    assert cluster.status["phase"] == "Searching"


@pytest.mark.parametrize(
    "status",
    [
        pytest.param({"conditions": [{"type": "PodReadyToStartContainers", "status": "True"}]}, id="mounted"),
        pytest.param({"containerStatuses": [container(waiting={"reason": "PodInitializing"})]}, id="begins"),
    ],
)
def test_old_events_do_not_count_for_a_pod_with_its_volumes(cluster, operation, status):
    ready, _ = mounting(cluster, operation, f'{SETUP}"x" : secret "x" not found', **status)
    assert ready == ("Unknown", "WaitingForTrainer")


def test_the_events_of_a_starting_pod_are_not_read(cluster, operation):
    cluster.submit()
    operation.settle()
    cluster.make_pod(**MOUNTING)
    operation.client.requests.clear()
    operation.look()
    assert not [path for _, path in operation.client.requests if path.endswith("/events")]


def test_a_quota_is_named_from_the_jobs_events(cluster, operation):
    cluster.submit()
    operation.settle()
    trainer = cluster.child(Child.JOB)
    cluster._make(
        "events",
        {
            "metadata": {"name": "x"},
            "involvedObject": {"uid": trainer["metadata"]["uid"]},
            "reason": "FailedCreate",
            "message": 'pods "churn-trainer-x" is forbidden: exceeded quota: small, requested: cpu=3',
        },
    )
    assert operation.settle() is not None
    assert cluster.ready == ("False", "QuotaExceeded")
