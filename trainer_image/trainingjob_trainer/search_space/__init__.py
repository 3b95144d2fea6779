"""Search spaces: from a preset or a tree to TPOT individuals, and from those to plain scikit-learn.

``describe``, ``build`` and the like need scikit-learn alone. What needs TPOT is loaded when it is first
asked for: importing TPOT takes seconds, and a worker that only builds and fits never needs it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from trainingjob_trainer.search_space.context import SpaceContext, Untranslatable
from trainingjob_trainer.search_space.pipeline_spec import PipelineSpec, build, describe, fingerprint
from trainingjob_trainer.search_space.pipeline_text import summarize, to_code

if TYPE_CHECKING:
    from trainingjob_trainer.search_space.breeding import breed, clone
    from trainingjob_trainer.search_space.seeding import Seed, seeds
    from trainingjob_trainer.search_space.space import Space, compile_space
    from trainingjob_trainer.search_space.translation import translate

__all__ = [
    "PipelineSpec",
    "Seed",
    "Space",
    "SpaceContext",
    "Untranslatable",
    "breed",
    "build",
    "clone",
    "compile_space",
    "describe",
    "fingerprint",
    "seeds",
    "summarize",
    "to_code",
    "translate",
]

_LATER = {
    "Seed": "seeding",
    "Space": "space",
    "breed": "breeding",
    "clone": "breeding",
    "compile_space": "space",
    "seeds": "seeding",
    "translate": "translation",
}


def __getattr__(name: str) -> Any:
    """Load what needs TPOT when it is first asked for."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
