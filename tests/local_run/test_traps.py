"""A run imports no modules that lie beside the job."""

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from support.runs import Runs

pytestmark = pytest.mark.slow
SPEC = {
    "dataset": {"uri": "sample://iris"},
    "output": {"uri": "file://./runs"},
    "searchSpace": {"preset": "linear-light"},
    "budget": {"timeLeftSeconds": 60, "generations": 1, "populationSize": 4, "cvFolds": 2},
    "parallelMode": "local",
    "nJobs": 1,
    "randomState": 5,
}
TRAP = "import pathlib\npathlib.Path(__file__).with_suffix('.sprung').touch()\n"


def test_a_run_imports_nothing_from_the_current_folder(runs: Runs) -> None:
    job = runs.job("small", **SPEC)
    names = {name for name in metadata.packages_distributions() if name.isidentifier()}
    for name in names | set(sys.stdlib_module_names):
        (runs.folder / f"{name}.py").write_text(TRAP)
    done = subprocess.run(
        [Path(sys.executable).with_name("trainingjob"), "run", job, "--json"],
        cwd=runs.folder,
        env={"PATH": os.environ["PATH"], "HOME": str(runs.folder)},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(runs.journal("small")) >= 4
    assert not sorted(runs.folder.glob("*.sprung"))
