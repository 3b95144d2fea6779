"""The promotion gate decides from its evidence."""

import re
from datetime import timedelta

import pytest

from promotion_gate.__main__ import table
from promotion_gate.evidence import Evidence, parse_window
from promotion_gate.verdict import Limits, Verdict, judge, verdict


def concluded(canary, stable):
    rules = judge(canary, stable, Limits())
    return verdict(rules), {rule.name for rule in rules if rule.verdict is Verdict.ROLL_BACK}


@pytest.mark.parametrize(
    ("canary", "stable", "found", "broken"),
    [
        pytest.param(Evidence(20), Evidence(200), Verdict.PROMOTE, set(), id="nothing happened"),
        pytest.param(Evidence(19), Evidence(200), Verdict.WAIT, set(), id="one job too few"),
        pytest.param(Evidence(0), Evidence(0), Verdict.WAIT, set(), id="no jobs at all"),
        pytest.param(Evidence(20, failed=1), Evidence(200), Verdict.PROMOTE, set(), id="at the margin"),
        pytest.param(Evidence(20, failed=2), Evidence(200), Verdict.ROLL_BACK, {"failed"}, id="above it"),
        pytest.param(
            Evidence(20, failed=2), Evidence(200, failed=20), Verdict.PROMOTE, set(), id="like stable"
        ),
        pytest.param(
            Evidence(20, failed=6),
            Evidence(200, failed=160),
            Verdict.ROLL_BACK,
            {"failed"},
            id="however bad it is",
        ),
        pytest.param(
            Evidence(2, failed=2), Evidence(200), Verdict.ROLL_BACK, {"failed"}, id="fails from the first"
        ),
        pytest.param(Evidence(1, failed=1), Evidence(200), Verdict.WAIT, set(), id="one failure is no proof"),
        pytest.param(Evidence(40, fallbacks=4), Evidence(200), Verdict.PROMOTE, set(), id="few fallbacks"),
        pytest.param(
            Evidence(40, fallbacks=5), Evidence(200), Verdict.ROLL_BACK, {"fallbacks"}, id="many fallbacks"
        ),
        pytest.param(Evidence(40, overruns=3), Evidence(200), Verdict.ROLL_BACK, {"overruns"}, id="overruns"),
        pytest.param(
            Evidence(20, failed=2),
            Evidence(5, failed=5),
            Verdict.ROLL_BACK,
            {"failed"},
            id="stable is no measure",
        ),
        pytest.param(
            Evidence(5, unhandled=1),
            Evidence(9, unhandled=0),
            Verdict.ROLL_BACK,
            {"not handled"},
            id="not handled",
        ),
        pytest.param(
            Evidence(30, unhandled=0),
            Evidence(90, unhandled=7),
            Verdict.PROMOTE,
            set(),
            id="stable's own trouble",
        ),
    ],
)
def test_the_evidence_decides_the_verdict(canary, stable, found, broken):
    assert concluded(canary, stable) == (found, broken)


def test_the_table_names_the_reasons_of_a_verdict():
    rules = judge(Evidence(41, failed=5), Evidence(380, failed=8), Limits())
    lines = [re.split(r" {2,}", line.strip()) for line in table(rules).splitlines()]
    assert lines[1] == ["jobs ended", "41", "380", "at least 20", "ok"]
    assert lines[2] == ["failed", "5 (12.2 %)", "8 (2.1 %)", "at most 7.1 %", "broken"]


def test_the_rollout_page_shows_a_table_as_printed(root):
    canary = Evidence(41, failed=5, fallbacks=2)
    stable = Evidence(380, failed=8, fallbacks=9, overruns=1)
    assert f"\n\n{table(judge(canary, stable, Limits()))}\n" in (root / "docs/rollout.md").read_text()


@pytest.mark.parametrize(("text", "hours"), [("90m", 1.5), ("72h", 72), ("7d", 168)])
def test_a_window_is_read_with_its_unit(text, hours):
    assert parse_window(text) == timedelta(hours=hours)


@pytest.mark.parametrize("text", ["", "0h", "72", "1w", "-1h", "91d", "1.5h", "999999d"])
def test_a_window_without_a_valid_unit_is_rejected(text):
    with pytest.raises(ValueError, match="no window"):
        parse_window(text)
