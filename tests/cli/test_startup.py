import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import typer

from support.fake_run import Front
from trainingjob_trainer.cli import app

HEAVY = "sklearn pandas numpy tpot distributed dask matplotlib pyarrow xgboost lightgbm catboost"
PROBE = """
import sys
from trainingjob_trainer.cli import app
try:
    app(sys.argv[1:], prog_name="trainingjob")
except SystemExit as end:
    code = end.code
print(code, *sorted(set({heavy!r}.split()) & set(sys.modules)), file=sys.stderr)
"""
DOCS = Path(__file__).parents[2] / "docs" / "cli.md"
COMMANDS = tuple(
    name
    for name, command in typer.main.get_command(app).commands.items()  # type: ignore[attr-defined]
    if not command.hidden
)


@pytest.mark.parametrize(
    "arguments", [("--help",), ("run", "--help"), ("validate", "job.yaml"), ("version",)]
)
def test_nothing_heavy_is_imported_before_it_is_needed(front: Front, arguments: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROBE.format(heavy=HEAVY), *arguments],
        capture_output=True,
        text=True,
        check=True,
        cwd=front.folder,
    )
    assert done.stderr == "0\n"


@pytest.mark.parametrize("option", ["-h", "--help"])
@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS)])
def test_every_command_has_a_help_page(front: Front, command: tuple[str, ...], option: str) -> None:
    result = front(*command, option)
    assert result.exit_code == 0
    assert result.stdout.startswith("Usage: ")
    if command and command != ("version",):
        assert f"Examples:\n    trainingjob {command[0]} " in result.stdout


def test_the_commands_are_listed_in_the_order_of_use() -> None:
    assert COMMANDS[:3] == ("run", "validate", "report")
    assert set(COMMANDS[3:]) == {"submit", "watch", "logs", "scheduler", "worker", "certs", "version"}


def test_no_arguments_show_the_help(front: Front) -> None:
    result = front()
    assert "Usage: " in result.output
    assert all(f"  {name} " in result.output for name in COMMANDS)


def test_the_version_is_that_of_the_package(front: Front) -> None:
    assert front("version").stdout == f"{metadata.version('trainingjob')}\n"


def test_completion_is_offered(front: Front) -> None:
    assert "--install-completion" in front("--help").stdout


def test_the_reference_names_every_option_and_no_other() -> None:
    text = DOCS.read_text()
    group = typer.main.get_command(app)
    known = {"--help", "--install-completion", "--show-completion"}
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        assert f"`trainingjob {name}" in text
        known |= {
            option for parameter in command.params for option in parameter.opts if option.startswith("--")
        }
    assert set(re.findall(r"--[a-z][a-z-]*", text)) == known
