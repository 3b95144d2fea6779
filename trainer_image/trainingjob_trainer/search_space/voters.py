"""Ensembles as data: members with their weights, and the estimator that averages them.

An ensemble's spec is that of scikit-learn's ``VotingClassifier`` or ``VotingRegressor`` with ``weights``.
Its members are roots: each may have an encoding of its own. No search breeds it, so `pipeline.build` refuses
it, and so does a journal.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sklearn.base import clone
from sklearn.ensemble import VotingClassifier, VotingRegressor
from sklearn.pipeline import Pipeline

from trainingjob_trainer.encodings import Encoding
from trainingjob_trainer.search_space.pipeline import PipelineSpec, build, encoding_of, members_of, named

__all__ = ["ensemble_of", "full_pipeline"]

_CLASSIFIER = "VotingClassifier"


def ensemble_of(
    members: Sequence[PipelineSpec], weights: Sequence[int], *, classification: bool
) -> PipelineSpec:
    """Return the description of a weighted average of pipelines: of their probabilities if they classify."""
    kind = {"class": _CLASSIFIER, "voting": "soft"} if classification else {"class": "VotingRegressor"}
    return {**kind, "weights": list(weights), "members": list(members)}


def full_pipeline(spec: PipelineSpec, encoders: Mapping[Encoding, Any]) -> Any:
    """Return the unfitted estimator of a pipeline or an ensemble that takes the raw table.

    Members of an ensemble that have the same encoding share its encoder.
    """
    parts = members_of(spec)
    if not parts:
        return _encoded(encoders[encoding_of(spec)], build(spec))
    groups: dict[Encoding, list[tuple[Any, int]]] = {}
    for member, weight in parts:
        groups.setdefault(encoding_of(member), []).append((build(member), weight))
    together = [
        (_encoded(encoders[encoding], _vote(spec, group)), sum(weight for _, weight in group))
        for encoding, group in groups.items()
    ]
    return _vote(spec, together)


def _encoded(encoder: Any, model: Any) -> Pipeline:
    return Pipeline([("encode", clone(encoder)), ("model", model)])


def _vote(spec: PipelineSpec, parts: Sequence[tuple[Any, int]]) -> Any:
    """Return the average of estimators, or the only one."""
    estimators, weights = zip(*parts, strict=True)
    if len(parts) == 1:
        return estimators[0]
    if spec["class"] == _CLASSIFIER:
        return VotingClassifier(named(list(estimators)), voting="soft", weights=list(weights))
    return VotingRegressor(named(list(estimators)), weights=list(weights))
