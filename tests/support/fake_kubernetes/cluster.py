"""Actions of a test on a cluster: users submit jobs, Jobs create pods, trainers report."""

import base64
import json
from datetime import timedelta

from trainingjob_certificates import ReportKey
from trainingjob_operator.children import Child, Owner, name_of

ROOTS = {
    "trainingjobs": "/apis/automl.trainingjob.dev/v1alpha1",
    "jobs": "/apis/batch/v1",
    "pods": "/api/v1",
    "configmaps": "/api/v1",
    "events": "/api/v1",
    "deployments": "/apis/apps/v1",
}
NAMESPACE = "team"


class Cluster:
    """A store with a user, a Job controller and a trainer, each moved by the test."""

    def __init__(self, store, name="churn"):
        self.store = store
        self.name = name
        self.attempt = 0
        self.sequence = 0
        self.pod_number = 0
        self.uid = ""
        self.last_key = None

    # The user.

    def submit(self, **spec):
        body = {
            "apiVersion": "automl.trainingjob.dev/v1alpha1",
            "kind": "TrainingJob",
            "metadata": {"name": self.name},
            "spec": {
                "dataset": {"uri": "s3://data/churn.csv"},
                "targetColumn": "churned",
                "output": {"uri": "s3://models"},
                "budget": {"timeLeftSeconds": 60},
            }
            | spec,
        }
        return self._make("trainingjobs", body)

    def change(self, **spec):
        self.store.patch("trainingjobs", NAMESPACE, self.name, {"spec": spec})

    def remove(self):
        self.store.delete("trainingjobs", NAMESPACE, self.name)

    # What is there.

    @property
    def job(self):
        return self.store.get("trainingjobs", NAMESPACE, self.name)

    @property
    def status(self):
        return self.job.get("status") or {}

    def condition(self, kind):
        return next(
            (condition for condition in self.status.get("conditions", ()) if condition["type"] == kind), None
        )

    @property
    def ready(self):
        """Status and reason of the condition that matters most."""
        condition = self.condition("Ready")
        return condition["status"], condition["reason"]

    @property
    def owner(self):
        """The job as its children refer to it; the last one, where there is none."""
        job = self.store.objects.get(("trainingjobs", NAMESPACE, self.name))
        self.uid = job["metadata"]["uid"] if job else self.uid
        return Owner(self.name, NAMESPACE, self.uid)

    def name_of(self, child):
        return name_of(self.owner, child)

    def child(self, child):
        return self.store.objects.get((child.plural, NAMESPACE, self.name_of(child)))

    def lose(self, *children):
        """Delete children by hand."""
        for child in children:
            self.store.delete(child.plural, NAMESPACE, self.name_of(child))

    def events(self, reason=None):
        found = [raw for (plural, *_), raw in self.store.objects.items() if plural == "events"]
        return [event for event in found if reason in {None, event["reason"]}]

    def pods(self):
        """Return the trainer's pods."""
        found = [raw for (plural, *_), raw in self.store.objects.items() if plural == "pods"]
        return [pod for pod in found if "dask.org/component" not in pod["metadata"]["labels"]]

    # The Job controller and the kubelet.

    def make_pod(self, **status):
        trainer = self.child(Child.JOB)
        template = trainer["spec"]["template"]
        self.pod_number += 1
        meta = {
            "name": f"{trainer['metadata']['name']}-{self.pod_number}",
            "labels": template["metadata"]["labels"],
            "annotations": template["metadata"]["annotations"],
            "ownerReferences": [
                {
                    "apiVersion": "batch/v1",
                    "kind": "Job",
                    "name": trainer["metadata"]["name"],
                    "uid": trainer["metadata"]["uid"],
                    "controller": True,
                }
            ],
        }
        pod = self._make("pods", {"metadata": meta, "spec": template["spec"] | {"nodeName": "node-1"}})
        self.job_status(active=1, startTime=self.store.stamp())
        self.pod_status(**(status or {"phase": "Pending"}))
        return pod["metadata"]["uid"]

    def orphan_pods(self):
        """Delete the Job as ``kubectl delete job --cascade=orphan`` does."""
        self.store.delete("jobs", NAMESPACE, self.name_of(Child.JOB), propagationPolicy="Orphan")

    def run_pod(self):
        """Make a pod that runs; a new attempt of the trainer."""
        self.attempt += 1
        uid = self.make_pod()
        self.pod_status(
            phase="Running", containerStatuses=[container(running={"startedAt": self.store.stamp()})]
        )
        return uid

    def end_pod(self, code, **terminated):
        state = {"exitCode": code, "reason": "Completed" if code == 0 else "Error"}
        state |= {"finishedAt": self.store.stamp()} | terminated
        phase = "Succeeded" if code == 0 else "Failed"
        self.pod_status(phase=phase, containerStatuses=[container(terminated=state)])

    def pod_status(self, number=None, **status):
        trainer = self.name_of(Child.JOB)
        name = f"{trainer}-{number or self.pod_number}"
        self.store.patch("pods", NAMESPACE, name, {"status": status}, sub="status")

    def job_status(self, **status):
        name = self.name_of(Child.JOB)
        self.store.patch("jobs", NAMESPACE, name, {"status": status}, sub="status")

    def end_job(self, kind, reason="", message=""):
        condition = {
            "type": kind,
            "status": "True",
            "reason": reason,
            "message": message,
            "lastTransitionTime": self.store.stamp(),
        }
        self.job_status(conditions=[condition], active=0)

    def stop_pods(self):
        """Do what the Job controller does for a suspended Job."""
        for pod in self.pods():
            self.store.delete("pods", NAMESPACE, pod["metadata"]["name"])
        self.job_status(active=0, startTime=None)

    # The trainer.

    @property
    def key(self):
        """The key that its pods mount; the last one, where the job or its Secret is gone."""
        job = self.child(Child.JOB)
        for volume in job["spec"]["template"]["spec"]["volumes"] if job else ():
            if volume["name"] == "report-key":
                found = self.store.objects.get(("secrets", NAMESPACE, volume["secret"]["secretName"]))
                if found:
                    pem = base64.b64decode(found["data"]["report.key"])
                    self.last_key = ReportKey.from_pem(pem)
        return self.last_key

    def report(self, *, attempt=None, sequence=None, raw=None, **fields):
        self.sequence += 1
        pods = self.pods()
        body = {
            "jobUid": self.job["metadata"]["uid"],
            "attempt": attempt or self.attempt,
            "podUid": pods[-1]["metadata"]["uid"] if pods else "gone",
            "sequence": sequence or self.sequence,
            "stage": "Searching",
            "writtenAt": self.store.stamp(),
        } | fields
        text = raw if raw is not None else json.dumps(body)
        data = {"report.json": text} | ({"report.sig": self.key.sign(text)} if self.key else {})
        name = self.name_of(Child.REPORT)
        self.store.patch("configmaps", NAMESPACE, name, {"data": data})

    def report_progress(self, generation=1, **fields):
        self.store.pass_time(seconds=15)
        progress = {
            "generation": generation,
            "generations": 20,
            "populationSize": 32,
            "evaluated": 30 * generation,
            "failed": 2 * generation,
            "bestScore": f"0.{90 + generation}",
            "elapsedSeconds": 15 * generation,
            "updatedAt": self.store.stamp(),
        }
        self.report(progress=progress, backend="local", **fields)

    def report_success(self, **fields):
        artifacts = [
            {
                "name": "model.joblib",
                "uri": "s3://models/churn/model.joblib",
                "sha256": "a" * 64,
                "sizeBytes": 9,
            }
        ]
        best = {"pipeline": "LogisticRegression", "score": "0.93", "holdoutScore": "0.91"}
        best |= {"baselineScore": "0.9", "baselineHoldoutScore": "0.89"}
        self.report(
            **{
                "stage": "Finished",
                "final": True,
                "modelSource": "tpot",
                "best": best,
                "artifacts": artifacts,
            }
            | fields
        )

    def report_failure(self, reason, message="as the test asked for", code=1):
        failure = {"reason": reason, "message": message, "exitCode": code}
        self.report(stage="Loading", final=True, failure=failure)

    def later(self, seconds):
        self.store.now += timedelta(seconds=seconds)

    def _make(self, plural, body):
        root = ROOTS[plural]
        status, raw = self.store.handle("POST", f"{root}/namespaces/{NAMESPACE}/{plural}", body=body)
        assert status == 201, raw
        return raw


def container(**state):
    return {"name": "trainer", "state": state}
