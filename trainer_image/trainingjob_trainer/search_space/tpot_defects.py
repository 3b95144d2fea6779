"""Defects of TPOT 1.1.0 and their mends, as subclasses of its search spaces.

`mend` rebuilds a search space out of the classes below; nothing of TPOT is changed in place. Each class
states its defect, and a test shows it on stock TPOT.
"""

from typing import Any, Final

import numpy as np
from tpot.search_spaces.base import SearchSpace
from tpot.search_spaces.nodes.estimator_node import EstimatorNode, EstimatorNodeIndividual
from tpot.search_spaces.nodes.fss_node import FSSIndividual, FSSNode
from tpot.search_spaces.pipelines.choice import ChoicePipeline, ChoicePipelineIndividual
from tpot.search_spaces.pipelines.dynamic_linear import DynamicLinearPipeline, DynamicLinearPipelineIndividual
from tpot.search_spaces.pipelines.dynamicunion import DynamicUnionPipeline, DynamicUnionPipelineIndividual
from tpot.search_spaces.pipelines.sequential import SequentialPipeline, SequentialPipelineIndividual
from tpot.search_spaces.pipelines.union import UnionPipeline, UnionPipelineIndividual
from tpot.search_spaces.pipelines.wrapper import WrapperPipeline, WrapperPipelineIndividual

from trainingjob_trainer.search_space.refining import Shared, refined

__all__ = [
    "MendedChoice",
    "MendedDynamicLinear",
    "MendedDynamicUnion",
    "MendedEstimator",
    "MendedFeatureSets",
    "MendedSequential",
    "MendedUnion",
    "MendedWrapper",
]


class MendedEstimatorIndividual(EstimatorNodeIndividual):
    """`mutate` of the original draws every hyperparameter anew, so that nothing is ever refined."""

    hyperparameters: Any

    def mutate(self, rng: Any = None) -> bool:
        """Refine the hyperparameters half of the time, and draw them anew otherwise."""
        rng = np.random.default_rng(rng)
        if isinstance(self.space, dict) or not len(self.space):
            return False
        if rng.random() < 0.5:  # noqa: PLR2004
            return bool(super().mutate(rng))
        self.hyperparameters = refined(self.hyperparameters, self.space, rng)
        return True


class MendedEstimator(Shared, EstimatorNode):
    """Makes `MendedEstimatorIndividual`."""

    def generate(self, rng: Any = None) -> MendedEstimatorIndividual:
        """Return a new individual."""
        return MendedEstimatorIndividual(
            self.method, self.space, hyperparameter_parser=self.hyperparameter_parser, rng=rng
        )


class MendedChoiceIndividual(ChoicePipelineIndividual):
    """`mutate` of the original reports failure where the chosen node has no hyperparameters."""

    def mutate(self, rng: Any = None) -> bool:
        """Change the node, or take another one where it cannot change."""
        rng = np.random.default_rng(rng)
        if rng.random() < 0.5 and self._mutate_node(rng):  # noqa: PLR2004
            return True
        return bool(self._mutate_select_new_node(rng))


class MendedChoice(Shared, ChoicePipeline):
    """Makes `MendedChoiceIndividual`."""

    def generate(self, rng: Any = None) -> MendedChoiceIndividual:
        """Return a new individual."""
        return MendedChoiceIndividual(self.search_spaces, rng=np.random.default_rng(rng))


class MendedSequentialIndividual(SequentialPipelineIndividual):
    """`mutate` of the original tries one step, and changes nothing where that step cannot change."""

    def mutate(self, rng: Any = None) -> bool:
        """Change one step, the first that can be changed in a random order."""
        rng = np.random.default_rng(rng)
        return any(self.pipeline[number].mutate(rng) for number in rng.permutation(len(self.pipeline)))


class MendedSequential(Shared, SequentialPipeline):
    """Makes `MendedSequentialIndividual`."""

    def generate(self, rng: Any = None) -> MendedSequentialIndividual:
        """Return a new individual."""
        return MendedSequentialIndividual(self.search_spaces, rng=np.random.default_rng(rng))


class MendedUnionIndividual(UnionPipelineIndividual):
    """The original cannot cross unions of one member, and its first member is never swapped."""

    def mutate(self, rng: Any = None) -> bool:
        """Change one member, the first that can be changed in a random order."""
        rng = np.random.default_rng(rng)
        return any(self.pipeline[number].mutate(rng) for number in rng.permutation(len(self.pipeline)))

    def _crossover_swap_node(self, other: Any, rng: Any) -> bool:
        place = np.random.default_rng(rng).integers(len(self.pipeline))
        self.pipeline[place], other.pipeline[place] = other.pipeline[place], self.pipeline[place]
        return True


class MendedUnion(Shared, UnionPipeline):
    """Makes `MendedUnionIndividual`."""

    def generate(self, rng: Any = None) -> MendedUnionIndividual:
        """Return a new individual."""
        return MendedUnionIndividual(self.search_spaces, rng=np.random.default_rng(rng))


class MendedDynamicUnionIndividual(DynamicUnionPipelineIndividual):
    """The original never starts with as many members as allowed, and fails where one is allowed."""

    def __init__(self, search_space: SearchSpace, max_estimators: int, rng: Any) -> None:
        rng = np.random.default_rng(rng)
        super().__init__(search_space, max_estimators=max(2, max_estimators), rng=rng)
        self.max_estimators = max_estimators
        for _ in range(int(rng.integers(0, max_estimators)) - len(self.union_dict) + 1):
            self._mutate_add_step(rng)

    def mutate(self, rng: Any = None) -> bool:
        """Add, remove, replace or change a member."""
        return bool(super().mutate(np.random.default_rng(rng)))

    def crossover(self, other: Any, rng: Any = None) -> bool:
        """Swap or cross members, and drop those beyond the limit."""
        changed = bool(super().crossover(other, rng))
        for one in (self, other):
            one.union_dict = dict(list(one.union_dict.items())[: one.max_estimators])
        return changed

    def unique_id(self) -> str:
        """Return the members in alphabetical order; the original's set has none, and differs by process."""
        return (
            f"FeatureUnion({', '.join(sorted(str(step.unique_id()) for step in self.union_dict.values()))})"
        )


class MendedDynamicUnion(Shared, DynamicUnionPipeline):
    """Makes `MendedDynamicUnionIndividual`; TPOT's unions without a limit get one of *limit* members."""

    limit: Final = 4

    def generate(self, rng: Any = None) -> MendedDynamicUnionIndividual:
        """Return a new individual."""
        return MendedDynamicUnionIndividual(self.search_space, self.max_estimators or self.limit, rng)


class MendedDynamicLinearIndividual(DynamicLinearPipelineIndividual):
    """The original fails where one step is allowed, and does not report that it added or removed one."""

    def _generate_pipeline(self, rng: Any = None) -> list[Any]:
        rng = np.random.default_rng(rng)
        length = min(int(rng.integers(1, self.max_length + 1)), 3)
        return [self.search_space.generate(rng) for _ in range(length)]

    def mutate(self, rng: Any = None) -> bool:
        """Add, remove or change a step."""
        super().mutate(np.random.default_rng(rng))
        return True


class MendedDynamicLinear(Shared, DynamicLinearPipeline):
    """Makes `MendedDynamicLinearIndividual`."""

    def generate(self, rng: Any = None) -> MendedDynamicLinearIndividual:
        """Return a new individual."""
        return MendedDynamicLinearIndividual(
            self.search_space, self.max_length, rng=np.random.default_rng(rng)
        )


class MendedWrapperIndividual(WrapperPipelineIndividual):
    """`crossover` of the original hands the inner estimator a search space, so that it never happens."""

    def crossover(self, other: Any, rng: Any = None) -> bool:
        """Cross the hyperparameters or the inner estimators."""
        rng = np.random.default_rng(rng)
        if rng.random() < 0.5 and self._crossover_hyperparameters(other, rng):  # noqa: PLR2004
            return True
        return bool(self.node.crossover(other.node, rng))

    def mutate(self, rng: Any = None) -> bool:
        """Change the hyperparameters or the inner estimator."""
        rng = np.random.default_rng(rng)
        first, second = self._mutate_hyperparameters, self._mutate_node
        if rng.random() < 0.5:  # noqa: PLR2004
            first, second = second, first
        return bool(first(rng) or second(rng))


class MendedWrapper(Shared, WrapperPipeline):
    """Makes `MendedWrapperIndividual`."""

    def generate(self, rng: Any = None) -> MendedWrapperIndividual:
        """Return a new individual."""
        return MendedWrapperIndividual(
            method=self.method,
            space=self.space,
            estimator_search_space=self.estimator_search_space,
            hyperparameter_parser=self.hyperparameter_parser,
            rng=np.random.default_rng(rng),
        )


class MendedFeatureSetsIndividual(FSSIndividual):
    """`mutate` of the original fails where there is one set, and reports no success."""

    def mutate(self, rng: Any = None) -> bool:
        """Take another set."""
        if len(self.names_list) < 2:  # noqa: PLR2004
            return False
        super().mutate(np.random.default_rng(rng))
        return True

    def crossover(self, other: Any, rng: Any = None) -> bool:
        """Take the set of *other*."""
        super().crossover(other, rng)
        return True


class MendedFeatureSets(Shared, FSSNode):
    """Makes `MendedFeatureSetsIndividual`."""

    def generate(self, rng: Any = None) -> MendedFeatureSetsIndividual:
        """Return a new individual."""
        return MendedFeatureSetsIndividual(subsets=self.subsets, rng=np.random.default_rng(rng))
