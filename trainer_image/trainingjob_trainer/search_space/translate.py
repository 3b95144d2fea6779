"""A TPOT individual to plain scikit-learn.

What is scored is what ships: the individual is exported, TPOT's own classes are replaced, steps that would
fail or never end are repaired, and the result is a `PipelineSpec` over the allow-list.
"""

from collections.abc import Iterable
from typing import Any, Final

from sklearn.pipeline import FeatureUnion, Pipeline
from tpot import GraphPipeline

from trainingjob_trainer.errors import SpecInvalid
from trainingjob_trainer.search_space.allow_list import CATALOGUE
from trainingjob_trainer.search_space.context import SpaceContext, Untranslatable, Width
from trainingjob_trainer.search_space.individual import Individual
from trainingjob_trainer.search_space.pipeline import (
    PASSTHROUGH,
    PipelineSpec,
    describe,
    fingerprint,
    with_encoding,
)
from trainingjob_trainer.search_space.tpot_fixes.repairs import finish, repair
from trainingjob_trainer.search_space.tpot_fixes.transformers import REPLACED, Steps, replace

__all__ = ["MAX_STEPS", "translate"]

MAX_STEPS: Final = 64
"""The most estimators of a translated pipeline; a graph that shares nodes grows when it is unfolded."""


def translate(individual: Individual, context: SpaceContext) -> PipelineSpec:
    """Return the plain pipeline of an individual.

    Raises
    ------
    Untranslatable
        It holds something off the allow-list, has no predictor at its end, or grows too large.
    """
    context = context.encoded(individual.encoding.value)
    steps, _ = _Translator(context).steps(individual.tree.export_pipeline(), Width.of_table(context), None)
    if not steps or not _predicts(steps[-1]):
        raise Untranslatable("The pipeline does not end in a classifier or regressor.")
    spec = finish(_chain(steps), context)
    if _size(spec) > MAX_STEPS:
        raise Untranslatable(f"The pipeline has more than {MAX_STEPS} estimators once its graph is unfolded.")
    return with_encoding(spec, individual.encoding)


def _predicts(spec: PipelineSpec) -> bool:
    found = CATALOGUE.get(spec["class"])
    return spec["class"] == "VotingClassifier" or (found is not None and found.predictor)


def _chain(steps: list[PipelineSpec]) -> PipelineSpec:
    if not steps:
        return dict(PASSTHROUGH)
    return steps[0] if len(steps) == 1 else {"class": "Pipeline", "steps": steps}


def _size(spec: PipelineSpec) -> int:
    parts = [*spec.get("steps", ()), *spec.get("members", ())]
    return sum(_size(part) for part in parts) if parts else 1


class _Translator:
    """Walks an exported pipeline; each step is given the one before it and the width that reaches it."""

    def __init__(self, context: SpaceContext) -> None:
        self.context = context
        self.nodes = 0

    def steps(self, part: Any, width: Width, previous: PipelineSpec | None) -> Steps:
        """Return the steps of *part*."""
        if isinstance(part, Pipeline):
            return self._pipeline([step for _, step in part.steps], width, previous)
        if isinstance(part, FeatureUnion):
            members = [member for _, member in part.transformer_list if not _skipped(member)]
            return _side_by_side([self.steps(member, width, previous) for member in members], width)
        if isinstance(part, GraphPipeline):
            return self._unfolded(part, part.root, width, previous)
        name = type(part).__name__
        if name == "FeatureSetSelector":
            if previous is not None:
                raise Untranslatable("A feature set chooses raw columns, and a step before it made others.")
            return _columns_step(part.sel_subset, self.context)
        if name in REPLACED:
            return replace(name, part.get_params(deep=False), width, self.context)
        try:
            spec = describe(part)
        except (SpecInvalid, TypeError) as error:
            raise Untranslatable(str(error)) from error
        return repair(spec, width, self.context, previous)

    def _pipeline(self, parts: list[Any], width: Width, previous: PipelineSpec | None) -> Steps:
        steps: list[PipelineSpec] = []
        for part in parts:
            made, width = self.steps(part, width, steps[-1] if steps else previous)
            steps += made
        return steps, width

    def _unfolded(self, graph: Any, node: str, width: Width, previous: PipelineSpec | None) -> Steps:
        """Unfold a graph from its root: a node's inputs side by side, then the node."""
        self.nodes += 1
        if self.nodes > MAX_STEPS:
            raise Untranslatable(f"The graph has more than {MAX_STEPS} nodes once it is unfolded.")
        inputs: list[PipelineSpec] = []
        children = sorted(graph.graph.successors(node))
        if children:
            made = [self._unfolded(graph, child, width, previous) for child in children]
            inputs, width = _side_by_side(made, width)
        before = inputs[-1] if inputs else previous
        steps, width = self.steps(graph.graph.nodes[node]["instance"], width, before)
        return [*inputs, *steps], width


def _skipped(part: Any) -> bool:
    """Return whether a member of a union gives no column."""
    if isinstance(part, Pipeline):
        return any(_skipped(step) for _, step in part.steps)
    if isinstance(part, FeatureUnion):
        return all(_skipped(member) for _, member in part.transformer_list)
    return type(part).__name__ == "SkipTransformer"


def _side_by_side(made: list[Steps], width: Width) -> Steps:
    """Join tables by columns, equal tables once; without tables, the columns stay unchanged."""
    if not made:
        return [], width
    members: dict[str, PipelineSpec] = {}
    count = 0
    for steps, _ in made:
        inner = _chain(steps)
        parts = inner["members"] if inner["class"] == "FeatureUnion" else [inner]
        count += len(parts)
        members.update((fingerprint(part), part) for part in parts)
    if len(made) == 1:
        return made[0]
    width = Width.beside(given for _, given in made)
    if len(members) < count:  # some columns would have been there twice
        width = Width(max(given.least for _, given in made), width.most)
    parts = list(members.values())
    return ([{"class": "FeatureUnion", "members": parts}] if len(parts) > 1 else _links(parts[0])), width


def _links(spec: PipelineSpec) -> list[PipelineSpec]:
    """Return the steps of a chain."""
    if spec["class"] == "passthrough":
        return []
    return list(spec["steps"]) if spec["class"] == "Pipeline" else [spec]


def _columns_step(columns: Iterable[str], context: SpaceContext) -> Steps:
    """Return the step that keeps the encoded columns of some raw columns.

    The encoder names the columns made of its i-th raw column ``c<i>__…``.
    """
    names = [columns] if isinstance(columns, str) else [str(name) for name in columns]
    unknown = [name for name in names if name not in context.columns]
    if unknown or not names:
        raise Untranslatable(
            f"The feature set names columns that the table lacks: {', '.join(unknown)[:200]}."
        )
    numbers = sorted({context.columns.index(name) for name in names})
    pattern = f"^c(?:{'|'.join(map(str, numbers))})__"
    member = {"pattern": pattern, "estimator": dict(PASSTHROUGH)}
    width = Width(len(numbers), max(len(numbers), Width.of_table(context).most))
    return [{"class": "ColumnTransformer", "members": [member]}], width
