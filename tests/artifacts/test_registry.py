"""Each registered artifact is documented, has a schema and is published."""

import json
import re
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from trainingjob_trainer.artifacts.registry import ARTIFACTS, MODEL, write_artifacts
from trainingjob_trainer.finished_run import FinishedRun
from trainingjob_trainer.search.fits import dump_model
from trainingjob_trainer.storage import FolderStore, Output

DOCS = Path(__file__).parents[2] / "docs"
NAMES = list(ARTIFACTS)
PUBLISHED = {"report.json", "report.sig", "manifest.json"}
"""What publishing adds."""


def documented() -> dict[str, str]:
    """Return the rows of the table in artifacts.md: name, and the column with the schema."""
    text = (DOCS / "artifacts.md").read_text()
    return dict(re.findall(r"^\| `(\w+\.\w+)` \|.*\| ([^|]*) \|$", text, re.MULTILINE))


def test_each_artifact_is_documented_and_nothing_else_is() -> None:
    assert set(documented()) == set(NAMES) | PUBLISHED


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith(".json")])
def test_each_document_has_a_schema_that_the_table_links(name: str) -> None:
    stem = name.removesuffix(".json")
    assert documented()[name] == f"[{stem}](schemas/{stem}.schema.json)"
    Draft202012Validator.check_schema(json.loads((DOCS / "schemas" / f"{stem}.schema.json").read_text()))


def test_all_artifacts_are_written_and_in_the_manifest(tmp_path: Path, binary: FinishedRun) -> None:
    folder = tmp_path / "artifacts"
    folder.mkdir()
    (folder / MODEL).write_bytes(dump_model(binary.model))
    written = write_artifacts(binary, folder, seconds_limit=0.0)
    assert [path.name for path in written] == NAMES
    output = Output(FolderStore(tmp_path / "out"))
    output.publish(folder, "churn", "8d1f0a52")
    manifest = json.loads((tmp_path / "out" / "churn-8d1f0a52" / "manifest.json").read_text())
    assert sorted(artifact["name"] for artifact in manifest["artifacts"]) == sorted(NAMES)
