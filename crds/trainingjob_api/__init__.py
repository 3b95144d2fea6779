"""The contract of the TrainingJob operator: models of spec, status and report, and resolve().

Each name of a module that begins with no underscore is public here, but for those of the generator ``crd``.
A module is imported when one of its names is first used: a process that needs a `Reason` loads no models.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trainingjob_api.errors import *
    from trainingjob_api.load import *
    from trainingjob_api.reasons import *
    from trainingjob_api.report import *
    from trainingjob_api.resolved import *
    from trainingjob_api.search_space import *
    from trainingjob_api.spec import *
    from trainingjob_api.status import *
    from trainingjob_api.storage import *
    from trainingjob_api.types import *
    from trainingjob_api.vocabulary import *
else:
    # In the order in which they are searched, those without pydantic first.
    _MODULES = (
        *("reasons", "vocabulary", "types", "storage", "errors"),
        *("spec", "status", "report", "load", "search_space", "resolved"),
    )

    def __getattr__(name: str) -> object:
        """Return a public name of one of the modules (PEP 562)."""
        from importlib import import_module  # noqa: PLC0415 - not a name of the contract

        for module in () if name.startswith("_") else _MODULES:
            found = vars(import_module(f"{__name__}.{module}"))
            if name in found:
                globals()[name] = found[name]
                return found[name]
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
