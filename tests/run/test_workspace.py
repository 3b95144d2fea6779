import pytest

from support.jobs import job
from trainingjob_api import resolve
from trainingjob_trainer.run.workspace import open_workspace
from trainingjob_trainer.storage import folder_name

UID = "8d1f0a52-7c3e-4b1a-9f00-000000000000"


@pytest.mark.parametrize("name", ["churn", "n" * 253])
def test_an_unfinished_run_is_found_again(tmp_path, name):
    run = resolve(job(name), {})
    first = open_workspace(tmp_path, run, fresh=False)
    again = open_workspace(tmp_path, run, fresh=False)
    assert again.home == first.home
    assert again.resumed
    assert open_workspace(tmp_path, run, fresh=True).home != first.home


@pytest.mark.parametrize("name", ["churn", "n" * 253])
def test_a_run_uses_the_folder_that_the_output_names(tmp_path, name):
    run = resolve(job(name), {}).model_copy(update={"uid": UID})
    workspace = open_workspace(tmp_path, run, fresh=False)
    assert workspace.home == tmp_path / folder_name(name, workspace.uid8)


def test_the_clock_outlives_an_attempt(tmp_path):
    run = resolve(job("churn"), {})
    first = open_workspace(tmp_path, run, fresh=False)
    assert first.used_seconds() == 0
    first.keep_used_seconds(12.3456)
    first.keep_used_seconds(45.6789)
    assert open_workspace(tmp_path, run, fresh=False).used_seconds() == 45.679


@pytest.mark.parametrize("text", ["", "{", "[]", '{"elapsedSeconds": "many"}', '{"elapsedSeconds": null}'])
def test_a_clock_that_cannot_be_read_has_used_nothing(tmp_path, text):
    workspace = open_workspace(tmp_path, resolve(job("churn"), {}), fresh=False)
    workspace.clock_file.write_text(text)
    assert workspace.used_seconds() == 0
