"""Nearly every pipeline of every preset can be fitted and scored, on tables of any scale."""

import numpy as np
import pytest
from sklearn.base import clone as unfitted
from sklearn.metrics import get_scorer

from trainingjob_trainer.search_space.individual import breed, translate
from trainingjob_trainer.search_space.pipeline import build, summarize
from trainingjob_trainer.search_space.portfolio import seeds

# Convergence and ill-conditioned columns are the pipelines' own affair; a deprecation is not.
pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
    pytest.mark.filterwarnings("error::FutureWarning"),
    pytest.mark.filterwarnings("error::DeprecationWarning"),
]


def failure(spec, table, target, metric) -> str | None:
    """Fit on the first half and score on the second, as one fold of two."""
    half = len(table) // 2
    try:
        fitted = build(spec).fit(table[:half], target[:half])
        score = get_scorer(metric)(fitted, table[half:], target[half:])
    except Exception as error:  # noqa: BLE001 - any failure makes a pipeline invalid
        return f"{summarize(spec)}: {error!r:.200}"
    return None if np.isfinite(score) else f"{summarize(spec)}: {score}"


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("preset", ["linear", "linear-light", "graph", "graph-light"])
def test_generated_and_bred_pipelines_are_valid(preset, task, compiled, contexts, tables):
    space, context, rng = compiled(preset, task), contexts[task], np.random.default_rng(11)
    table, target = tables[task]
    pool = [seed.individual for seed in seeds(context, space)]
    failures = []
    for number in range(24):
        if number < 12:
            child = space.generate(rng)
        else:
            child = breed([pool[place] for place in rng.integers(len(pool), size=1 + number % 2)], rng)
        pool.append(child)
        metric = "r2" if task == "regression" else ("accuracy", "roc_auc_ovr")[number % 2]
        failures.append(failure(translate(child, context), table, target, metric))
    found = [item for item in failures if item]
    assert len(found) <= 1, "\n".join(found)


@pytest.mark.parametrize(
    "labels", [np.array([False, True]), np.array([7, 3]), np.array(["no", "yes"], dtype=object)]
)
def test_classifiers_take_any_labels(labels, compiled, contexts, tables):
    space, rng = compiled("classifiers", "classification"), np.random.default_rng(2)
    table, target = tables["classification"]
    two = labels[(target == "low").astype(int)]
    seen: set[str] = set()
    for _ in range(60):
        spec = translate(space.generate(rng), contexts["classification"])
        name = summarize(spec).partition("(")[0]
        if name not in seen:
            seen.add(name)
            fitted = unfitted(build(spec)).fit(table, two)
            assert set(fitted.predict(table)) <= set(labels.tolist()), name
    assert len(seen) > 10
