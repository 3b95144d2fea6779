"""One registry of reasons: what operator and trainer say is in it, and what is in it somebody says."""

import ast
import importlib
import re
from pathlib import Path

import pytest

from support.fake_kubernetes.golden import check_text
from trainingjob_api import reasons

ROOT = Path(__file__).parents[2]
TRAINER = ROOT / "trainer_image/trainingjob_trainer"
OPERATOR = ROOT / "operator/trainingjob_operator"
DOCS = ROOT / "docs/reference/conditions.md"
PARTS = {"course": "The operator", "data": "The trainer, on table and spec", "run": "The trainer, on its run"}
PARTS |= {"tools": "Commands on your machine"}
SAYS = {"DataError", "SpecInvalid", "RunFailed", "PoolLost", "Trouble", "Failure", "Fallback"}
WORD = re.compile(r"[A-Z][a-z0-9]+([A-Z][a-z0-9]+)*")


def entries(part):
    """Yield heading, name, reason and meaning of each constant of a module."""
    text = Path(importlib.import_module(f"trainingjob_api.reasons.{part}").__file__).read_text()
    for section in re.split(r"\n# ", text)[1:]:
        heading, _, rest = section.partition("\n")
        for name, reason, meaning in re.findall(
            r'^([A-Z_]+): Final = "(\w+)".*\n"""(.+)"""$', rest, re.MULTILINE
        ):
            yield heading, name, reason, meaning


ALL = [entry for part in PARTS for entry in entries(part)]


def words(node):
    """Yield the reasons that an expression may stand for."""
    for one in ast.walk(node):
        if isinstance(one, ast.Constant) and isinstance(one.value, str) and WORD.fullmatch(one.value):
            yield one.value


def name_of(node):
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def said(tree):
    """Yield each reason that the source says, with its line."""
    for node in ast.walk(tree):
        found = []
        if isinstance(node, ast.Call) and name_of(node.func) in SAYS:
            found = [*node.args[:1], *(one.value for one in node.keywords if one.arg == "reason")]
        elif isinstance(node, ast.Call) and name_of(node.func).endswith("step_down"):
            found = node.args
        elif isinstance(node, ast.Call):
            found = [one.value for one in node.keywords if one.arg == "reason"]
        elif isinstance(node, ast.Assign) and any("reason" in name_of(one).lower() for one in node.targets):
            found = [node.value]
        elif isinstance(node, ast.FunctionDef):
            pairs = zip(node.args.args[::-1], node.args.defaults[::-1], strict=False)
            found = [default for argument, default in pairs if argument.arg == "reason"]
        for one in found:
            yield from ((word, node.lineno) for word in words(one))


def sources(folder):
    for path in sorted(folder.rglob("*.py")):
        yield path.relative_to(ROOT), path.read_text(encoding="utf-8")


def test_what_the_trainer_says_is_in_the_registry():
    known = {reason for _, _, reason, _ in ALL}
    found = {
        word: f"{path}:{line}" for path, text in sources(TRAINER) for word, line in said(ast.parse(text))
    }
    assert len(found) > 80
    missing = {word: place for word, place in found.items() if word not in known}
    assert not missing, "document them in crds/trainingjob_api/reasons/ (data, run or tools)"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('raise DataError("OneThing", text)', ["OneThing"]),
        ('raise errors.RunFailed("A" if x else "OtherThing", text)', ["A", "OtherThing"]),
        ('Trouble(reason="ThisThing", message="No")', ["ThisThing"]),
        ('self._step_down("dask", "local", "ThatThing", text)', ["ThatThing"]),
        ('_REASONS = {Ended.CRASHED: "TheThing"}', ["TheThing"]),
        ('def run(key, reason="LastThing"): ...', ["LastThing"]),
        ('print("NoThing")', []),
    ],
)
def test_the_search_finds(source, expected):
    assert [word for word, _ in said(ast.parse(source))] == [one for one in expected if WORD.fullmatch(one)]


def test_what_is_in_the_registry_somebody_says():
    text = "".join(text for folder in (TRAINER, OPERATOR) for _, text in sources(folder))
    silent = [
        reason for _, name, reason, _ in ALL if f'"{reason}"' not in text and f"reasons.{name}" not in text
    ]
    assert not silent


def test_the_operator_writes_its_reasons_by_their_constants():
    known = {reason for _, _, reason, _ in ALL}
    own = {"Deleting", "Failing"}  # never written: the status stays as it is
    for path, text in sources(OPERATOR):
        found = {word for word, _ in said(ast.parse(text))}
        assert not (found & known), f"{path}: use trainingjob_api.reasons"
        assert found <= own | {"Unknown"}, path


def test_every_reason_is_one_pascal_case_word_once_and_documented():
    assert {name for _, name, _, _ in ALL} == set(reasons.__all__)
    values = [getattr(reasons, name) for name in reasons.__all__]
    assert len(values) == len(set(values)) > 120
    for _, name, reason, meaning in ALL:
        assert getattr(reasons, name) == reason == "".join(part.capitalize() for part in name.split("_"))
        assert meaning.endswith(".")


def test_the_documents_have_no_others():
    """The tables of causes in other documents name reasons of the registry only."""
    known = {reason for _, _, reason, _ in ALL}
    for name in ("runbook.md", "artifacts.md", "tpot.md", "data.md"):
        text = (ROOT / "docs" / name).read_text(encoding="utf-8")
        for table in re.findall(r"^\| Reason \|.*\n(?:\|.*\n)+", text, re.MULTILINE):
            first = "\n".join(row.split("|")[1] for row in table.splitlines()[2:])
            assert set(re.findall(r"`([A-Z]\w+)`", first)) <= known, name


def table():
    lines = []
    for part, title in PARTS.items():
        lines += [f"### {title}", ""]
        heading = None
        for group, _, reason, meaning in entries(part):
            if group != heading:
                lines += [*([""] if heading else []), f"| {group.rstrip('.')} | |", "|---|---|"]
                heading = group
            lines.append(f"| `{reason}` | {meaning.replace('``', '`')} |")
        lines.append("")
    return "\n".join(lines)


def test_the_reference_lists_the_registry():
    text = DOCS.read_text(encoding="utf-8")
    begin, end = "<!-- reasons -->\n", "<!-- end of reasons -->"
    replaced = re.sub(f"{begin}.*{end}", lambda _: f"{begin}\n{table()}\n{end}", text, flags=re.DOTALL)
    check_text(DOCS, replaced)
