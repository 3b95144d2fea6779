"""The individual of evolution: TPOT's individual with the encoding of its pipeline.

What is scored is what ships: `translate` exports the individual, replaces TPOT's own classes, repairs steps
that would fail or never end, and returns a `PipelineSpec` over the allow-list.
"""

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

import numpy as np
from sklearn.pipeline import FeatureUnion, Pipeline
from tpot import GraphPipeline

from trainingjob_trainer.encodings import Encoding
from trainingjob_trainer.errors import SpecInvalid
from trainingjob_trainer.search_space.allow_list import CATALOGUE
from trainingjob_trainer.search_space.context import SpaceContext, Untranslatable, Width
from trainingjob_trainer.search_space.pipeline import (
    PASSTHROUGH,
    PipelineSpec,
    describe,
    fingerprint,
    with_encoding,
)
from trainingjob_trainer.search_space.tpot_fixes.ranges import refined
from trainingjob_trainer.search_space.tpot_fixes.repairs import finish, repair
from trainingjob_trainer.search_space.tpot_fixes.spaces import FixedEstimatorIndividual
from trainingjob_trainer.search_space.tpot_fixes.transformers import REPLACED, Steps, replaced

_ATTEMPTS: Final = 8
_MUTATE_AFTER_CROSSOVER: Final = 0.3
_REFINE_ANOTHER_STEP: Final = 0.2
_WEIGHTS: Final = {Encoding.TARGET: 3.0, Encoding.DENSE: 2.0}
MAX_STEPS: Final = 64
"""The most estimators of a translated pipeline; a graph that shares nodes grows when it is unfolded."""


class Operator(StrEnum):
    """How a pipeline is made."""

    REFINE = "refine"
    """A step or two of the hyperparameters of one estimator, the predictor in most cases."""
    MUTATE = "mutate"
    """TPOT's mutation: a step is added, removed, replaced or drawn again."""
    CROSS = "cross"
    """TPOT's crossover of two parents."""
    ENCODE = "encode"
    """Another encoding of the table."""
    NEW = "new"
    """Drawn from the search space."""


@dataclass(frozen=True, slots=True)
class Individual:
    """An individual of TPOT, the encoding of its matrix, and the encodings that the table has."""

    tree: Any
    encoding: Encoding = Encoding.DENSE
    encodings: tuple[Encoding, ...] = (Encoding.DENSE,)


def random_encoding(encodings: Sequence[Encoding], rng: np.random.Generator) -> Encoding:
    """Return an encoding at random; those that win more often are drawn more often."""
    weights = np.array([_WEIGHTS.get(encoding, 1.0) for encoding in encodings])
    return encodings[rng.choice(len(encodings), p=weights / weights.sum())]


def clone(individual: Individual) -> Individual:
    """Return a copy that can be changed; the search spaces that it refers to are shared."""
    return replace(individual, tree=copy.deepcopy(individual.tree))


def breed(
    parents: Sequence[Individual], rng: np.random.Generator, operator: Operator = Operator.MUTATE
) -> Individual:
    """Return a child of one or two parents, which stay as they are.

    It has the encoding of the first parent, unless the operator changes that. Two parents are crossed, and
    sometimes mutated too. Where the operator cannot change the first parent, it is mutated.
    """
    if len(parents) not in {1, 2}:
        raise ValueError("A child has one parent or two.")
    first = parents[0]
    others = [encoding for encoding in first.encodings if encoding is not first.encoding]
    if operator is Operator.ENCODE and others:
        return replace(clone(first), encoding=random_encoding(others, rng))
    before = first.tree.unique_id()
    child = clone(first)
    for _ in range(_ATTEMPTS):
        child = clone(first)
        if len(parents) == 2:  # noqa: PLR2004
            changed = bool(child.tree.crossover(clone(parents[1]).tree, rng=rng))
        else:
            changed = operator is Operator.REFINE and _refine(child.tree, rng)
        if not changed or (len(parents) == 2 and rng.random() < _MUTATE_AFTER_CROSSOVER):  # noqa: PLR2004
            child.tree.mutate(rng=rng)
        if child.tree.unique_id() != before:
            return child
    return child


def _refine(tree: Any, rng: np.random.Generator) -> bool:
    """Take a small step in the hyperparameters of one estimator; False if none has any."""
    nodes = [node for node in _estimators(tree) if not isinstance(node.space, dict) and len(node.space)]
    if not nodes:
        return False
    number = rng.integers(len(nodes)) if rng.random() < _REFINE_ANOTHER_STEP else len(nodes) - 1
    node = nodes[number]
    node.hyperparameters = refined(node.hyperparameters, node.space, rng)
    return True


def _estimators(part: Any) -> Iterator[FixedEstimatorIndividual]:
    """Yield the estimators of an individual in TPOT's order, the predictor last."""
    parts: list[Any] = []
    if isinstance(part, FixedEstimatorIndividual):
        yield part
    elif hasattr(part, "graph"):
        parts = [*(node for node in part.graph.nodes if node is not part.root), part.root]
    elif hasattr(part, "pipeline"):
        parts = part.pipeline
    elif hasattr(part, "union_dict"):
        parts = list(part.union_dict.values())
    elif hasattr(part, "node"):
        parts = [part.node]
    for inner in parts:
        yield from _estimators(inner)


def translate(individual: Individual, context: SpaceContext) -> PipelineSpec:
    """Return the plain pipeline of an individual.

    Raises `Untranslatable` if it holds something off the allow-list, has no predictor at its end, or grows
    too large.
    """
    context = context.encoded(individual.encoding.value)
    steps, _ = _Translator(context).steps(individual.tree.export_pipeline(), Width.of_table(context), None)
    last = steps[-1]["class"] if steps else ""
    if last != "VotingClassifier" and not (last in CATALOGUE and CATALOGUE[last].predictor):
        raise Untranslatable("The pipeline does not end in a classifier or regressor.")
    spec = finish(_chain(steps), context)
    if _size(spec) > MAX_STEPS:
        raise Untranslatable(f"The pipeline has more than {MAX_STEPS} estimators once its graph is unfolded.")
    return with_encoding(spec, individual.encoding)


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
            steps: list[PipelineSpec] = []
            for _, step in part.steps:
                made, width = self.steps(step, width, steps[-1] if steps else previous)
                steps += made
            return steps, width
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
            return replaced(name, part.get_params(deep=False), width, self.context)
        try:
            spec = describe(part)
        except (SpecInvalid, TypeError) as error:
            raise Untranslatable(str(error)) from error
        return repair(spec, width, self.context, previous)

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
    if len(made) <= 1:
        return made[0] if made else ([], width)
    parts: list[PipelineSpec] = []
    for steps, _ in made:
        inner = _chain(steps)
        parts += inner["members"] if inner["class"] == "FeatureUnion" else [inner]
    members = list({fingerprint(part): part for part in parts}.values())
    width = Width.beside([given for _, given in made])
    if len(members) < len(parts):  # some columns would have been there twice
        width = Width(max(given.least for _, given in made), width.most)
    if len(members) > 1:
        return [{"class": "FeatureUnion", "members": members}], width
    only = members[0]
    if only["class"] == "passthrough":
        return [], width
    return list(only["steps"]) if only["class"] == "Pipeline" else [only], width


def _columns_step(columns: Iterable[str], context: SpaceContext) -> Steps:
    """Return the step that keeps the encoded columns of some raw columns.

    The encoder names the columns made of its i-th raw column ``c<i>__…``.
    """
    numbers = sorted({context.columns.index(name) for name in columns})
    pattern = f"^c(?:{'|'.join(map(str, numbers))})__"
    member = {"pattern": pattern, "estimator": dict(PASSTHROUGH)}
    width = Width(len(numbers), max(len(numbers), Width.of_table(context).most))
    return [{"class": "ColumnTransformer", "members": [member]}], width
