"""Feature sets: the encoded columns of chosen raw columns."""

from collections.abc import Iterable

from trainingjob_trainer.search_space.context import SpaceContext, Untranslatable
from trainingjob_trainer.search_space.pipeline_spec import PASSTHROUGH
from trainingjob_trainer.search_space.replacements import Steps
from trainingjob_trainer.search_space.widths import Width

__all__ = ["columns_step"]


def columns_step(columns: Iterable[str], context: SpaceContext) -> Steps:
    """Return the step that keeps the encoded columns of some raw columns.

    Parameters
    ----------
    columns
        Names of raw columns.
    context
        The problem; the encoder names the columns made of its i-th raw column ``c<i>__…``.

    Raises
    ------
    Untranslatable
        A column is unknown.
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
