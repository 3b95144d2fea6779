import pytest

from support.jobs import FULL, job
from trainingjob_api import (
    CONFIG_DICT,
    TABLE,
    TPOT_GROUPS,
    FeatureType,
    ParallelMode,
    Preset,
    ResolvedRun,
    SpecError,
    Task,
    ValidationStrategy,
    resolve,
)

GROUP_TREE = '{"type": "group", "names": ["classifiers"]}'


def nested(field, value):
    """Return the spec that has *value* at the dotted *field*."""
    *parents, last = field.split(".")
    spec = {last: value}
    for parent in reversed(parents):
        spec = {parent: spec}
    return spec


def value_of(run, field):
    names = {
        "automl.enabled": "automl_enabled",
        "automl.fallback": "automl_fallback",
        "parallelMode": "parallel_mode",
        "nJobs": "n_jobs",
        "memoryLimitMb": "memory_limit_mb",
        "budget.generations": "budget.generations",
        "budget.populationSize": "budget.population_size",
        "budget.timeLeftSeconds": "budget.time_left_seconds",
        "budget.perRunLimitSeconds": "budget.per_run_limit_seconds",
        "budget.cvFolds": "budget.cv_folds",
        "metric": "metric",
    }
    value = run
    for name in names[field].split("."):
        value = getattr(value, name)
    return value


def refused(spec, environment, **more):
    with pytest.raises(SpecError) as error:
        resolve(job(**spec), environment, **more)
    return error.value


# variable, field, value in the spec, text and value in the environment, default
ROWS = [
    ("TPOT__METRIC", "metric", "f1", "roc_auc", "roc_auc", None),
    ("ENABLE_AUTOML", "automl.enabled", False, "true", True, True),
    ("ENABLE_AUTOML_FALLBACK", "automl.fallback", True, "false", False, True),
    ("TPOT__TIME_LEFT", "budget.timeLeftSeconds", 100, "200", 200, 600),
    ("TPOT__PER_RUN_LIMIT", "budget.perRunLimitSeconds", 7, "8", 8, 60),
    ("TPOT__GENERATIONS", "budget.generations", 7, "8", 8, 40),
    ("TPOT__POPULATION_SIZE", "budget.populationSize", 7, "8", 8, 64),
    ("TPOT__CV_FOLDS", "budget.cvFolds", 7, "8", 8, 5),
    (
        "TPOT_PARALLEL_MODE",
        "parallelMode",
        "local",
        "distributed",
        ParallelMode.DISTRIBUTED,
        ParallelMode.LOCAL,
    ),
    ("TPOT__N_JOBS", "nJobs", 7, "8", 8, None),
    ("TPOT__MEMORY_LIMIT_MB", "memoryLimitMb", 700, "800", 800, 3072),
]


def test_the_rows_are_those_of_the_table():
    assert [(row.variable, row.field) for row in TABLE] == [row[:2] for row in ROWS]


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_spec_over_environment_over_default(row):
    variable, field, in_spec, text, in_environment, default = row
    for spec, environment, value, source in (
        ({}, {}, default, "default"),
        ({}, {variable: ""}, default, "default"),
        ({}, {variable: text}, in_environment, "environment"),
        ({}, {variable: f" {text}\n"}, in_environment, "environment"),
        (nested(field, in_spec), {}, in_spec, "spec"),
        (nested(field, in_spec), {variable: text}, in_spec, "spec"),
    ):
        run = resolve(job(**spec), environment)
        assert (value_of(run, field), run.sources[field]) == (value, source)


@pytest.mark.parametrize(
    ("variable", "text", "message"),
    [
        ("ENABLE_AUTOML", "maybe", "must be true or false, not 'maybe'"),
        ("ENABLE_AUTOML_FALLBACK", "2", "must be true or false"),
        ("TPOT_PARALLEL_MODE", "distribute", "did you mean distributed?"),
        ("TPOT__GENERATIONS", "1_0", "must be a whole number"),
        ("TPOT__GENERATIONS", "٣", "must be a whole number"),
        ("TPOT__GENERATIONS", "1e3", "must be a whole number"),
        ("TPOT__GENERATIONS", "9" * 40, "must be a whole number"),
        ("TPOT__POPULATION_SIZE", "0", "must be greater than or equal to 1"),
        ("TPOT__TIME_LEFT", "10.5", "must be a whole number"),
        ("TPOT__TIME_LEFT", "604801", "must be less than or equal to 604800"),
        ("TPOT__PER_RUN_LIMIT", "-1", "must be greater than or equal to 1"),
        ("TPOT__METRIC", "f1 score", "must match"),
        ("TPOT__CV_FOLDS", "1", "must be greater than or equal to 2"),
        ("TPOT__N_JOBS", "-1", "must be greater than or equal to 1"),
        ("TPOT__MEMORY_LIMIT_MB", "3g", "must be a whole number"),
        ("TPOT__CONFIG_DICT", "lineer", "did you mean linear?"),
        ("TPOT__CONFIG_DICT", "/nowhere/space.yaml", "does not exist"),
        ("TPOT__CONFIG_DICT", "{", "is not valid YAML"),
        ("TPOT__CONFIG_DICT", '{"type": "grup"}', "did you mean group?"),
    ],
)
def test_a_bad_variable_is_named(variable, text, message):
    error = refused({}, {variable: text})
    assert error.field.startswith(variable)
    assert message in str(error)


def test_all_bad_variables_are_named_at_once():
    error = refused({}, {"TPOT__N_JOBS": "x", "TPOT__CV_FOLDS": "1", "ENABLE_AUTOML": "?", CONFIG_DICT: "?"})
    assert {problem.field for problem in error.problems} == {
        "TPOT__N_JOBS",
        "TPOT__CV_FOLDS",
        "ENABLE_AUTOML",
        CONFIG_DICT,
    }


@pytest.mark.parametrize("text", ["false", "False", "0", "no", "off"])
@pytest.mark.parametrize("spec", [{}, {"automl": {"enabled": True}}])
@pytest.mark.parametrize("rollout", [None, True, False])
def test_the_kill_switch_takes_precedence_over_everything(text, spec, rollout):
    run = resolve(job(**spec), {"ENABLE_AUTOML": text}, rollout=rollout)
    assert not run.automl_enabled
    assert run.sources["automl.enabled"] == "environment"


@pytest.mark.parametrize(
    ("spec", "environment", "rollout", "enabled", "source"),
    [
        ({}, {}, True, True, "rollout"),
        ({}, {}, False, False, "rollout"),
        ({}, {"ENABLE_AUTOML": "true"}, False, False, "rollout"),
        ({"automl": {"enabled": True}}, {}, False, True, "spec"),
        ({"automl": {"enabled": False}}, {"ENABLE_AUTOML": "true"}, True, False, "spec"),
    ],
)
def test_a_canary_share_is_below_the_spec_and_above_the_environment(
    spec, environment, rollout, enabled, source
):
    run = resolve(job(**spec), environment, rollout=rollout)
    assert (run.automl_enabled, run.sources["automl.enabled"]) == (enabled, source)


@pytest.mark.parametrize("text", ["off", "OFF", "none", "None"])
def test_off_in_the_environment_means_a_single_local_worker(text):
    run = resolve(job(), {"TPOT_PARALLEL_MODE": text, "TPOT__N_JOBS": "4"})
    assert (run.parallel_mode, run.n_jobs, run.sources["nJobs"]) == (ParallelMode.NONE, 1, "environment")


@pytest.mark.parametrize(
    ("spec", "environment", "limit"),
    [
        ({"budget": {"timeLeftSeconds": 30}}, {}, 30),
        ({"budget": {"timeLeftSeconds": 30, "perRunLimitSeconds": 40}}, {}, 30),
        ({"budget": {"perRunLimitSeconds": 700}}, {}, 600),
        ({}, {"TPOT__TIME_LEFT": "10"}, 10),
        ({}, {"TPOT__TIME_LEFT": "100", "TPOT__PER_RUN_LIMIT": "99"}, 99),
    ],
)
def test_an_evaluation_never_has_more_time_than_the_run(spec, environment, limit):
    assert resolve(job(**spec), environment).budget.per_run_limit_seconds == limit


def test_defaults():
    run = resolve(job(), {})
    assert run.task is Task.AUTO
    assert run.validation.strategy is ValidationStrategy.KFOLD
    assert run.validation.holdout_fraction == 0.2
    assert (run.search_space.preset, run.search_space.tree, run.search_space.source) == (
        "linear",
        None,
        "default",
    )
    assert run.output.uri == "file://./runs"
    assert run.output.leaderboard_top_k == 10
    assert (run.dask.workers, run.dask.ready_timeout_seconds) == (2, 120)
    assert (run.random_state, run.backoff_limit, run.suspend) == (0, 2, False)
    assert run.dask_scheduler_file == "/var/run/tpot/scheduler.json"
    assert run.acceptance is None
    assert run.active_deadline_seconds > 1.05 * run.budget.time_left_seconds


def test_a_resolved_run_has_every_field_of_the_spec():
    run = resolve(job("churn", **FULL), {})
    assert run.name == "churn"
    assert run.feature_types == {"zip": FeatureType.CATEGORICAL, "id": FeatureType.IGNORE}
    assert run.validation.group_column == "household"
    assert run.dask.tolerations[0].key == "training"
    assert run.output.credentials_secret_ref.name == "minio"
    assert run.acceptance.min_score == 0.8
    assert run.trainer.priority_class_name == "high"
    assert run.active_deadline_seconds == 1800
    assert set(run.sources.values()) == {"spec", "default"}
    assert run.sources["daskSchedulerFile"] == "default"


def test_a_run_survives_a_round_trip_through_json():
    for spec in (
        {},
        FULL,
        {"searchSpace": {"inline": "{type: estimator, name: A, hyperparameters: {b: null}}"}},
    ):
        run = resolve(job(**spec), {})
        again = ResolvedRun.model_validate_json(run.model_dump_json(by_alias=True))
        assert again == run
        assert again.search_digest() == run.search_digest()


def test_the_scheduler_file_comes_from_the_environment():
    assert resolve(job(), {"TPOT__DASK_SCHEDULER_FILE": "/tmp/s.json"}).dask_scheduler_file == "/tmp/s.json"  # noqa: S108


@pytest.mark.parametrize(
    ("validation", "strategy"),
    [
        ({"groupColumn": "g"}, ValidationStrategy.GROUP),
        ({"timeColumn": "t", "strategy": "auto"}, ValidationStrategy.TIME),
        ({"strategy": "auto"}, ValidationStrategy.KFOLD),
    ],
)
def test_auto_validation_follows_the_columns(validation, strategy):
    assert resolve(job(validation=validation), {}).validation.strategy is strategy


def test_a_deadline_below_the_budget_of_the_environment_is_rejected():
    error = refused({"activeDeadlineSeconds": 599}, {})
    assert error.field == "spec.activeDeadlineSeconds"
    refused({"activeDeadlineSeconds": 600}, {"TPOT__TIME_LEFT": "601"})
    assert resolve(job(activeDeadlineSeconds=60), {"TPOT__TIME_LEFT": "60"}).active_deadline_seconds == 60


def test_the_default_deadline_waits_for_the_cluster():
    local = resolve(job(), {}).active_deadline_seconds
    far = resolve(
        job(parallelMode="distributed", dask={"readyTimeoutSeconds": 300}), {}
    ).active_deadline_seconds
    assert far - local == 300


@pytest.mark.parametrize("acceptance", [None, {}])
def test_an_empty_acceptance_counts_as_unset(acceptance):
    spec = {} if acceptance is None else {"acceptance": acceptance}
    assert resolve(job(**spec), {}).acceptance is None


def test_an_acceptance_is_complete():
    assert resolve(job(acceptance={"minScore": 0.5}), {}).acceptance.must_beat_baseline is False


@pytest.mark.parametrize("preset", list(Preset))
def test_config_dict_as_a_preset(preset):
    space = resolve(job(), {CONFIG_DICT: preset}).search_space
    assert (space.preset, space.tree, space.source) == (preset, None, CONFIG_DICT)


@pytest.mark.parametrize("group", TPOT_GROUPS)
def test_config_dict_as_a_group(group):
    space = resolve(job(), {CONFIG_DICT: group}).search_space
    assert (space.preset, space.tree) == (None, {"type": "group", "names": [group]})


def test_config_dict_as_json_and_as_a_path(tmp_path):
    for setting in (GROUP_TREE, tmp_path / "space.json"):
        if not isinstance(setting, str):
            setting.write_text(GROUP_TREE)
        run = resolve(job(), {CONFIG_DICT: str(setting)})
        assert run.search_space.tree == {"type": "group", "names": ["classifiers"]}
        assert run.sources["searchSpace"] == "environment"


def test_config_dict_as_a_path_is_bounded(tmp_path):
    path = tmp_path / "space.json"
    path.write_text(" " * 70_000)
    assert "larger than 64 KiB" in str(refused({}, {CONFIG_DICT: str(path)}))
    assert "is not a regular file" in str(refused({}, {CONFIG_DICT: str(tmp_path)}))


def test_a_search_space_of_the_spec_replaces_config_dict():
    run = resolve(job(searchSpace={"preset": "graph"}), {CONFIG_DICT: "linear-light"})
    assert (run.search_space.preset, run.sources["searchSpace"]) == ("graph", "spec")


def test_an_empty_search_space_is_unset():
    assert resolve(job(searchSpace={}), {CONFIG_DICT: "graph"}).search_space.preset == "graph"


def test_a_config_map_needs_its_content():
    spec = {"searchSpace": {"configMapRef": {"name": "space"}}}
    assert "use searchSpace.inline in a local run" in str(refused(spec, {}))
    run = resolve(job(**spec), {}, search_space_text=GROUP_TREE)
    assert run.search_space.source == "spec.searchSpace.configMapRef"
    assert "spec.searchSpace.configMapRef" in str(refused(spec, {}, search_space_text="type: x"))


def test_an_invalid_inline_tree_is_named_by_its_path():
    error = refused({"searchSpace": {"inline": "{type: sequential, steps: [{type: grup}]}"}}, {})
    assert error.field == "spec.searchSpace.inline.steps[0].type"


DIGEST_KEEPS = [
    {"budget": {"timeLeftSeconds": 700}},
    {"budget": {"generations": 3}},
    {"parallelMode": "distributed"},
    {"nJobs": 3},
    {"memoryLimitMb": 999},
    {"output": {"uri": "s3://elsewhere"}},
    {"acceptance": {"minScore": 1}},
    {"suspend": True},
    {"trainer": {"priorityClassName": "x"}},
    {"searchSpace": {"preset": "linear"}},
    {"task": "auto", "validation": {"holdoutFraction": 0.2}},
]
DIGEST_CHANGES = [
    {"dataset": {"uri": "s3://data/other.csv"}},
    {"dataset": {"uri": "s3://data/table.csv", "sha256": "a" * 64}},
    {"targetColumn": "x"},
    {"positiveLabel": "x"},
    {"task": "classification"},
    {"featureTypes": {"a": "text"}},
    {"metric": "f1"},
    {"validation": {"holdoutFraction": 0.3}},
    {"validation": {"groupColumn": "a"}},
    {"budget": {"cvFolds": 3}},
    {"budget": {"populationSize": 3}},
    {"budget": {"perRunLimitSeconds": 3}},
    {"searchSpace": {"preset": "graph"}},
    {"searchSpace": {"inline": GROUP_TREE}},
    {"randomState": 1},
]


@pytest.mark.parametrize("spec", DIGEST_KEEPS)
def test_the_search_digest_ignores_budget_and_machines(spec):
    assert resolve(job(**spec), {}).search_digest() == resolve(job("other"), {}).search_digest()


def test_different_searches_have_different_digests():
    digests = {resolve(job(**spec), {}).search_digest() for spec in DIGEST_CHANGES}
    assert len(digests | {resolve(job(), {}).search_digest()}) == len(DIGEST_CHANGES) + 1


@pytest.mark.parametrize(
    ("spec", "digest"),
    [
        ({}, "51b7fcd64d001ecd3540eb51d94d5c99a86b13ff2efa15ff5e1b2f2c339cc809"),
        (FULL, "1af2835471f3e4911253116024d481f7281c4efb4d94be4cb8a6e4c445b17e52"),
        (
            {
                "dataset": {"uri": "pvc://c/t.csv", "csv": {"separator": ";"}},
                "validation": {"timeColumn": "b"},
                "searchSpace": {"inline": GROUP_TREE},
            },
            "4c1ce29ba473e2af6d8206e31074cee9ee6a7497918e3e3d1da7018210fd5115",
        ),
    ],
)
def test_the_search_digest_is_that_of_earlier_versions(spec, digest):
    # With another digest, an upgrade would discard the journals of running jobs.
    assert resolve(job(**spec), {}).search_digest() == digest


def test_the_digest_does_not_depend_on_where_a_value_is_from():
    of_spec = resolve(job(metric="f1", budget={"cvFolds": 3}), {})
    of_environment = resolve(job(), {"TPOT__METRIC": "f1", "TPOT__CV_FOLDS": "3"})
    assert of_spec.search_digest() == of_environment.search_digest()


def test_the_summary_has_the_values_in_force():
    run = resolve(job(**FULL), {})
    summary = run.summary(image="registry.example/trainer:1")
    assert summary.population_size == 32
    assert summary.search_space == "linear"
    assert summary.search_digest == run.search_digest()
    assert summary.sources["metric"] == "spec"
    assert summary.image == "registry.example/trainer:1"
