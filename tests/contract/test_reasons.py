"""The registry holds all reasons that operator and trainer use, and no others."""

import ast
import re
from itertools import groupby
from pathlib import Path

import pytest

from support.fake_kubernetes.golden import check_text
from trainingjob_api import Reason

ROOT = Path(__file__).parents[2]
TRAINER = ROOT / "trainer_image/trainingjob_trainer"
OPERATOR = ROOT / "operator/trainingjob_operator"
CLIENT = ROOT / "client/trainingjob_client"
DOCS = ROOT / "docs/reference/conditions.md"
CONTRACT = ROOT / "crds/trainingjob_api"
SOURCE = CONTRACT / "reasons.py"
ERRORS = {"DataError", "SpecInvalid", "RunFailed", "PoolLost", "InvalidRequest", "ServiceUnavailable"}
SAYS = ERRORS | {"JobFailed", "Cause", "Verdict", "Failure", "Fallback"}
WORD = re.compile(r"[A-Z][a-z0-9]+([A-Z][a-z0-9]+)*")


def entries():
    """Yield heading, name, reason and meaning of each member."""
    for section in re.split(r"\n    # ", SOURCE.read_text(encoding="utf-8"))[1:]:
        heading, _, rest = section.partition("\n")
        for name in re.findall(r"^    ([A-Z_]+) = ", rest, re.MULTILINE):
            yield heading, name, Reason[name].value, Reason[name].meaning


ALL = list(entries())


def words(node):
    """Yield the reasons that an expression may stand for."""
    for part in ast.walk(node):
        if isinstance(part, ast.Constant) and isinstance(part.value, str) and WORD.fullmatch(part.value):
            yield part.value


def name_of(node):
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def said(tree):
    """Yield each reason that the source says, with its line."""
    for node in ast.walk(tree):
        found = []
        if isinstance(node, ast.Call) and name_of(node.func) in SAYS:
            found = [*node.args[:1], *(keyword.value for keyword in node.keywords if keyword.arg == "reason")]
        elif isinstance(node, ast.Call) and name_of(node.func).endswith("step_down"):
            found = node.args
        elif isinstance(node, ast.Call):
            found = [keyword.value for keyword in node.keywords if keyword.arg == "reason"]
        elif isinstance(node, ast.Assign) and any(
            "reason" in name_of(target).lower() for target in node.targets
        ):
            found = [node.value]
        elif isinstance(node, ast.FunctionDef):
            pairs = zip(node.args.args[::-1], node.args.defaults[::-1], strict=False)
            found = [default for argument, default in pairs if argument.arg == "reason"]
        for value in found:
            yield from ((word, node.lineno) for word in words(value))


def sources(folder):
    for path in sorted(folder.rglob("*.py")):
        yield path.relative_to(ROOT), path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('raise DataError("OneThing", text)', ["OneThing"]),
        ('raise errors.RunFailed("A" if x else "OtherThing", text)', ["A", "OtherThing"]),
        ('Cause(reason="ThisThing", message="No")', ["ThisThing"]),
        ('Verdict("ThatThing", text)', ["ThatThing"]),
        ('self._step_down("dask", "local", "ThatThing", text)', ["ThatThing"]),
        ('_REASONS = {Ended.CRASHED: "TheThing"}', ["TheThing"]),
        ('def run(key, reason="LastThing"): ...', ["LastThing"]),
        ('print("NoThing")', []),
    ],
)
def test_the_search_for_reasons_finds_some(source, expected):
    assert [word for word, _ in said(ast.parse(source))] == [
        word for word in expected if WORD.fullmatch(word)
    ]


def test_operator_or_trainer_use_each_reason():
    text = "".join(text for folder in (TRAINER, OPERATOR, CLIENT, CONTRACT) for _, text in sources(folder))
    given = set(re.findall(r"\bReason\.([A-Z_]+)", text))
    retired = {"MODEL_NOT_SAVED"}  # a reason is never removed: alerts may select it
    assert {name for _, name, _, _ in ALL} - given == retired


@pytest.mark.parametrize("folder", [TRAINER, OPERATOR, CLIENT, CONTRACT])
def test_no_reason_is_a_string_literal(folder):
    own = {"Deleting", "Failing", "Unknown"}  # never written: the status stays as it is
    for path, text in sources(folder):
        found = {word: line for word, line in said(ast.parse(text)) if word not in own}
        assert not found, f"{path}: use trainingjob_api.Reason"


def test_every_reason_is_one_pascal_case_word_once_and_documented():
    assert [name for _, name, _, _ in ALL] == list(Reason.__members__)
    assert len(Reason) > 120
    for _, name, reason, meaning in ALL:
        assert Reason[name] == reason == "".join(part.capitalize() for part in name.split("_"))
        assert meaning.endswith(".")


def test_the_documents_name_only_known_reasons():
    """The tables of causes in other documents name reasons of the registry only."""
    known = {reason for _, _, reason, _ in ALL}
    for name in ("runbook.md", "artifacts.md", "tpot.md", "data.md"):
        text = (ROOT / "docs" / name).read_text(encoding="utf-8")
        for table in re.findall(r"^\| Reason \|.*\n(?:\|.*\n)+", text, re.MULTILINE):
            first = "\n".join(row.split("|")[1] for row in table.splitlines()[2:])
            assert set(re.findall(r"`([A-Z]\w+)`", first)) <= known, name


def table():
    lines = []
    for heading, group in groupby(ALL, key=lambda entry: entry[0]):
        lines += [f"| {heading.rstrip('.')} | |", "|---|---|"]
        lines += [f"| `{reason}` | {meaning.replace('``', '`')} |" for _, _, reason, meaning in group]
        lines.append("")
    return "\n".join(lines)


def test_the_reference_lists_the_registry():
    text = DOCS.read_text(encoding="utf-8")
    begin, end = "<!-- reasons -->\n", "<!-- end of reasons -->"
    replaced = re.sub(f"{begin}.*{end}", lambda _: f"{begin}\n{table()}\n{end}", text, flags=re.DOTALL)
    check_text(DOCS, replaced)
