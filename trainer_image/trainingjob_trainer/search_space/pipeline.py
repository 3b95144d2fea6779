"""Pipelines as data: describe an estimator, build it again, name it by its content, and in words.

A `PipelineSpec` is JSON: ``{"class": name, "params": {…}}`` for an estimator, and a node with ``steps`` or
``members`` for Pipeline, FeatureUnion, ColumnTransformer and VotingClassifier. Only parameters that differ
from their defaults are written. `build` looks every name up in the allow-list.

The root alone may have the key ``encoding``, which names the encoder that makes the pipeline's matrix;
without it, that is the dense one.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.ensemble import VotingClassifier
from sklearn.pipeline import FeatureUnion, Pipeline

from trainingjob_api import Reason
from trainingjob_api.text import shorten
from trainingjob_trainer.encodings import Encoding
from trainingjob_trainer.errors import SpecInvalid
from trainingjob_trainer.search_space.allow_list import defaults, entry
from trainingjob_trainer.search_space.parameters import check_described, decode_value, encode_value

__all__ = [
    "PASSTHROUGH",
    "PipelineSpec",
    "build",
    "changed",
    "describe",
    "encoding_of",
    "estimator_of",
    "fingerprint",
    "leaf",
    "members_of",
    "named",
    "shares_of",
    "summarize",
    "with_encoding",
]

PipelineSpec: TypeAlias = dict[str, Any]

PASSTHROUGH: Final[PipelineSpec] = {"class": "passthrough"}
"""The step or member that changes nothing."""

_COMPOSITES: Final = {"Pipeline", "FeatureUnion", "ColumnTransformer", "VotingClassifier"}
_ENCODING: Final = "encoding"
_MAX_DEPTH: Final = 40
_FEATURE_SET: Final = re.compile(r"\^c\(\?:\d{1,6}(?:\|\d{1,6})*\)__")
"""The encoded columns of some raw ones; any other pattern could take forever to match."""


def leaf(name: str, **params: Any) -> PipelineSpec:
    """Return the description of one estimator of the allow-list."""
    return {"class": name, "params": params} if params else {"class": name}


def encoding_of(spec: PipelineSpec) -> Encoding:
    """Return the encoding of a pipeline's matrix.

    Raises
    ------
    SpecInvalid
        It is unknown, or says what is meant without it.
    """
    if _ENCODING not in spec:
        return Encoding.DENSE
    name = spec[_ENCODING]
    if not isinstance(name, str) or name not in set(Encoding) - {Encoding.DENSE}:
        raise SpecInvalid(Reason.UNKNOWN_VALUE, f"A pipeline's description has the encoding {name!r:.80}.")
    return Encoding(name)


def with_encoding(spec: PipelineSpec, encoding: Encoding) -> PipelineSpec:
    """Return the description of a pipeline with an encoding, in the only form that it has."""
    model = _model(spec)
    return model if encoding is Encoding.DENSE else {**model, _ENCODING: encoding.value}


def _model(spec: PipelineSpec) -> PipelineSpec:
    return {key: value for key, value in spec.items() if key != _ENCODING}


def describe(estimator: Any) -> PipelineSpec:
    """Return the description of an estimator.

    Raises
    ------
    SpecInvalid
        A part of it is not on the allow-list.
    """
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
        return {
            "class": "ColumnTransformer",
            "members": [_describe_columns(m) for m in estimator.transformers],
        }
    found = entry(type(estimator).__name__)
    if found.cls is not type(estimator):
        raise SpecInvalid(
            Reason.UNKNOWN_ESTIMATOR, f"{type(estimator).__qualname__} is not the class of that name."
        )
    return leaf(found.name, **_changed(estimator))


def _describe_columns(member: tuple[str, Any, Any]) -> PipelineSpec:
    _, estimator, columns = member
    if not isinstance(columns, make_column_selector):
        raise SpecInvalid(
            Reason.UNKNOWN_ESTIMATOR, "A ColumnTransformer is described only with a pattern of columns."
        )
    return {"pattern": columns.pattern, "estimator": describe(estimator)}


def _changed(estimator: Any) -> dict[str, Any]:
    """Return the parameters that differ from the defaults, in JSON form and in order."""
    found = entry(type(estimator).__name__)
    known, usual = found.parameters, defaults(found.cls)  # xgboost and lightgbm also take undeclared ones
    given = {name: value for name, value in estimator.get_params(deep=False).items() if name in known}
    told = {name: encode_value(item, describe) for name, item in given.items() if item is not usual[name]}
    return changed(found.cls, told)


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

    Raises
    ------
    SpecInvalid
        A class, parameter, value or encoding is off the allow-list, or the form is wrong.
    """
    if isinstance(spec, dict) and _ENCODING in spec:
        encoding_of(spec)
        spec = _model(spec)
    return _build(spec, 0)


def _build(spec: PipelineSpec, depth: int) -> Any:
    if depth > _MAX_DEPTH:
        raise SpecInvalid(Reason.PIPELINE_TOO_DEEP, f"A pipeline is nested more than {_MAX_DEPTH} deep.")
    if not isinstance(spec, dict) or not isinstance(spec.get("class"), str):
        raise SpecInvalid(Reason.UNKNOWN_VALUE, "A pipeline's description is not an object with a class.")
    match spec:
        case {"class": "passthrough", **rest} if not rest:
            return "passthrough"
        case {"class": "Pipeline", "steps": list(steps), **rest} if steps and not rest:
            return Pipeline(named([_build(step, depth + 1) for step in steps]))
        case {"class": "FeatureUnion", "members": list(members), **rest} if members and not rest:
            return FeatureUnion(named([_build(member, depth + 1) for member in members]))
        case {
            "class": "VotingClassifier",
            "voting": "soft" | "hard" as voting,
            "members": list(members),
            **rest,
        }:
            if members and not rest:
                return VotingClassifier(named([_build(m, depth + 1) for m in members]), voting=voting)
        case {"class": "ColumnTransformer", "members": list(members), **rest} if members and not rest:
            return ColumnTransformer([_build_columns(i, m, depth) for i, m in enumerate(members, 1)])
        case {"class": str(name), **rest} if name not in _COMPOSITES and set(rest) <= {"params"}:
            return _build_leaf(name, rest.get("params", {}), depth)
    raise SpecInvalid(
        Reason.UNKNOWN_VALUE, f"A pipeline's description has a {spec['class']!r:.80} of the wrong form."
    )


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


def named(parts: list[Any]) -> list[tuple[str, Any]]:
    """Return steps with the names that scikit-learn's ``make_pipeline`` would give to them."""
    classes = [(part if isinstance(part, str) else type(part).__name__).lower() for part in parts]
    seen: Counter[str] = Counter()
    named = []
    for name, part in zip(classes, parts, strict=True):
        seen[name] += 1
        named.append((f"{name}-{seen[name]}" if classes.count(name) > 1 else name, part))
    return named


def fingerprint(spec: PipelineSpec) -> str:
    """Return 16 hexadecimal digits that name the content of *spec* on every machine."""
    return hashlib.sha256(_canonical(spec).encode()).hexdigest()[:16]


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


_SUMMARY_LENGTH: Final = 300
_UNTOLD: Final = {
    "allow_writing_files", "logging_level", "n_jobs", "random_state", "sparse_output", "thread_count",
    "validate", "verbose", "verbosity",
}  # fmt: skip
_PRECAUTIONS: Final = {"clip", "nan_to_num"}


def members_of(spec: PipelineSpec) -> list[tuple[PipelineSpec, int]]:
    """Return members and weights of an ensemble (see `search_space.voters`); nothing for a pipeline."""
    return list(zip(spec["members"], spec["weights"], strict=True)) if "weights" in spec else []


def shares_of(spec: PipelineSpec) -> list[tuple[PipelineSpec, float]]:
    """Return members of an ensemble and their shares of the average, in the spec's order."""
    members = members_of(spec)
    total = sum(weight for _, weight in members)
    return [(member, weight / total) for member, weight in members]


def estimator_of(spec: Any) -> str:
    """Return the class of a pipeline's final estimator; ensembles are named by their members'."""
    match spec:
        case {"class": "Pipeline", "steps": [*_, last]} | {"class": "VotingClassifier", "members": [last]}:
            return estimator_of(last)
        case {"class": str(name), "members": members}:
            return f"{name}({', '.join(estimator_of(member) for member in members)})"
        case {"class": str(name)}:
            return name
        case _:
            return repr(spec)


def summarize(spec: PipelineSpec) -> str:
    """Return one line of at most 300 characters, such as ``StandardScaler → LogisticRegression(C=0.3)``.

    An ensemble has one such as ``ensemble of 4: CatBoost x 3, ExtraTrees``.
    """
    if parts := members_of(spec):
        names = [estimator_of(member) for member, _ in parts]
        families = Counter(name.removesuffix("Classifier").removesuffix("Regressor") for name in names)
        told = [f"{name} x {count}" if count > 1 else name for name, count in families.items()]
        return shorten(f"ensemble of {len(parts)}: {', '.join(told)}", _SUMMARY_LENGTH)
    words = encoding_of(spec).words
    before = f"{words} → " if words else ""
    text = before + _told(spec, with_params=True)
    if len(text) > _SUMMARY_LENGTH:
        text = before + _told(spec, with_params=False)
    return shorten(text, _SUMMARY_LENGTH)


def _told(spec: PipelineSpec, *, with_params: bool) -> str:
    match spec:
        case {"class": "Pipeline", "steps": steps}:
            told = [_told(step, with_params=with_params) for step in steps]
            return " → ".join(item for item in told if item not in _PRECAUTIONS) or "passthrough"
        case {"class": "FeatureUnion", "members": members}:
            return f"[{' + '.join(_told(member, with_params=with_params) for member in members)}]"
        case {"class": "VotingClassifier", "members": [only]}:
            return _told(only, with_params=with_params)
        case {"class": "VotingClassifier", "members": members}:
            return f"Voting[{', '.join(_told(member, with_params=with_params) for member in members)}]"
        case {"class": "ColumnTransformer", "members": members}:
            return f"columns({', '.join(member['pattern'] for member in members)})"
    return _told_leaf(spec, with_params=with_params)


def _told_leaf(spec: PipelineSpec, *, with_params: bool) -> str:
    params = {key: item for key, item in spec.get("params", {}).items() if key not in _UNTOLD}
    function = params.pop("func", None)
    if function is not None:
        return str(function["$function"]).removeprefix("numpy.")
    if params.get("importance_getter") == "var_":
        return (
            f"VarianceThreshold({_told_value(params['threshold'])})"
            if "max_features" not in params
            else "LargestVariance"
        )
    nested = [
        item["$estimator"] for item in params.values() if isinstance(item, dict) and "$estimator" in item
    ]
    inner = [_told(item, with_params=with_params) for item in nested]
    plain = {k: item for k, item in params.items() if not (isinstance(item, dict) and "$estimator" in item)}
    if with_params:
        inner += [f"{key}={_told_value(item)}" for key, item in plain.items()]
    return f"{spec['class']}({', '.join(inner)})" if inner else str(spec["class"])


def _told_value(value: Any) -> str:
    value = decode_value(value, lambda spec: spec)
    if isinstance(value, float):
        return f"{value:.4g}"
    if callable(value):
        return str(value.__name__)
    if isinstance(value, list | tuple):
        return f"[{', '.join(_told_value(item) for item in value)}]"
    return str(value)
