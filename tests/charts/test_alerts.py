"""The alerts: what they ask for exists, and promtool plays through when they fire."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry

from support.charts import FULL, OPERATOR, manifests, named
from trainingjob_operator.telemetry import Metrics

SCENARIOS = Path(__file__).with_name("alerts.yaml")
PROMTOOL = os.environ.get("PROMTOOL") or shutil.which("promtool")
needs_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="promtool (Debian: prometheus) is not here; the rules were looked at without it"
)
ALERTS = {"TrainingJobTpotFailures", "TrainingJobOverBudget", "TrainingJobParallelFallback"}


def rule(**values):
    metrics = {"prometheusRule": {"enabled": True} | values}
    return named("PrometheusRule", "trainingjob-operator", manifests(OPERATOR, {"metrics": metrics}))["spec"]


@pytest.fixture
def rules(tmp_path):
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rule()))
    (tmp_path / "alerts.yaml").write_text(SCENARIOS.read_text())
    return tmp_path


def promtool(folder, *arguments):
    done = subprocess.run(
        [PROMTOOL, *arguments], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout + done.stderr


@needs_promtool
def test_promtool_finds_nothing_in_the_rules(rules):
    code, text = promtool(rules, "check", "rules", "rules.yaml")
    assert (code, "3 rules found" in text) == (0, True), text


@needs_promtool
def test_they_fire_and_keep_quiet_as_the_scenarios_say(rules):
    code, text = promtool(rules, "test", "rules", "alerts.yaml")
    assert code == 0, text


@needs_promtool
@pytest.mark.parametrize("alert", sorted(ALERTS))
def test_the_scenarios_notice_an_alert_that_never_fires(rules, alert):
    broken = rule()
    for each in broken["groups"][0]["rules"]:
        if each["alert"] == alert:
            each["expr"] = f"({each['expr']}) > 1e9"
    (rules / "rules.yaml").write_text(yaml.safe_dump(broken))
    code, text = promtool(rules, "test", "rules", "alerts.yaml")
    assert code != 0
    assert alert in text


def test_each_alert_has_a_scenario_that_fires_and_one_that_does_not():
    checks = [
        check
        for scenario in yaml.safe_load(SCENARIOS.read_text())["tests"]
        for check in scenario["alert_rule_test"]
    ]
    for alert in ALERTS:
        fires = {bool(check["exp_alerts"]) for check in checks if check["alertname"] == alert}
        assert fires == {True, False}


def test_the_three_alerts_of_the_plan():
    (group,) = rule()["groups"]
    assert {each["alert"] for each in group["rules"]} == ALERTS
    for each in group["rules"]:
        assert each["labels"] == {"severity": "warning"}
        assert set(each["annotations"]) == {"summary", "description"}


def test_they_ask_for_metrics_and_labels_that_the_operator_has():
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    metrics.fallbacks.labels(reason="SchedulerLost")
    samples = {sample.name: set(sample.labels) for family in registry.collect() for sample in family.samples}
    for each in rule()["groups"][0]["rules"]:
        used = re.findall(r"(\w+)\{", each["expr"])
        assert used
        assert set(used) <= set(samples), each["alert"]
        shown = set(re.findall(r"\$labels\.(\w+)", str(each["annotations"])))
        kept = set(re.findall(r"\w+", re.search(r"by \(([^)]*)\)", each["expr"])[1]))
        assert shown <= kept <= {"namespace", "job"} | set.union(*(samples[name] for name in used))


def test_the_values_reach_the_rules():
    changed = rule(
        selector='app="x"',
        maxConsecutiveFailures=5,
        overrunWindow="1h",
        fallbackWindow="30m",
        alertLabels={"team": "ml"},
    )
    found = {each["alert"]: each for each in changed["groups"][0]["rules"]}
    assert found["TrainingJobTpotFailures"]["expr"].endswith('(tpot_consecutive_failures{app="x"}) > 5')
    assert '{app="x"}[1h]' in found["TrainingJobOverBudget"]["expr"]
    assert "offset 30m" in found["TrainingJobParallelFallback"]["expr"]
    # A map of values is merged with the chart's own.
    assert all(each["labels"] == {"severity": "warning", "team": "ml"} for each in found.values())


def test_each_release_looks_at_its_own_series():
    values = {"metrics": {"prometheusRule": {"enabled": True}}}
    documents = manifests(OPERATOR, values, name="canary", namespace="ml")
    (found,) = [each for each in documents if each["kind"] == "PrometheusRule"]
    (service,) = [each for each in documents if each["kind"] == "Service"]
    wanted = f'{{job="{service["metadata"]["name"]}",namespace="ml"}}'
    for each in found["spec"]["groups"][0]["rules"]:
        assert set(re.findall(r"\{[^}]*\}", each["expr"])) == {wanted}


def test_full_values_have_the_rule_too():
    assert named("PrometheusRule", "trainingjob-operator", manifests(OPERATOR, FULL))
