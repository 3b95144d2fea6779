import json

from trainingjob_api import FindingNote, Severity
from trainingjob_trainer.data import Finding, FindingKind


def test_a_note_has_the_fields_of_its_finding() -> None:
    finding = Finding(FindingKind.CONSTANT, Severity.INFO, "id", "left out, since it has one value")
    note = finding.to_note()
    assert (note.finding, note.severity, note.column) == ("ConstantColumn", Severity.INFO, "id")
    assert note.message == finding.message
    assert FindingNote.model_validate(json.loads(note.model_dump_json())) == note


def test_a_note_is_bounded_whatever_the_table_holds() -> None:
    note = Finding(FindingKind.CONSTANT, Severity.INFO, "c" * 10_000, "m" * 10_000).to_note()
    assert (note.column, note.message) == ("c" * 255 + "…", "m" * 1023 + "…")
    assert Finding(FindingKind.CONSTANT, Severity.INFO, "", "an empty name").to_note().column == ""


def test_each_kind_of_finding_can_be_reported() -> None:
    for kind in FindingKind:
        assert Finding(kind, Severity.WARNING, None, "x").to_note().finding == kind.value
