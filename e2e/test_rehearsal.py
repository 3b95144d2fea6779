"""Two releases side by side: the canary breaks in several ways, and no job is lost or run twice.

The tests are the steps of one rehearsal (docs/rollout.md) and share its releases: run the module as a whole.
"""

import json

import pytest
from e2e.kit.installation import DEFINITION, Installation
from e2e.kit.jobs import START_SECONDS, Run, models_of, output_of
from e2e.kit.waiting import eventually

from promotion_gate.__main__ import main as promotion_gate
from promotion_gate.verdict import Verdict
from trainingjob_api import GROUP

CANARY = {f"{GROUP}/operator-class": "canary"}
USER = f"{GROUP}/user"
BASELINE = {"automl": {"enabled": False}, "budget": None}
# As long as the change of a release takes, and then some.
LONG = {"timeLeftSeconds": 60}
# Who is in at 10 % and at 50 % follows from the users' names alone: 1 and 12 of these.
USERS = [f"user-{number}" for number in range(20)]


class Stage:
    """Two releases that handle jobs of the same namespace, and all jobs of the rehearsal.

    Parameters
    ----------
    cluster, bucket, environment
        Where.
    prefix
        What its namespaces are called.
    """

    def __init__(self, cluster, bucket, environment, prefix):
        self.cluster, self.bucket = cluster, bucket
        self.team = cluster.make_namespace(f"{prefix}-team")
        bucket.share(cluster, self.team)
        self.stable, self.canary = self.releases = [
            Installation(
                cluster,
                cluster.make_namespace(f"{prefix}-{name}"),
                [self.team],
                environment,
                operatorClass=name,
                # No spec sets the folds, so they show which release has planned a job.
                defaults={"cvFolds": folds},
                test={"spec": {"output": output_of(bucket, self.team)}},
            )
            for name, folds in (("stable", 3), ("canary", 4))
        ]
        self.namespaces = [self.team, *(release.namespace for release in self.releases)]
        self.runs: list[Run] = []
        self.replaced = 0

    def start(self, name, labels=None, **change):
        """Create a job whose folds are the default of its release."""
        change["budget"] = (change.get("budget") or {}) | {"cvFolds": None}
        self.runs.append(Run(self.cluster, self.team, self.bucket, name, change, labels=labels))
        return self.runs[-1]

    def replace(self, run):
        """Delete a failed job and create it again, for the present canary."""
        assert run.phase == "Failed"
        run.delete()
        run.gone()
        self.runs.remove(run)
        self.replaced += 1
        return self.start(run.name, CANARY)

    def manifests(self):
        """Return the manifests of all models."""
        keys = self.bucket.keys(models_of(self.team) + "/")
        return {key for key in keys if key.endswith("/manifest.json")}

    def gate(self, folder):
        """Return the verdict of the promotion gate on the present jobs."""
        file = folder / "jobs.json"
        file.write_text(json.dumps({"items": self.cluster.trainingjobs(self.team)}))
        return promotion_gate(["--jobs", str(file), "--window", "1h"])


@pytest.fixture(scope="module")
def stage(cluster, bucket, environment, prefix, operator):
    """Both releases; the installation of the session has the definition."""
    made = Stage(cluster, bucket, environment, prefix)
    for release in made.releases:
        release.install(definition=False)
    yield made
    if not environment.get("E2E_KEEP"):
        for run in made.runs:
            run.delete()
        for release in made.releases:
            release.uninstall()
            cluster.delete_namespace(release.namespace)
        cluster.delete_namespace(made.team)


def identity(run):
    """Return what a change of the releases must not alter."""
    core = run.cluster.core
    mine = f"automl.trainingjob.dev/job-uid={run.uid}"
    maps = core.list_namespaced_config_map(run.namespace, label_selector=mine).items
    [fence] = [item for item in maps if item.metadata.name.endswith("-run")]
    return {
        "job": run.job["metadata"]["uid"],
        "template": run.job["spec"]["template"],
        "pods": [pod["metadata"]["uid"] for pod in run.pods],
        "fence": (fence.metadata.uid, fence.data),
        "annotations": (run.raw["metadata"].get("annotations"), run.job["metadata"].get("annotations")),
        "attempts": run.status["attempts"],
    }


def verified(run):
    """Compare each artifact of a successful job with its digest."""
    status = run.reach("Succeeded")
    assert status["artifacts"]
    for artifact in status["artifacts"]:
        assert run.bucket.digest(artifact["uri"]) == artifact["sha256"], artifact["name"]
    return status


def folds(run):
    """Return the folds of a job, and where they come from."""
    resolved = run.status["resolved"]
    return resolved["cvFolds"], resolved["sources"]["budget.cvFolds"]


def test_each_job_is_handled_by_one_release(stage):
    mine = [stage.start(f"plain-{number}") for number in range(2)]
    theirs = [stage.start(f"chosen-{number}", CANARY) for number in range(2)]
    for run, expected in [*((run, 3) for run in mine), *((run, 4) for run in theirs)]:
        status = verified(run)
        assert folds(run) == (expected, "environment")
        assert status["attempts"] == 1
        assert len(run.pods) == 1
    assert (stage.stable.finished(), stage.canary.finished()) == (2, 2)


def test_a_missing_trainer_image_stops_only_the_jobs_of_the_canary(stage, tmp_path, capsys):
    steady = stage.start("steady", budget=LONG)
    steady.reach_search()
    before = identity(steady)
    stage.canary.upgrade({"trainer": {"image": {"tag": "broken-on-purpose"}}})
    stage.canary.settled()

    lost = [stage.start(f"unpullable-{number}", CANARY, activeDeadlineSeconds=40) for number in range(3)]
    for run in lost:
        run.eventually(
            lambda run=run: run.condition("Ready").get("reason") == "ImageUnavailable",
            "no condition says why",
            60,
        )
    # Two of each release have ended, which is too few to promote anything.
    assert stage.gate(tmp_path) == Verdict.WAIT
    for run in lost:
        run.eventually(lambda run=run: run.phase == "Failed", "it outlives its deadline", 120)
        assert run.conditions()["Failed"] == ("True", "DeadlineExceeded")
        assert "ImageUnavailable" in run.condition("Failed")["message"]
    assert stage.gate(tmp_path) == Verdict.ROLL_BACK
    assert "ROLL BACK" in capsys.readouterr().out

    assert identity(steady) == before
    assert verified(steady)["attempts"] == 1


def test_new_jobs_of_the_canary_succeed_after_its_roll_back(stage):
    stage.canary.roll_back()
    fresh = stage.start("after-roll-back", CANARY)
    again = [stage.replace(run) for run in list(stage.runs) if run.name.startswith("unpullable-")]
    assert len(again) == 3
    for run in (fresh, *again):
        assert verified(run)["attempts"] == 1
        assert folds(run) == (4, "environment")


def test_the_stable_operator_finishes_jobs_of_a_crashing_canary(stage):
    orphan = stage.start("orphan", CANARY, budget=LONG)
    orphan.reach_search()
    before = identity(orphan)
    # The trainer's image under the operator's name: it does not know these arguments, and ends.
    stage.canary.upgrade({"image": stage.canary.values["trainer"]["image"]})
    stage.canary.crashes()
    unseen = stage.start("unseen", CANARY, **BASELINE)
    known = len(orphan.journal())
    orphan.eventually(lambda: len(orphan.journal()) > known, "its pod does not continue", START_SECONDS)

    stage.cluster.label(stage.team, orphan.name, dict.fromkeys(CANARY))

    assert verified(orphan)["attempts"] == 1
    assert orphan.outcomes == ["Succeeded"]
    assert identity(orphan) == before
    assert unseen.status == {}
    stage.canary.roll_back()
    verified(unseen)


def test_upgrade_and_roll_back_of_the_stable_release_change_no_job(stage):
    run = stage.start("under-way", budget=LONG)
    run.reach_search()
    before = identity(run)
    other = {"defaults": {"cvFolds": 5}, "trainer": {"defaultWorkers": 2}, "resyncSeconds": 45}
    stage.stable.upgrade(other)
    stage.stable.settled()
    assert identity(run) == before
    later = stage.start("begun-later", **BASELINE)
    verified(later)
    assert folds(later) == (5, "environment")
    stage.stable.roll_back()
    assert identity(run) == before
    assert verified(run)["attempts"] == 1
    assert folds(run) == (3, "environment")


def test_a_greater_share_keeps_the_jobs_of_the_smaller_share(stage):
    # No node takes them: what counts is how they are planned.
    nowhere = {"trainer": {"nodeSelector": {"nowhere": "true"}}, "activeDeadlineSeconds": 3600}

    def planned(runs):
        found = {}
        for run in runs:
            resolved = run.eventually(lambda run=run: run.status.get("resolved"), "it is not planned", 60)
            assert resolved["sources"]["automl.enabled"] == "rollout"
            found[run.name] = resolved["automlEnabled"]
        return found

    def made():
        return [
            Run(stage.cluster, stage.team, stage.bucket, f"of-{user}", nowhere, labels={USER: user})
            for user in USERS
        ]

    def taken_away(runs):
        for run in runs:
            run.delete()
        for run in runs:
            run.gone()

    def share(percent):
        stage.stable.upgrade({"automl": {"rolloutPercent": percent}})
        stage.stable.settled()

    share(10)
    tenth = made()
    first = planned(tenth)
    share(50)
    assert planned(tenth) == first
    taken_away(tenth)
    half = made()
    second = planned(half)
    taken_away(half)
    few, many = set(filter(first.get, first)), set(filter(second.get, second))
    assert few < many < set(second)
    assert few
    stage.stable.roll_back(1)


def test_no_job_was_lost_or_run_twice(stage):
    names = sorted(run.name for run in stage.runs)
    there = stage.cluster.trainingjobs(stage.team)
    assert sorted(resource["metadata"]["name"] for resource in there) == names
    for run in stage.runs:
        assert run.phase == "Succeeded", run.name
        children = stage.cluster.children(stage.team, run.uid)
        assert [child for child in children if child.startswith("Job/")] == [f"Job/{run.name}-trainer"]
    assert stage.manifests() == {f"{run.folder.split('/')[-2]}/manifest.json" for run in stage.runs}
    ended = len(stage.runs) + stage.replaced
    eventually(
        lambda: stage.stable.finished() + stage.canary.finished() >= ended,
        lambda: f"{stage.stable.finished()} and {stage.canary.finished()} of {ended} are counted",
        60,
    )
    assert stage.stable.finished() + stage.canary.finished() == ended


def test_helm_test_runs_a_job_until_its_model_and_deletes_the_job(stage, cluster):
    before, models = cluster.trainingjobs(stage.team), stage.manifests()
    stage.canary.test()
    [made] = stage.manifests() - models
    folder = made.removesuffix("/manifest.json")
    summary = stage.bucket.document(f"{models_of(stage.team)}/{folder}/evaluation_summary.json")
    assert summary["modelSource"] == "tpot"
    after = cluster.trainingjobs(stage.team)
    assert {pod["metadata"]["uid"] for pod in after} == {pod["metadata"]["uid"] for pod in before}


def test_jobs_and_definition_outlive_an_uninstalled_canary(stage, cluster):
    stage.canary.uninstall()
    eventually(lambda: not stage.canary.pods(), "its operator does not go", 60)
    assert cluster.belongings(stage.canary.namespace) == []
    assert cluster.belongings(stage.stable.namespace) != []
    assert len(cluster.trainingjobs(stage.team)) == len(stage.runs)
    assert cluster.extensions.read_custom_resource_definition(DEFINITION)
