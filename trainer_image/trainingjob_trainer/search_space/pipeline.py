"""Pipelines and ensembles as data: describe an estimator, build it again, name it by its content, in words.

A `PipelineSpec` is JSON: ``{"class": name, "params": {…}}`` for an estimator, and a node with ``steps`` or
``members`` for Pipeline, FeatureUnion, ColumnTransformer and VotingClassifier. Only parameters that differ
from their defaults are written. `build` looks every name up in the allow-list.

The root alone may have the key ``encoding``, which names the encoder that makes the pipeline's matrix;
without it, that is the dense one.

An ensemble's spec is that of a ``VotingClassifier`` or ``VotingRegressor`` with ``weights``; its members are
roots. No search breeds it, so `build` and a journal refuse it.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

from sklearn.base import clone
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.ensemble import VotingClassifier, VotingRegressor
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline, make_union

from trainingjob_api import Reason, shorten
from trainingjob_trainer.encodings import Encoding
from trainingjob_trainer.errors import SpecInvalid
from trainingjob_trainer.search_space.allow_list import defaults, entry
from trainingjob_trainer.search_space.parameters import check_described, decode_value, encode_value

PipelineSpec: TypeAlias = dict[str, Any]

PASSTHROUGH: Final[PipelineSpec] = {"class": "passthrough"}
"""The step or member that changes nothing."""

ROUNDS: Final[Mapping[str, str]] = {
    f"{booster}{kind}": parameter
    for booster, parameter in (
        ("CatBoost", "n_estimators"),
        ("HistGradientBoosting", "max_iter"),
        ("LGBM", "n_estimators"),
        ("XGB", "n_estimators"),
    )
    for kind in ("Classifier", "Regressor")
}
"""The parameter of each booster that holds its number of rounds."""

_ENCODING: Final = "encoding"
_MAX_DEPTH: Final = 40
_FEATURE_SET: Final = re.compile(r"\^c\(\?:\d{1,6}(?:\|\d{1,6})*\)__")
"""The encoded columns of some raw ones; any other pattern could take forever to match."""


def leaf(name: str, **params: Any) -> PipelineSpec:
    """Return the description of one estimator of the allow-list."""
    return {"class": name, "params": params} if params else {"class": name}


def encoding_of(spec: PipelineSpec) -> Encoding:
    """Return the encoding of a pipeline's matrix; raises `SpecInvalid` if it is unknown or needless."""
    if _ENCODING not in spec:
        return Encoding.DENSE
    name = spec[_ENCODING]
    if not isinstance(name, str) or name not in set(Encoding) - {Encoding.DENSE}:
        raise SpecInvalid(Reason.UNKNOWN_VALUE, f"A pipeline's description has the encoding {name!r:.80}.")
    return Encoding(name)


def with_encoding(spec: PipelineSpec, encoding: Encoding) -> PipelineSpec:
    """Return the description of a pipeline with an encoding, in the only form that it has."""
    model = {key: value for key, value in spec.items() if key != _ENCODING}
    return model if encoding is Encoding.DENSE else {**model, _ENCODING: encoding.value}


def rounds_of(spec: PipelineSpec) -> int | None:
    """Return the boosting rounds that a pipeline's last step is given; None where it has none of its own."""
    match spec:
        case {"steps": [*_, last]} | {"members": [last]}:
            return rounds_of(last)
        case {"class": str(name), "params": {**params}} if name in ROUNDS:
            found = params.get(ROUNDS[name])
            return found if isinstance(found, int) else None
    return None


def with_rounds(spec: PipelineSpec, rounds: int | None) -> PipelineSpec:
    """Return a pipeline whose last step takes that many rounds; the same pipeline if `rounds` is None."""
    if rounds is None:
        return spec
    match spec:
        case {"steps": [*before, last]}:
            return {**spec, "steps": [*before, with_rounds(last, rounds)]}
        case {"members": [only]}:
            return {**spec, "members": [with_rounds(only, rounds)]}
        case {"class": str(name)} if name in ROUNDS:
            own: dict[str, Any] = {ROUNDS[name]: rounds}
            if ROUNDS[name] == "max_iter":
                own["early_stopping"] = False  # its default stops early on rows of its own
            return {**spec, "params": {**spec.get("params", {}), **own}}
    return spec


def describe(estimator: Any) -> PipelineSpec:
    """Return the description of an estimator; raises `SpecInvalid` if a part is not on the allow-list."""
    if isinstance(estimator, str) and estimator == "passthrough":
        return dict(PASSTHROUGH)
    if isinstance(estimator, Pipeline):
        return {"class": "Pipeline", "steps": [describe(step) for _, step in estimator.steps]}
    if isinstance(estimator, FeatureUnion):
        members = [describe(member) for _, member in estimator.transformer_list]
        return {"class": "FeatureUnion", "members": members}
    if isinstance(estimator, VotingClassifier):
        members = [describe(member) for _, member in estimator.estimators]
        return {"class": "VotingClassifier", "voting": estimator.voting, "members": members}
    if isinstance(estimator, ColumnTransformer):
        members = [
            {"pattern": columns.pattern, "estimator": describe(part)}
            for _, part, columns in estimator.transformers
        ]
        return {"class": "ColumnTransformer", "members": members}
    cls: Any = type(estimator)
    found = entry(cls.__name__)
    if found.cls is not cls:
        raise SpecInvalid(Reason.UNKNOWN_ESTIMATOR, f"{cls.__qualname__} is not the class of that name.")
    usual = defaults(found.cls)  # xgboost and lightgbm also take undeclared parameters
    given = estimator.get_params(deep=False).items()
    params = {
        name: encode_value(item, describe)
        for name, item in given
        if name in usual and item is not usual[name]
    }
    return leaf(found.name, **changed(found.cls, params))


def changed(cls: type, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters that differ from the defaults of a class, in alphabetical order."""
    usual = defaults(cls)
    return {
        name: params[name]
        for name in sorted(params)
        if name not in usual or _canonical(params[name]) != _canonical(encode_value(usual[name], describe))
    }


def build(spec: PipelineSpec) -> Any:
    """Return the unfitted estimator that *spec* describes; it takes the encoded matrix.

    Raises `SpecInvalid` if a class, parameter, value or encoding is off the allow-list, or the form is wrong.
    """
    if isinstance(spec, dict) and _ENCODING in spec:
        encoding_of(spec)
        spec = with_encoding(spec, Encoding.DENSE)
    return _build(spec, 0)


def rebuilt(spec: PipelineSpec) -> PipelineSpec:
    """Return the description of what `build` makes of a description, with the same encoding."""
    return with_encoding(describe(build(spec)), encoding_of(spec))


def _build(spec: Any, depth: int) -> Any:
    if depth > _MAX_DEPTH:
        raise SpecInvalid(Reason.PIPELINE_TOO_DEEP, f"A pipeline is nested more than {_MAX_DEPTH} deep.")
    if not isinstance(spec, dict) or not isinstance(spec.get("class"), str):
        raise SpecInvalid(Reason.UNKNOWN_VALUE, "A pipeline's description is not an object with a class.")
    name, form = spec["class"], {key: value for key, value in spec.items() if key != "class"}
    match name, form:
        case "passthrough", {**rest} if not rest:
            return "passthrough"
        case "Pipeline", {"steps": [_, *_] as steps, **rest} if not rest:
            return make_pipeline(*[_build(step, depth + 1) for step in steps])
        case "FeatureUnion", {"members": [_, *_] as members, **rest} if not rest:
            return make_union(*[_build(member, depth + 1) for member in members])
        case "VotingClassifier", {
            "voting": "soft" | "hard" as vote,
            "members": [_, *_] as members,
            **rest,
        } if not rest:
            return VotingClassifier(_named(*[_build(member, depth + 1) for member in members]), voting=vote)
        case "ColumnTransformer", {"members": [_, *_] as members, **rest} if not rest:
            return ColumnTransformer([_build_columns(i, m, depth) for i, m in enumerate(members, 1)])
        case (("Pipeline" | "FeatureUnion" | "VotingClassifier" | "ColumnTransformer"), _):
            pass
        case _ if form.keys() <= {"params"}:
            return _build_leaf(name, form.get("params", {}), depth)
    raise SpecInvalid(Reason.UNKNOWN_VALUE, f"A pipeline's description has a {name!r:.80} of the wrong form.")


def _build_leaf(name: str, params: Any, depth: int) -> Any:
    found = entry(name)
    if not isinstance(params, dict):
        raise SpecInvalid(Reason.UNKNOWN_VALUE, f"The parameters of {name} are not an object.")
    check_described(found, params)
    made = found.cls(
        **{key: decode_value(item, lambda s: _build(s, depth + 1)) for key, item in params.items()}
    )
    if hasattr(made, "_parameter_constraints"):
        try:
            made._validate_params()  # noqa: SLF001 - fit() would call it too, after the first use of some
        except (ValueError, TypeError) as error:
            cause = " ".join(str(error).split())
            raise SpecInvalid(Reason.INVALID_HYPERPARAMETER, f"{name} is refused: {cause:.300}") from error
    return made


def _build_columns(number: int, member: Any, depth: int) -> tuple[str, Any, Any]:
    match member:
        case {"pattern": str(pattern), "estimator": dict(spec), **rest} if (
            not rest and _FEATURE_SET.fullmatch(pattern)
        ):
            return f"columns-{number}", _build(spec, depth + 1), make_column_selector(pattern=pattern)
    raise SpecInvalid(Reason.UNKNOWN_VALUE, "A ColumnTransformer's member needs a pattern and an estimator.")


def _named(*parts: Any) -> list[tuple[str, Any]]:
    """Return estimators with the names that scikit-learn gives to the steps of a pipeline."""
    return list(make_pipeline(*parts).steps)


def fingerprint(spec: PipelineSpec) -> str:
    """Return 16 hexadecimal digits that name the content of *spec* on every machine."""
    return hashlib.sha256(_canonical(spec).encode()).hexdigest()[:16]


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def ensemble_of(
    members: Sequence[PipelineSpec], weights: Sequence[int], *, classification: bool
) -> PipelineSpec:
    """Return the description of a weighted average of pipelines: of their probabilities if they classify."""
    kind = {"class": "VotingClassifier", "voting": "soft"} if classification else {"class": "VotingRegressor"}
    return {**kind, "weights": list(weights), "members": list(members)}


def members_of(spec: PipelineSpec) -> list[tuple[PipelineSpec, int]]:
    """Return members and weights of an ensemble; nothing for a pipeline."""
    return list(zip(spec["members"], spec["weights"], strict=True)) if "weights" in spec else []


def shares_of(spec: PipelineSpec) -> list[tuple[PipelineSpec, float]]:
    """Return members of an ensemble and their shares of the average, in the spec's order."""
    members = members_of(spec)
    total = sum(weight for _, weight in members)
    return [(member, weight / total) for member, weight in members]


def full_pipeline(spec: PipelineSpec, encoders: Mapping[Encoding, Any]) -> Any:
    """Return the unfitted estimator of a pipeline or an ensemble that takes the raw table.

    Members of an ensemble that have the same encoding share its encoder.
    """
    groups: dict[Encoding, list[tuple[Any, int]]] = {}
    for member, weight in members_of(spec) or [(spec, 1)]:
        groups.setdefault(encoding_of(member), []).append((build(member), weight))
    together = [
        (
            Pipeline([("encode", clone(encoders[encoding])), ("model", _vote(spec, group))]),
            sum(weight for _, weight in group),
        )
        for encoding, group in groups.items()
    ]
    return _vote(spec, together)


def _vote(spec: PipelineSpec, parts: Sequence[tuple[Any, int]]) -> Any:
    """Return the average of estimators, or the only estimator."""
    estimators, weights = zip(*parts, strict=True)
    if len(parts) == 1:
        return estimators[0]
    if spec["class"] == "VotingClassifier":
        return VotingClassifier(_named(*estimators), voting="soft", weights=list(weights))
    return VotingRegressor(_named(*estimators), weights=list(weights))


_SUMMARY_LENGTH: Final = 300
_LEFT_OUT: Final = {
    "allow_writing_files", "logging_level", "n_jobs", "random_state", "sparse_output", "thread_count",
    "validate", "verbose", "verbosity",
}  # fmt: skip
_PRECAUTIONS: Final = {"clip", "nan_to_num"}


def estimator_of(spec: Any) -> str:
    """Return the class of a pipeline's final estimator; ensembles are named by their members'."""
    match spec:
        case {"class": "Pipeline", "steps": [*_, last]} | {"class": "VotingClassifier", "members": [last]}:
            return estimator_of(last)
        case {"class": str(name), "members": members}:
            return f"{name}({', '.join(map(estimator_of, members))})"
        case {"class": str(name)}:
            return name
    return repr(spec)


def summarize(spec: PipelineSpec) -> str:
    """Return one line of at most 300 characters, such as ``StandardScaler → LogisticRegression(C=0.3)``.

    An ensemble has one such as ``ensemble of 4: CatBoost x 3, ExtraTrees``.
    """
    if parts := members_of(spec):
        names = [estimator_of(member) for member, _ in parts]
        families = Counter(name.removesuffix("Classifier").removesuffix("Regressor") for name in names)
        words = [f"{name} x {count}" if count > 1 else name for name, count in families.items()]
        return shorten(f"ensemble of {len(parts)}: {', '.join(words)}", _SUMMARY_LENGTH)
    encoding = encoding_of(spec).words
    before = f"{encoding} → " if encoding else ""
    text = before + _words(spec, with_params=True)
    if len(text) > _SUMMARY_LENGTH:
        text = before + _words(spec, with_params=False)
    return shorten(text, _SUMMARY_LENGTH)


def _words(spec: PipelineSpec, *, with_params: bool) -> str:
    inside = [*spec.get("steps", ()), *spec.get("members", ())]
    parts = [_words(part, with_params=with_params) for part in inside if "class" in part]
    match spec:
        case {"class": "Pipeline"}:
            return " → ".join(part for part in parts if part not in _PRECAUTIONS) or "passthrough"
        case {"class": "FeatureUnion"}:
            return f"[{' + '.join(parts)}]"
        case {"class": "VotingClassifier"}:
            return parts[0] if len(parts) == 1 else f"Voting[{', '.join(parts)}]"
        case {"class": "ColumnTransformer", "members": members}:
            return f"columns({', '.join(member['pattern'] for member in members)})"
        case {"params": {"func": {"$function": function}}}:
            return str(function).removeprefix("numpy.")
        case {"params": {"importance_getter": "var_", "threshold": threshold, **rest}}:
            return "LargestVariance" if "max_features" in rest else f"VarianceThreshold({_value(threshold)})"
    nested, plain = [], []
    for name, value in spec.get("params", {}).items():
        if isinstance(value, dict) and "$estimator" in value:
            nested.append(_words(value["$estimator"], with_params=with_params))
        elif with_params and name not in _LEFT_OUT:
            plain.append(f"{name}={_value(value)}")
    inner = ", ".join([*nested, *plain])
    return f"{spec['class']}({inner})" if inner else str(spec["class"])


def _value(value: Any) -> str:
    value = decode_value(value, lambda spec: spec)
    if isinstance(value, float):
        return f"{value:.4g}"
    if callable(value):
        return str(value.__name__)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    return str(value)
