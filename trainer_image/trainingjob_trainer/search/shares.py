"""How much of the search each operator and each model family gets: by what it has gained so far.

A child gains if it is better than its first parent, or for a new pipeline, than the parent that was drawn
beside it. The shares are the means of Beta posteriors, so an arm that has never gained keeps a part of its
share (probability matching; Goldberg, "Probability matching, the magnitude of reinforcement, and classifier
system bidding", 1990). They depend on committed results alone.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trainingjob_trainer.search.candidate import Candidate

__all__ = ["Trial", "diverse", "shares"]

_GAINS: Final = 1.0
_TRIALS: Final = 4.0
"""What each arm is credited with before its first trial."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One child: how it was made, the family of its first parent, and whether it was better than that."""

    operator: str
    family: str
    gained: bool


def shares(prior: Mapping[str, float], trials: Iterable[tuple[str, bool]]) -> NDArray[np.float64]:
    """Return the share of each arm of `prior`, in its order; their sum is 1."""
    tried: Counter[str] = Counter()
    gained: Counter[str] = Counter()
    for arm, success in trials:
        tried[arm] += 1
        gained[arm] += success
    values = np.array(
        [weight * (_GAINS + gained[arm]) / (_TRIALS + tried[arm]) for arm, weight in prior.items()]
    )
    return np.asarray(values / values.sum(), dtype=np.float64)


def diverse(
    ranked: Sequence[Candidate], families: Mapping[int, str], *, most: int, share: float
) -> list[Candidate]:
    """Return the best of some results as parents, best first.

    A family has at most a `share` of the places, or two, unless the others cannot fill the rest. Results of a
    family with the same fold scores behave alike and count once.

    Parameters
    ----------
    families
        By the number of the candidate.
    """
    allowed = max(2, round(share * most))
    taken: Counter[str] = Counter()
    behaviours: set[tuple[str, tuple[float, ...]]] = set()
    kept: list[Candidate] = []
    spare: list[Candidate] = []
    for candidate in ranked:
        family = families[candidate.number]
        if candidate.fold_scores:
            behaviour = (family, candidate.fold_scores)
            if behaviour in behaviours:
                continue
            behaviours.add(behaviour)
        if taken[family] < allowed:
            taken[family] += 1
            kept.append(candidate)
        else:
            spare.append(candidate)
        if len(kept) == most:
            return kept
    place = {candidate.number: place for place, candidate in enumerate(ranked)}
    return sorted([*kept, *spare[: most - len(kept)]], key=lambda candidate: place[candidate.number])
