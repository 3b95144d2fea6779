import os
import pickle
from typing import Annotated

import pytest
import yaml
from pydantic import Field
from pydantic.dataclasses import dataclass

from support.jobs import FULL, document
from trainingjob_api import Problem, SpecError, Variable, Words, load_job, parse_yaml, read_settings

HEAD = "apiVersion: automl.trainingjob.dev/v1alpha1\nkind: TrainingJob\nmetadata: {name: x}\n"
LEAST = "dataset: {uri: sample://iris}, targetColumn: t"


@pytest.fixture
def load(tmp_path):
    def load_text(text, *overrides):
        path = tmp_path / "job.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load_job(path, overrides)

    return load_text


def refused(load, text, *overrides):
    with pytest.raises(SpecError) as error:
        load(text, *overrides)
    return str(error.value)


def test_a_file_is_loaded(load):
    assert load(yaml.safe_dump(document(**FULL))).spec.metric == "f1"
    assert load(b"\xef\xbb\xbf" + f"{HEAD}spec: {{{LEAST}}}".encode()).metadata.name == "x"


def test_json_is_yaml(load):
    import json

    assert load(json.dumps(document())).spec.target_column == "target"


def test_all_problems_come_at_once_with_hints(load):
    message = refused(
        load,
        HEAD + "spec: {dataset: {url: sample://iris}, targetcolumn: t, parallelMode: off, generations: 3,"
        " budget: {timeLeftSecond: 3, cvFolds: 1}, metric: 7, featureTypes: {a: numerc},"
        " dask: {tolerations: [{key: a, operater: Equal, effect: noschedule}]}}",
    )
    for line in (
        "spec.dataset.uri: is required",
        "spec.dataset.url: is not a field of spec.dataset; did you mean uri?",
        "spec.targetcolumn: is not a field of spec; did you mean targetColumn?",
        "spec.generations: is not a field of spec; it belongs to spec.budget",
        "spec.budget.timeLeftSecond: is not a field of spec.budget; did you mean timeLeftSeconds?",
        "spec.budget.cvFolds: must be greater than or equal to 2",
        'spec.metric: must be text, not a number; put it in quotes: "7"',
        "did you mean numeric?",
        (
            "spec.dask.tolerations[0].operater: is not a field of spec.dask.tolerations[0]; did you mean "
            "operator?"
        ),
        "did you mean NoSchedule?",
    ):
        assert line in message.replace("\n", "  ")
    assert "write none for off" in message


def test_the_error_has_its_problems_and_survives_pickling(load):
    with pytest.raises(SpecError) as error:
        load(HEAD + "spec: {dataset: {}, budget: {cvFolds: 1}}")
    assert len(error.value.problems) == 3
    assert error.value.field == "spec.dataset.uri"
    copy = pickle.loads(pickle.dumps(error.value))
    assert copy.problems == error.value.problems
    assert str(copy) == str(error.value)


def test_a_long_list_of_problems_is_cut():
    asked = iter(range(10_000))
    error = SpecError(problems=(Problem(f"f{number}", "is wrong") for number in asked))
    assert next(asked) == 21, "no more are looked for than are named"
    assert str(error).count("\n") == 20
    assert str(error).endswith("\nand more")
    assert error.more
    assert len(error.problems) == 20


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("", "is empty", id="empty"),
        pytest.param("# nothing\n", "is empty", id="comment"),
        pytest.param("just text", "is a mapping, not a str", id="text"),
        pytest.param("- 1", "is a mapping, not a list", id="list"),
        pytest.param("{" + LEAST + "}", "this is a bare spec; put it under spec:", id="bare spec"),
        pytest.param("apiVersion: v1\nkind: Pod", "kind: is 'Pod'", id="other kind"),
        pytest.param(
            "apiVersion: kubeflow.org/v1\nkind: TrainingJob",
            "apiVersion: is 'kubeflow.org/v1'",
            id="other group",
        ),
        pytest.param("kind: TrainingJob\nspec: {}", "apiVersion: is missing", id="no apiVersion"),
        pytest.param(HEAD + "spec: {}\n---\n" + HEAD, "contains several YAML documents", id="two documents"),
        pytest.param(HEAD, "spec: is required", id="no spec"),
        pytest.param(HEAD + "spec: 3", "spec: must be a mapping, not a number", id="spec is a number"),
        pytest.param(HEAD + "spec:", "spec: must be a mapping, not nothing (null)", id="spec is null"),
        pytest.param(
            HEAD + "spec: {}\nspec: {}", "line 5, column 1: the key 'spec' appears twice", id="duplicate key"
        ),
        pytest.param(HEAD + "spec: {a: [}", "is not valid YAML: line 4", id="syntax"),
        pytest.param(
            HEAD + "spec: !!python/object/apply:os.getcwd []",
            "could not determine a constructor",
            id="object",
        ),
        pytest.param(HEAD + "spec: !!int x", "does not fit its tag", id="bad tag"),
        pytest.param(HEAD + "spec: !!timestamp x", "does not fit its tag", id="bad date"),
        pytest.param(HEAD + "spec: {[1]: 2}", "a key must be text", id="complex key"),
        pytest.param(HEAD + "spec: &a [*a]", "or an alias contains itself", id="endless alias"),
        pytest.param(HEAD + "spec: *nothing", "undefined alias", id="unknown alias"),
        pytest.param("[" * 5000, "nested deeper than 64", id="deep"),
        pytest.param("a: [" + "1," * 30_000 + "]", "more than 20000 values", id="wide"),
        pytest.param("#" * 300_000, "larger than 256 KiB", id="large"),
        pytest.param(b"a: \xff", "is not UTF-8", id="bytes"),
        pytest.param("a: \x00", "characters that YAML does not allow", id="control character"),
    ],
)
def test_a_document_that_is_not_a_job_is_rejected_clearly(load, text, message):
    assert message in refused(load, text)


def test_a_bomb_of_aliases_is_rejected_quickly(load):
    levels = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12))
    assert "once its aliases are expanded" in refused(load, f"a0: &a0 [x]\n{levels}")


def test_a_bomb_of_merge_keys_is_rejected(load):
    levels = "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}\n" for n in range(1, 12))
    assert "once its aliases are expanded" in refused(load, f"a0: &a0 {{x: 1}}\n{levels}")


def test_a_reasonable_number_of_anchors_is_accepted(load):
    text = (
        HEAD + f"spec: {{{LEAST}, trainer: {{resources: &r {{limits: {{cpu: 1}}}}}},"
        " dask: {workerResources: *r}}"
    )
    spec = load(text).spec
    assert spec.dask.worker_resources == spec.trainer.resources


def test_dates_stay_text_as_for_kubectl(load):
    assert (
        load(HEAD + "spec: {dataset: {uri: sample://iris}, targetColumn: 2026-01-01}").spec.target_column
        == "2026-01-01"
    )


@pytest.mark.parametrize("word", ["off", "no", "on", "yes", "off "])
def test_a_boolean_for_a_mode_is_explained(load, word):
    message = refused(load, HEAD + f"spec: {{{LEAST}, parallelMode: {word}}}")
    assert "spec.parallelMode: must be one of local, distributed, none" in message
    assert "YAML reads an unquoted off" in message


def test_a_quoted_off_has_a_hint(load):
    assert "did you mean none?" in refused(load, HEAD + f"spec: {{{LEAST}, parallelMode: 'off'}}")


def test_a_bare_yes_for_a_label_is_explained(load):
    assert 'put it in quotes: "true"' in refused(load, HEAD + f"spec: {{{LEAST}, positiveLabel: yes}}")


def test_unreadable_files_are_named(tmp_path):
    with pytest.raises(SpecError, match="does not exist"):
        load_job(tmp_path / "absent.yaml")
    with pytest.raises(SpecError, match="is not a regular file"):
        load_job(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SpecError, match="is not a regular file"):
        load_job(tmp_path / "pipe")


def test_an_address_with_a_password_is_not_repeated(load):
    message = refused(load, HEAD + "spec: {dataset: {uri: 'https://me:hunter2@host/x'}, targetColumn: t}")
    assert "hunter2" not in message


def test_overrides_change_the_spec(load):
    text = HEAD + f"spec: {{{LEAST}, budget: {{cvFolds: 3, generations: 2}}, suspend: true}}"
    spec = load(
        text,
        "spec.budget.timeLeftSeconds=30",
        "spec.budget.generations=null",
        "spec.suspend=false",
        "spec.dataset.uri=file://./my data/a=b.csv",
        "spec.featureTypes.zip\\.code=categorical",
        "spec.searchSpace={preset: graph}",
        "spec.validation.holdoutFraction=0.3",
    ).spec
    assert spec.budget.time_left_seconds == 30
    assert spec.budget.cv_folds == 3
    assert "generations" not in spec.budget.model_fields_set
    assert spec.suspend is False
    assert spec.dataset.uri == "file://./my data/a=b.csv"
    assert spec.feature_types == {"zip.code": "categorical"}
    assert spec.search_space.preset == "graph"
    assert spec.validation.holdout_fraction == 0.3


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "spec.budget.timeLeftSeconds",
            "is not of the form path=value; write it like --set spec.budget.timeLeftSeconds=30",
        ),
        ("budget.timeLeftSeconds=3", "must begin with spec."),
        ("kind=Pod", "must begin with spec."),
        ("spec=3", "must begin with spec."),
        ("spec..a=3", "is not of the form path=value"),
        ("spec.targetColumn.x=3", "spec.targetColumn: has no fields"),
        ("spec.budget.timeLeftSecond=3", "did you mean timeLeftSeconds?"),
        ("spec.budget.timeLeftSeconds=[", "the value of --set is not valid YAML"),
        ("spec." + "a." * 20 + "b=1", "is not of the form path=value"),
    ],
)
def test_wrong_overrides_are_rejected(load, override, message):
    assert message in refused(load, HEAD + f"spec: {{{LEAST}}}", override)


def test_parse_yaml_names_problem_and_position():
    with pytest.raises(SpecError) as error:
        parse_yaml("a: [", what="the search space", field="spec.searchSpace.inline")
    assert error.value.field == "spec.searchSpace.inline"
    assert error.value.message.startswith("the search space is not valid YAML: line 1")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1E3", 1000.0),
        ("1.5e3", 1500.0),
        ("-.5e-1", -0.05),
        ("1.0e+3", 1000.0),
        ("e3", "e3"),
        ("1e", "1e"),
        ("2026-01-01", "2026-01-01"),
        ("0.25", 0.25),
        ("~", None),
    ],
)
def test_scalars_are_read_as_kubectl_reads_them(text, value):
    assert parse_yaml(f"a: {text}", what="the text") == {"a": value}


def test_keys_are_text(load):
    spec = load(HEAD + f"spec: {{{LEAST}, featureTypes: {{1: text, no: numeric, 2026-01-01: ignore}}}}").spec
    assert set(spec.feature_types) == {"1", "no", "2026-01-01"}
    assert "the key '1' appears twice" in refused(load, "1: a\n'1': b")


@dataclass(frozen=True, kw_only=True)
class Sample:
    image: str
    hosts: Words = ()
    limit: Annotated[int, Field(ge=1, le=9)] = 3
    share: float | None = None
    allowed: bool = True
    private: bool = False
    endpoint: Annotated[str | None, Variable(("FIRST", "SECOND"))] = None
    known: str = ""


def read(**environment):
    return read_settings(Sample, {"TRAININGJOB_IMAGE": "a", **environment}, known="b")


def test_unset_and_empty_variables_leave_the_defaults():
    plain = Sample(image="a", known="b")
    assert read() == plain
    assert read(TRAININGJOB_LIMIT=" ", TRAININGJOB_HOSTS="", TRAININGJOB_PRIVATE="", FIRST="") == plain


@pytest.mark.parametrize("text", ["", " "])
def test_an_empty_flag_is_false_even_if_it_is_on_by_default(text):
    assert read().allowed
    assert not read(TRAININGJOB_ALLOWED=text).allowed


def test_variables_of_every_kind_are_read():
    found = read(
        TRAININGJOB_HOSTS=" a, b,", TRAININGJOB_LIMIT="9", TRAININGJOB_SHARE="0.5", TRAININGJOB_ALLOWED="No"
    )
    assert (found.hosts, found.limit, found.share, found.allowed) == (("a", "b"), 9, 0.5, False)


def test_the_first_set_variable_counts():
    assert read(SECOND="b").endpoint == "b"
    assert read(FIRST="a", SECOND="b").endpoint == "a"
    assert read(TRAININGJOB_ENDPOINT="c", TRAININGJOB_KNOWN="d").endpoint is None


def test_each_bad_variable_is_named_with_cause_and_remedy():
    environment = {"TRAININGJOB_LIMIT": "0", "TRAININGJOB_ALLOWED": "maybe", "TRAININGJOB_SHARE": "half"}
    with pytest.raises(SpecError) as error:
        read_settings(Sample, environment)
    assert {str(problem) for problem in error.value.problems} == {
        "TRAININGJOB_IMAGE: is required; set it",
        "TRAININGJOB_LIMIT: must be greater than or equal to 1, not '0'; correct or unset it",
        "TRAININGJOB_ALLOWED: must be true or false, not 'maybe'; correct or unset it",
        "TRAININGJOB_SHARE: must be a number, not 'half'; correct or unset it",
    }
