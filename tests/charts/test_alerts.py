"""The alerts use metrics that exist, and promtool plays their scenarios."""

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
def test_alerts_fire_in_the_scenarios_that_expect_them_only(rules):
    code, text = promtool(rules, "test", "rules", "alerts.yaml")
    assert code == 0, text


@needs_promtool
@pytest.mark.parametrize("alert", sorted(ALERTS))
def test_the_scenarios_notice_an_alert_that_never_fires(rules, alert):
    broken = rule()
    for alert_rule in broken["groups"][0]["rules"]:
        if alert_rule["alert"] == alert:
            alert_rule["expr"] = f"({alert_rule['expr']}) > 1e9"
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


def test_there_are_three_alerts():
    (group,) = rule()["groups"]
    assert {alert["alert"] for alert in group["rules"]} == ALERTS
    for alert in group["rules"]:
        assert alert["labels"] == {"severity": "warning"}
        assert set(alert["annotations"]) == {"summary", "description"}


def test_alerts_use_metrics_and_labels_that_the_operator_has():
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    metrics.fallbacks.labels(reason="SchedulerLost")
    samples = {sample.name: set(sample.labels) for family in registry.collect() for sample in family.samples}
    for alert in rule()["groups"][0]["rules"]:
        used = re.findall(r"(\w+)\{", alert["expr"])
        assert used
        assert set(used) <= set(samples), alert["alert"]
        shown = set(re.findall(r"\$labels\.(\w+)", str(alert["annotations"])))
        kept = set(re.findall(r"\w+", re.search(r"by \(([^)]*)\)", alert["expr"])[1]))
        assert shown <= kept <= {"namespace", "job"} | set.union(*(samples[name] for name in used))


def test_the_values_change_the_alerts():
    changed = rule(
        selector='app="x"',
        maxConsecutiveFailures=5,
        overrunWindow="1h",
        fallbackWindow="30m",
        alertLabels={"team": "ml"},
    )
    found = {alert["alert"]: alert for alert in changed["groups"][0]["rules"]}
    assert found["TrainingJobTpotFailures"]["expr"].endswith('(tpot_consecutive_failures{app="x"}) > 5')
    assert '{app="x"}[1h]' in found["TrainingJobOverBudget"]["expr"]
    assert "offset 30m" in found["TrainingJobParallelFallback"]["expr"]
    # A map of values is merged with the chart's own.
    assert all(alert["labels"] == {"severity": "warning", "team": "ml"} for alert in found.values())


def test_the_alerts_of_a_release_select_its_own_series():
    values = {"metrics": {"prometheusRule": {"enabled": True}}}
    documents = manifests(OPERATOR, values, name="canary", namespace="ml")
    (found,) = [manifest for manifest in documents if manifest["kind"] == "PrometheusRule"]
    (service,) = [manifest for manifest in documents if manifest["kind"] == "Service"]
    wanted = f'{{job="{service["metadata"]["name"]}",namespace="ml"}}'
    for alert in found["spec"]["groups"][0]["rules"]:
        assert set(re.findall(r"\{[^}]*\}", alert["expr"])) == {wanted}


def test_the_full_values_include_the_alerts():
    assert named("PrometheusRule", "trainingjob-operator", manifests(OPERATOR, FULL))
