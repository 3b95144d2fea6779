"""Make the pictures of README.md: run the first example, draw its terminal as SVG and its report as PNG.

::

    .venv/bin/python tools/pictures.py    # needs Chromium
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs/images"
JOB = "examples/messy-prices.yaml"
COMMAND = f"trainingjob run {JOB}"
WIDTH = 110
"""Columns of the terminal."""
_LIVE_ENDS = "\x1b[?25h"
"""Rich shows the cursor again when the live display ends; the summary follows."""
_PATHS_BEGIN = "Folder:"
"""The lines from here on name folders of this machine."""
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def draw_terminal(printed: str, target: Path) -> None:
    """Write what a run printed as a picture of a terminal."""
    with Path(os.devnull).open("w") as nowhere:
        console = Console(record=True, width=WIDTH, file=nowhere, force_terminal=True)
        summary = printed.rpartition(_LIVE_ENDS)[2].partition(_PATHS_BEGIN)[0]
        for line in summary.strip("\n").splitlines():
            console.print(Text.from_ansi(line))
    console.save_svg(str(target), title=COMMAND)


def draw_report(report: Path, target: Path) -> None:
    """Write the top of an HTML report as a picture."""
    browser = next((found for name in _BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        sys.exit(f"none of {', '.join(_BROWSERS)} is installed")
    options = ["--headless", "--no-sandbox", "--hide-scrollbars", "--window-size=1200,1250"]
    subprocess.run(
        [browser, *options, f"--screenshot={target}", report.as_uri()], check=True, capture_output=True
    )


def main() -> None:
    """Run the example and draw both pictures."""
    IMAGES.mkdir(exist_ok=True)
    environment = os.environ | {"FORCE_COLOR": "1", "COLUMNS": str(WIDTH)}
    with tempfile.TemporaryDirectory() as folder:
        command = [str(Path(sys.executable).with_name("trainingjob")), *COMMAND.split()[1:]]
        done = subprocess.run(
            [*command, "--output", folder],
            cwd=ROOT,
            env=environment,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        draw_terminal(done.stdout, IMAGES / "terminal.svg")
        (report,) = Path(folder).glob("*/report.html")
        draw_report(report, IMAGES / "report.png")


if __name__ == "__main__":
    main()
