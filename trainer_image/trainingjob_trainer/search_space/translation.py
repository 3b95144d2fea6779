"""A TPOT individual to plain scikit-learn.

What is scored is what ships: the individual is exported, TPOT's own classes are replaced, steps that would
fail or never end are repaired, and the result is a `PipelineSpec` over the allow-list.
"""

from typing import Any, Final

from sklearn.pipeline import FeatureUnion, Pipeline
from tpot import GraphPipeline

from trainingjob_trainer.errors import SpecInvalid
from trainingjob_trainer.search_space.catalogue import CATALOGUE
from trainingjob_trainer.search_space.context import SpaceContext, Untranslatable
from trainingjob_trainer.search_space.feature_sets import columns_step
from trainingjob_trainer.search_space.pipeline_spec import (
    PASSTHROUGH,
    PipelineSpec,
    describe,
    fingerprint,
)
from trainingjob_trainer.search_space.repairs import finish, repair
from trainingjob_trainer.search_space.replacements import REPLACED, Steps, replace
from trainingjob_trainer.search_space.widths import Width

__all__ = ["MAX_STEPS", "translate"]

MAX_STEPS: Final = 64
"""The most estimators of a translated pipeline; a graph that shares nodes grows when it is unfolded."""


def translate(individual: Any, context: SpaceContext) -> PipelineSpec:
    """Return the plain pipeline of an individual.

    Parameters
    ----------
    individual
        A TPOT ``SklearnIndividual``.
    context
        The problem.

    Raises
    ------
    Untranslatable
        It holds something off the allow-list, has no predictor at its end, or grows too large.
    """
    steps, _ = _translated(individual.export_pipeline(), Width.of_table(context), context, previous=None)
    if not steps or (steps[-1]["class"] not in {"VotingClassifier"} and not _predictor(steps[-1])):
        raise Untranslatable("The pipeline does not end in a classifier or regressor.")
    spec = finish(_chain(steps), context)
    if _size(spec) > MAX_STEPS:
        raise Untranslatable(f"The pipeline has more than {MAX_STEPS} estimators once its graph is unfolded.")
    return spec


def _predictor(spec: PipelineSpec) -> bool:
    found = CATALOGUE.get(spec["class"])
    return found is not None and found.predictor


def _chain(steps: list[PipelineSpec]) -> PipelineSpec:
    if not steps:
        return dict(PASSTHROUGH)
    return steps[0] if len(steps) == 1 else {"class": "Pipeline", "steps": steps}


def _size(spec: PipelineSpec) -> int:
    parts = [*spec.get("steps", ()), *spec.get("members", ())]
    return sum(_size(part) for part in parts) if parts else 1


def _translated(part: Any, width: Width, context: SpaceContext, previous: PipelineSpec | None) -> Steps:
    """Return the steps that stand for *part*, given the step before it and the width that reaches it."""
    if isinstance(part, Pipeline):
        steps: list[PipelineSpec] = []
        for _, step in part.steps:
            made, width = _translated(step, width, context, steps[-1] if steps else previous)
            steps += made
        return steps, width
    if isinstance(part, FeatureUnion):
        return _union([member for _, member in part.transformer_list], width, context, previous)
    if isinstance(part, GraphPipeline):
        return _unfolded(part, part.root, width, context, previous, [0])
    name = type(part).__name__
    if name == "FeatureSetSelector":
        return columns_step(part.sel_subset, context)
    if name in REPLACED:
        return replace(name, part.get_params(deep=False), width, context)
    try:
        spec = describe(part)
    except (SpecInvalid, TypeError) as error:
        raise Untranslatable(str(error)) from error
    return repair(spec, width, context, previous)


def _skipped(part: Any) -> bool:
    """Tell whether a member of a union gives no column."""
    if isinstance(part, Pipeline):
        return any(_skipped(step) for _, step in part.steps)
    if isinstance(part, FeatureUnion):
        return all(_skipped(member) for _, member in part.transformer_list)
    return type(part).__name__ == "SkipTransformer"


def _union(members: list[Any], width: Width, context: SpaceContext, previous: PipelineSpec | None) -> Steps:
    """Set the members side by side, each kind once; with none left, the columns stay as they are."""
    made: dict[str, tuple[list[PipelineSpec], Width]] = {}
    for member in members:
        if not _skipped(member):
            steps, given = _translated(member, width, context, previous)
            made.setdefault(fingerprint(_chain(steps)), (steps, given))
    return _side_by_side(list(made.values()), width)


def _side_by_side(made: list[Steps], width: Width) -> Steps:
    if not made:
        return [], width
    if len(made) == 1:
        return made[0]
    members: dict[str, PipelineSpec] = {}
    count = 0
    for steps, _ in made:
        inner = _chain(steps)
        parts = inner["members"] if inner["class"] == "FeatureUnion" else [inner]
        count += len(parts)
        members.update((fingerprint(part), part) for part in parts)
    width = Width.beside(given for _, given in made)
    if len(members) < count:  # some columns would have been there twice
        width = Width(max(given.least for _, given in made), width.most)
    return [{"class": "FeatureUnion", "members": list(members.values())}], width


def _unfolded(
    graph: GraphPipeline, node: str, width: Width, context: SpaceContext, previous: PipelineSpec | None, count: list[int]
) -> Steps:
    """Unfold a graph from its root: a node's inputs side by side, then the node."""
    count[0] += 1
    if count[0] > MAX_STEPS:
        raise Untranslatable(f"The graph has more than {MAX_STEPS} nodes once it is unfolded.")
    inputs: list[PipelineSpec] = []
    children = sorted(graph.graph.successors(node))
    if children:
        made: dict[str, tuple[list[PipelineSpec], Width]] = {}
        for child in children:
            steps, given = _unfolded(graph, child, width, context, previous, count)
            made.setdefault(fingerprint(_chain(steps)), (steps, given))
        inputs, width = _side_by_side(list(made.values()), width)
    before = inputs[-1] if inputs else previous
    steps, width = _translated(graph.graph.nodes[node]["instance"], width, context, before)
    return [*inputs, *steps], width


