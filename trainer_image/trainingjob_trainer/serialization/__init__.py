"""Saving the model as a file that others can load, and as code that others can read."""

from trainingjob_trainer.serialization.model_file import save_model
from trainingjob_trainer.serialization.program import program_of
from trainingjob_trainer.serialization.requirements import (
    modules_of,
    requirements_for,
    requirements_text,
)
from trainingjob_trainer.serialization.source import Source, Unrenderable, source_of

__all__ = [
    "Source",
    "Unrenderable",
    "modules_of",
    "program_of",
    "requirements_for",
    "requirements_text",
    "save_model",
    "source_of",
]
