"""An operator without watches; a test starts each pass."""

import asyncio

from prometheus_client import CollectorRegistry

from support.fake_kubernetes.client import DirectClient, Stopped
from support.fake_kubernetes.cluster import NAMESPACE
from trainingjob_operator.api import Api
from trainingjob_operator.reconciler import JobKey, Reconciler
from trainingjob_operator.settings import Settings
from trainingjob_operator.telemetry import Metrics
from trainingjob_operator.transport import ApiFault

SETTINGS = Settings(trainer_image="registry.example/trainer:1")
MOST_PASSES = 30


class Operation:
    """One operator after another on the same cluster; a stopped one is replaced by a new one."""

    def __init__(self, store, *faults, settings=SETTINGS, name="churn"):
        self.store = store
        self.client = DirectClient(store, *faults)
        self.settings = settings
        self.key = JobKey(NAMESPACE, name)
        self.restarts = 0
        self.faults_met = []
        self.start()

    def start(self):
        self.metrics = Metrics(CollectorRegistry(), job_label=self.settings.job_label)
        api = Api(self.client, timeout_seconds=5)
        self.reconciler = Reconciler(api, self.settings, self.metrics, lambda: self.store.now)

    def look(self):
        """Take one pass; return when the next is due, or the fault."""
        try:
            return asyncio.run(self.reconciler.reconcile(self.key))
        except ApiFault as fault:
            self.faults_met.append(fault)
            return fault
        except Stopped:
            self.restarts += 1
            self.start()
            return None

    def settle(self):
        """Look until nothing is written any more, as events of one's own writes make an operator do."""
        for _ in range(MOST_PASSES):
            before, faults, restarts = len(self.store.writes), len(self.faults_met), self.restarts
            due = self.look()
            quiet = (len(self.store.writes), len(self.faults_met), self.restarts) == (
                before,
                faults,
                restarts,
            )
            if quiet:
                return due
        raise AssertionError(f"still writing: {self.store.writes[-5:]}")

    def run_to_success(self, cluster):
        """Take a job through the plainest life."""
        cluster.submit()
        self.settle()
        cluster.run_pod()
        self.settle()
        cluster.report_progress()
        self.settle()
        cluster.report_success()
        self.settle()
        cluster.end_pod(0)
        cluster.end_job("Complete")
        self.settle()

    def end_in_success(self, cluster):
        """End the trainer of a job that runs."""
        cluster.report_success()
        cluster.end_pod(0)
        cluster.end_job("Complete")
        self.settle()

    def value(self, name, **labels):
        return self.metrics.registry.get_sample_value(name, labels) or 0
