"""Each row of the threat table has tests that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"


def rows(page, heading):
    """Return the cells of the table below *heading*, without its head."""
    text = (ROOT / "docs" / page).read_text().split(f"\n{heading}\n", 1)[1]
    table = re.search(r"(?:^\|.*\n)+", text, re.MULTILINE)[0]
    return [[cell.strip() for cell in line.strip("|\n").split("|")] for line in table.splitlines()[2:]]


def test_the_page_lists_the_threats_of_the_threat_table():
    threats = [row[0] for row in rows("security.md", "## Threats")]
    assert [row[0] for row in rows("verification.md", "## Threats")] == threats


def test_the_tests_of_each_threat_exist():
    missing = []
    for threat, cell in rows("verification.md", "## Threats"):
        named = re.findall(r"`([a-z_0-9/]+\.py)`: ((?:`\w+`(?:, )?)+)", cell)
        assert named, threat
        for path, tests in named:
            text = (TESTS / path).read_text()
            missing += [f"{path}: {test}" for test in re.findall(r"\w+", tests) if f"def {test}(" not in text]
    assert missing == []
