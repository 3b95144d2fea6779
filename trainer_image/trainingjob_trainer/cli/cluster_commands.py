"""``trainingjob submit``, ``watch`` and ``logs``: a job in a cluster."""

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trainingjob_trainer.cli.command import CommandContext, File, Set, command, plain

if TYPE_CHECKING:
    from trainingjob_api import TrainingJobStatus
    from trainingjob_client import TrainingJobClient

KubeContext = Annotated[
    str | None, typer.Option("--context", help="Context of the kubeconfig; default: the current one.")
]
Namespace = Annotated[
    str | None, typer.Option("--namespace", "-n", help="Namespace; default: the context's.")
]
JobName = Annotated[str, typer.Argument(metavar="NAME", help="The TrainingJob's name.")]


@command("trainingjob submit job.yaml", "trainingjob submit job.yaml --namespace ml --watch")
def submit(
    context: CommandContext,
    file: File,
    *,
    follow: Annotated[bool, typer.Option("--watch", "-w", help="Follow it until it has ended.")] = False,
    set_: Set = None,
    kube_context: KubeContext = None,
    namespace: Namespace = None,
) -> dict[str, Any]:
    """Create a TrainingJob in a cluster.

    Cluster and namespace are those of the current kubeconfig, unless --context or --namespace is given.
    """
    from trainingjob_api import load_job

    client = _connect(context, kube_context, namespace)
    made = client.create(load_job(file, set_ or ()))
    _say(
        context,
        f"{made.name} created in namespace {client.namespace}; trainingjob watch {made.name} follows it",
    )
    if follow:
        return _follow(context, client, made.name)
    return {"name": made.name, "namespace": client.namespace, "uid": made.uid}


@command("trainingjob watch churn", "trainingjob watch churn --namespace ml --json")
def watch(
    context: CommandContext, name: JobName, *, kube_context: KubeContext = None, namespace: Namespace = None
) -> dict[str, Any]:
    """Follow a job in a cluster until it has ended.

    Prints a line when phase, progress or best score change, and the artifacts at the end.
    """
    return _follow(context, _connect(context, kube_context, namespace), name)


@command("trainingjob logs churn", "trainingjob logs churn --follow")
def logs(
    context: CommandContext,
    name: JobName,
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Continue as the log grows.")] = False,
    kube_context: KubeContext = None,
    namespace: Namespace = None,
) -> dict[str, Any]:
    """Print the log of a job in a cluster.

    The log is that of the job's newest trainer pod, one JSON object a line.
    """
    log = _connect(context, kube_context, namespace).logs(name, follow=follow)
    for line in log:
        if not context.as_json:
            sys.stdout.write(plain(line) + "\n")
    return {"name": name, "pod": log.source}


def _connect(context: CommandContext, kube_context: str | None, namespace: str | None) -> "TrainingJobClient":
    from trainingjob_client import KubernetesBackend, TrainingJobClient

    if context.dependencies.connect is not None:
        return context.dependencies.connect(kube_context, namespace)
    return TrainingJobClient(KubernetesBackend(context=kube_context, namespace=namespace))


def _follow(context: CommandContext, client: "TrainingJobClient", name: str) -> dict[str, Any]:
    """Print each change of a job until it has ended."""
    last = ""
    for job in client.watch(name):
        line = _progress_line(job.status)
        if line != last:
            last = line
            _say(context, line)
    job.raise_for_status()
    for artifact in job.status.artifacts or ():
        _say(context, f"  {artifact.name}: {artifact.uri}")
    return {"name": name, "namespace": client.namespace, "status": job.manifest.get("status")}


def _progress_line(status: "TrainingJobStatus") -> str:
    if status.phase is None:
        return "waiting for the operator"
    parts = [status.phase.value]
    if status.backend is not None:
        parts.append(f"on {status.backend.value}")
    if (progress := status.progress) is not None:
        parts.append(f"generation {progress.generation}/{progress.generations}")
        parts.append(f"{progress.evaluated} evaluated")
    if status.best is not None and status.best.score is not None:
        parts.append(f"best {status.best.score} (baseline {status.best.baseline_score or '-'})")
    parts.extend(
        f"degraded: {condition.reason}"
        for condition in status.conditions or ()
        if condition.type.value == "Degraded" and condition.status.value == "True"
    )
    return plain(", ".join(parts))


def _say(context: CommandContext, line: str) -> None:
    if not context.as_json and not context.quiet:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
