"""Write everything in ``helm/`` that is generated: ``python -m charts`` (``make charts`` runs it)."""

import sys
from pathlib import Path

from charts.dask import pack
from charts.readme import OPERATOR, write_readme

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Write the generated files; return 0."""
    chart = ROOT / OPERATOR
    definition = "automl.trainingjob.dev_trainingjobs.yaml"
    copy = ROOT / "helm/trainingjob-crds/files" / definition
    copy.write_text((ROOT / "crds" / definition).read_text(encoding="utf-8"), encoding="utf-8")
    pack(chart)
    write_readme(chart)
    return 0


if __name__ == "__main__":
    sys.exit(main())
