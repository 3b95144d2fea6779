"""From a file or a mapping to a :class:`TrainingJob`, with every problem named at once."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from trainingjob_api.checks import check_spec
from trainingjob_api.errors import Problem, SpecError
from trainingjob_api.hints import explain
from trainingjob_api.job import TrainingJob
from trainingjob_api.overrides import apply_overrides
from trainingjob_api.spec import TrainingJobSpec
from trainingjob_api.text import shorten
from trainingjob_api.vocabulary import API_VERSION, KIND
from trainingjob_api.yaml_text import MAX_TEXT_BYTES, parse_yaml

__all__ = ["load_job", "parse_job", "read_text"]


def load_job(path: Path, overrides: Sequence[str] = ()) -> TrainingJob:
    r"""Return the TrainingJob that the YAML or JSON file at *path* holds.

    Parameters
    ----------
    path
        A file of at most 256 KiB with one document.
    overrides
        ``spec.budget.timeLeftSeconds=30`` and the like: a dotted path (a dot inside a key as ``\.``)
        and a YAML value; ``null`` unsets the field.

    Raises
    ------
    SpecError
        With every problem of file, overrides and fields.
    """
    document = parse_yaml(read_text(path, MAX_TEXT_BYTES), what=f"the file {path.name}")
    return parse_job(apply_overrides(_check_shape(document), overrides))


def parse_job(mapping: Mapping[str, Any]) -> TrainingJob:
    """Return the TrainingJob that *mapping*, as read from YAML or an API server, holds.

    Raises
    ------
    SpecError
        With every problem: unknown fields (with the nearest name), wrong types and values, and fields
        that contradict each other.
    """
    _check_shape(mapping)
    try:
        # By alias alone: the API server does not know the snake_case names either.
        job = TrainingJob.model_validate(mapping, by_alias=True, by_name=False)
    except ValidationError as error:
        raise SpecError(problems=explain(error, TrainingJob)) from None
    problems = check_spec(job.spec)
    if problems:
        raise SpecError(problems=problems)
    return job


def read_text(path: Path, limit: int) -> str:
    """Return the text of a regular file of at most *limit* bytes in UTF-8.

    Raises
    ------
    SpecError
        If there is no such file, or it is too large or no UTF-8.
    """
    try:
        if not path.is_file():
            kind = "is not a regular file" if path.exists() else "does not exist"
            raise SpecError(message=f"the file {path} {kind}")
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise SpecError(
            message=f"the file {path} cannot be read: {error.strerror or 'unknown error'}"
        ) from None
    if len(content) > limit:
        raise SpecError(message=f"the file {path.name} is larger than {limit // 1024} KiB")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise SpecError(message=f"the file {path.name} is not UTF-8 text", hint="save it as UTF-8") from None


def _check_shape(document: Any) -> Mapping[str, Any]:
    """Refuse what is no TrainingJob at all, before its fields are looked at."""
    if not document:
        raise SpecError(
            message="the document is empty", hint=f"it needs apiVersion, kind: {KIND}, metadata and spec"
        )
    if not isinstance(document, Mapping):
        raise SpecError(message=f"a {KIND} is a mapping, not a {type(document).__name__}")
    if "kind" not in document and "apiVersion" not in document and _looks_like_spec(document):
        raise SpecError(
            message="this is a bare spec",
            hint=f"put it under spec:, beside apiVersion: {API_VERSION}, kind: {KIND} and metadata",
        )
    problems = [
        Problem(field, f"is {_shown(document.get(field))}", f"this program reads {field}: {wanted}")
        if field in document
        else Problem(field, "is missing", f"write {field}: {wanted}")
        for field, wanted in (("apiVersion", API_VERSION), ("kind", KIND))
        if document.get(field) != wanted
    ]
    if problems:
        raise SpecError(problems=problems)
    return document


def _looks_like_spec(document: Mapping[str, Any]) -> bool:
    names = {field.alias for field in TrainingJobSpec.model_fields.values()}
    return any(key in names for key in document)


def _shown(value: Any) -> str:
    return (
        shorten(repr(value), 80)
        if isinstance(value, str | int | float | bool | None)
        else f"a {type(value).__name__}"
    )
