import errno
import json
from typing import Any

import pytest

from support.fake_run import Front
from trainingjob_trainer.cli.command import plain, redact, secrets_of
from trainingjob_trainer.errors import DataError, RunFailed, SpecInvalid

SECRET = "s3cr3t-that-nobody-may-see"

CASES = [
    pytest.param(
        DataError("TargetColumnMissing", "the table has no column 'churn'; the nearest is 'churned'"),
        2,
        ["error: the table has no column 'churn'; the nearest is 'churned'", "reason: TargetColumnMissing"],
        id="data",
    ),
    pytest.param(
        SpecInvalid("BucketNotFound", "spec.output.uri: there is no bucket models"),
        2,
        ["error: spec.output.uri: there is no bucket models", "reason: BucketNotFound"],
        id="spec",
    ),
    pytest.param(
        RunFailed("NoModel", "the search process ended with status 1; no model was saved"),
        1,
        ["error: the search process ended with status 1; no model was saved", "reason: NoModel"],
        id="run",
    ),
    pytest.param(
        KeyboardInterrupt(),
        1,
        [
            "error: stopped before there was a model",
            "reason: Interrupted",
            "hint: repeat the command to resume the run",
        ],
        id="interrupt",
    ),
    pytest.param(
        OSError(errno.ENOSPC, "No space left on device"),
        1,
        [
            "error: no space is left on the device",
            "reason: DiskFull",
            "hint: free some space or choose another --output, then repeat the command to resume the run",
        ],
        id="disk",
    ),
    pytest.param(
        ZeroDivisionError("division\nby zero"),
        1,
        [
            "error: ZeroDivisionError: division by zero",
            "reason: UnexpectedError",
            "hint: this is a bug in trainingjob; --debug shows where it happened",
        ],
        id="unexpected",
    ),
]


@pytest.mark.parametrize(("error", "status", "block"), CASES)
def test_an_error_is_one_block_with_its_exit_status(
    front: Front, error: BaseException, status: int, block: list[str]
) -> None:
    front.fake.error = error
    result = front.run("--quiet")
    assert result.exit_code == status
    log = front.folder / "runs" / "churn-0123abcd" / ".work" / "logs" / "trainer.log"
    assert result.stderr.splitlines() == [*block, f"log: {log}"]
    assert result.stdout == ""


@pytest.mark.parametrize(("error", "status", "block"), CASES)
def test_with_json_the_error_is_a_document_too(
    front: Front, error: BaseException, status: int, block: list[str]
) -> None:
    front.fake.error = error
    result = front.run("--json")
    assert result.exit_code == status
    document = json.loads(result.stdout)
    assert (document["ok"], document["exitCode"], document["command"]) == (False, status, "run")
    assert f"reason: {document['error']['reason']}" in block
    assert f"error: {document['error']['message']}" in block
    assert document["error"]["log"].endswith("trainer.log")


def test_each_problem_of_a_spec_is_listed_with_a_remedy(front: Front) -> None:
    result = front.run("--set", "spec.targetColum=x", "--set", "spec.budget.cvFolds=many")
    assert result.exit_code == 2
    lines = result.stderr.splitlines()
    assert lines[0] == "error: there are 2 problems"
    assert lines[-1] == "reason: SpecInvalid"
    assert any(line.startswith("  - spec.targetColum: ") for line in lines)
    assert any("targetColumn" in line for line in lines if line.startswith("    hint: "))
    assert any(line.startswith("  - spec.budget.cvFolds: ") for line in lines)
    assert front.fake.asked == []


def test_a_spec_with_problems_as_json(front: Front) -> None:
    result = front.run("--set", "spec.targetColum=x", "--set", "spec.budget.cvFolds=many", "--json")
    problems = json.loads(result.stdout)["error"]["problems"]
    assert {problem["field"] for problem in problems} == {"spec.targetColum", "spec.budget.cvFolds"}


def test_one_problem_needs_no_list(front: Front) -> None:
    result = front("run", "nowhere.yaml")
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        "error: the file nowhere.yaml does not exist",
        "reason: SpecInvalid",
    ]


@pytest.mark.parametrize(
    ("environment", "variable"),
    [
        ({"TPOT__TIME_LEFT": "soon"}, "TPOT__TIME_LEFT"),
        ({"TRAININGJOB_MAX_ROWS": "-1"}, "TRAININGJOB_MAX_ROWS"),
    ],
)
def test_a_wrong_variable_is_named(front: Front, environment: dict[str, str], variable: str) -> None:
    front.environment.update(environment)
    result = front.run()
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {variable}")


@pytest.mark.parametrize("options", [(), ("--json",), ("--debug",), ("--log-format", "json")])
def test_no_credential_is_ever_shown(front: Front, options: tuple[str, ...]) -> None:
    front.environment["AWS_SECRET_ACCESS_KEY"] = SECRET
    front.fake.error = RuntimeError(f"cannot sign with {SECRET}")
    result = front.run(*options)
    assert result.exit_code == 1
    assert "***" in result.stderr
    assert SECRET not in result.stdout + result.stderr
    log = front.folder / "runs" / "churn-0123abcd" / ".work" / "logs" / "run.jsonl"
    assert SECRET not in log.read_text()


def test_a_traceback_is_shown_on_request(front: Front) -> None:
    front.fake.error = RuntimeError("boom")
    assert "Traceback" not in front.run().stderr
    shown = front.run("--debug")
    assert "Traceback (most recent call last)" in shown.stderr
    assert "reason: UnexpectedError" in shown.stderr


def test_a_message_cannot_steer_the_terminal(front: Front) -> None:
    front.fake.error = DataError("TargetColumnMissing", "no column '\x1b[2J[red]x[/red]\nreason: Fine'")
    lines = front.run("--quiet").stderr.splitlines()
    assert lines[0] == "error: no column ' [2J[red]x[/red] reason: Fine'"


@pytest.mark.parametrize(
    "arguments",
    [
        ("run",),
        ("run", "job.yaml", "--nonsense"),
        ("rum", "job.yaml"),
        ("run", "job.yaml", "--log-format", "x"),
    ],
)
def test_a_wrong_command_line_is_an_error_of_the_user(front: Front, arguments: tuple[str, ...]) -> None:
    result: Any = front(*arguments)
    assert result.exit_code == 2
    assert "Usage: " in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("Pipeline → PCA(n=0.9)", "Pipeline → PCA(n=0.9)", id="ordinary"),
        pytest.param("\x1b[31mred\x1b]0;title\x07", "[31mred ]0;title", id="escape sequences"),
        pytest.param("two\nlines\r\nand\ttabs", "two lines and tabs", id="lines"),
        pytest.param("abc\u202egnp.exe\u2066x", "abc gnp.exe x", id="direction of writing"),
        pytest.param("[bold]x[/bold] :smile:", "[bold]x[/bold] :smile:", id="markup stays text"),
        pytest.param("the label 'a  b '", "the label 'a  b '", id="spaces that are part of a label"),
        pytest.param(3.5, "3.5", id="no text"),
    ],
)
def test_text_of_others_becomes_one_harmless_line(text: object, shown: str) -> None:
    assert plain(text) == shown


def test_credentials_are_found_by_their_names_and_blanked() -> None:
    secrets = secrets_of(
        {
            "AWS_SECRET_ACCESS_KEY": "abcdefgh",
            "HOME": "/somewhere",
            "API_TOKEN": "abcdefgh-long",
            "MY_TOKEN": "x",
        }
    )
    assert redact("key abcdefgh-long and abcdefgh at /somewhere", secrets) == "key *** and *** at /somewhere"
