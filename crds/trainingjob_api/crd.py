"""The custom resource definition, generated from the models.

``python -m trainingjob_api.crd`` writes it and the field reference below the current folder;
``--check`` changes nothing and fails if either would change.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import yaml

from trainingjob_api.reference import render_reference
from trainingjob_api.spec import MUTABLE_FIELDS, TrainingJobSpec
from trainingjob_api.status import TrainingJobStatus
from trainingjob_api.structural import structural_schema
from trainingjob_api.vocabulary import GROUP, KIND, PLURAL, VERSION

__all__ = ["CRD_PATH", "REFERENCE_PATH", "build_crd", "immutability_rules", "main", "render_crd"]

CRD_PATH = Path(f"crds/{GROUP}_{PLURAL}.yaml")
REFERENCE_PATH = Path("docs/reference/trainingjob.md")

_HEADER = "# Generated from crds/trainingjob_api by `make crd`; change the models, not this file.\n"
_COLUMNS = (
    ("Phase", "string", ".status.phase", "Phase of the job."),
    (
        "Reason",
        "string",
        '.status.conditions[?(@.type=="Ready")].reason',
        "Why it is in this phase: the reason of Ready.",
    ),
    ("Backend", "string", ".status.backend", "What evaluates pipelines now."),
    ("Model", "string", ".status.modelSource", "Where the model comes from."),
    ("Best", "string", ".status.best.score", "Cross-validated score of the best pipeline."),
    ("Progress", "integer", ".status.progress.generation", "Generations finished."),
    (
        "Accepted",
        "string",
        '.status.conditions[?(@.type=="AcceptanceMet")].status',
        "Whether it is accepted.",
    ),
    ("Age", "date", ".metadata.creationTimestamp", "Time since creation."),
)


def immutability_rules() -> list[dict[str, str]]:
    """Return one CEL rule for each field of the spec that must not change, be added or be removed.

    They stand on the spec, since a transition rule on an optional field is skipped where the field is
    added or removed.
    """
    rules = []
    for info in TrainingJobSpec.model_fields.values():
        name = str(info.alias)
        if name in MUTABLE_FIELDS:
            continue
        same = f"self.{name} == oldSelf.{name}"
        if not info.is_required():
            same = f"has(self.{name}) == has(oldSelf.{name}) && (!has(self.{name}) || {same})"
        message = f"{name} is immutable: delete the TrainingJob and create it again"
        rules.append({"rule": same, "message": message, "fieldPath": f".{name}"})
    return rules


def build_crd() -> dict[str, Any]:
    """Return the custom resource definition as plain data."""
    spec = structural_schema(TrainingJobSpec)
    spec["x-kubernetes-validations"] = [*spec["x-kubernetes-validations"], *immutability_rules()]
    root = {
        "description": "A table, a target and a budget; the operator turns it into a verified model.",
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {
                "type": "string",
                "maxLength": 64,
                "description": "Group and version of the resource.",
            },
            "kind": {"type": "string", "maxLength": 64, "description": "Kind of the resource."},
            "metadata": {"type": "object"},
            "spec": spec,
            "status": structural_schema(TrainingJobStatus),
        },
    }
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": [
            {"name": name, "type": kind, "jsonPath": path, "description": text}
            for name, kind, path, text in _COLUMNS
        ],
        "schema": {"openAPIV3Schema": root},
    }
    names = {
        "kind": KIND,
        "listKind": f"{KIND}List",
        "plural": PLURAL,
        "singular": KIND.lower(),
        "shortNames": ["tj"],
        "categories": ["automl"],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {"group": GROUP, "names": names, "scope": "Namespaced", "versions": [version]},
    }


class _Dumper(yaml.SafeDumper):
    """Writes every value out, since a reader of a definition does not follow aliases."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  # PyYAML's own signature
        return True


def render_crd() -> str:
    """Return the definition as YAML, the same text every time."""
    return _HEADER + yaml.dump(build_crd(), Dumper=_Dumper, sort_keys=False, width=110, allow_unicode=True)


def main(arguments: list[str] | None = None) -> int:
    """Write or check the generated files; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m trainingjob_api.crd", description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail if a file is out of date; write nothing")
    parser.add_argument("--root", type=Path, default=Path(), help="the project's folder (default: this one)")
    options = parser.parse_args(arguments)
    files = {CRD_PATH: render_crd(), REFERENCE_PATH: render_reference(build_crd())}
    stale = []
    for path, text in files.items():
        target = options.root / path
        if options.check:
            if not target.is_file() or target.read_text(encoding="utf-8") != text:
                stale.append(path)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
    for path in stale:
        sys.stderr.write(f"{path} is out of date; run make crd\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
