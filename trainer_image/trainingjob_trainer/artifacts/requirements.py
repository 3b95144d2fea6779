"""The packages that a saved model needs, found by reading its pickle without executing it."""

import gzip
import pickletools
import platform
import sys
import zlib
from collections.abc import Iterator, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path

from trainingjob_api import Reason
from trainingjob_trainer.errors import RunFailed

__all__ = ["modules_of", "requirements_for", "requirements_text"]

# What every model needs: the loader, the table it takes and the library that its steps come from.
_ALWAYS = ("joblib", "numpy", "pandas", "scikit-learn", "scipy")
# A shipped model must load without these.
_FORBIDDEN = frozenset({"__main__", "__mp_main__", "tpot", "cloudpickle"})
_FORBIDDEN_PREFIX = "trainingjob_"

_GZIP = b"\x1f\x8b"
_STRING_OPS = frozenset(
    {"SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE", "STRING", "BINSTRING", "SHORT_BINSTRING"}
)
_GET_OPS = frozenset({"GET", "BINGET", "LONG_BINGET"})
_PUT_OPS = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})
# Opcodes that leave the top of the stack as it is.
_NEUTRAL_OPS = frozenset({"FRAME", "PROTO"})


def modules_of(path: Path) -> frozenset[str]:
    """Return the modules that a plain pickle, gzipped or not, refers to; nothing is executed or imported.

    Raises
    ------
    RunFailed
        ``ModelUnreadable``: the file is not a plain pickle.
    """
    try:
        with path.open("rb") as stream:
            packed = stream.read(len(_GZIP)) == _GZIP
            stream.seek(0)
            if not packed:
                return frozenset(_modules(stream))
            with gzip.GzipFile(fileobj=stream) as plain:
                return frozenset(_modules(plain))
    except (OSError, EOFError, ValueError, KeyError, IndexError, zlib.error) as error:
        message = f"{path.name} is not a pickle that can be examined: {error}"
        raise RunFailed(Reason.MODEL_UNREADABLE, message) from error


def _modules(stream: object) -> Iterator[str]:
    """Yield the module of every global of a pickle stream, following memo entries."""
    memo: dict[int, str | None] = {}
    recent: list[str | None] = [None, None]
    for opcode, argument, _ in pickletools.genops(stream):  # type: ignore[arg-type]
        name = opcode.name
        if name in {"GLOBAL", "INST"}:
            yield str(argument).split(" ", 1)[0]
        elif name == "STACK_GLOBAL":
            module = recent[-2]
            if module is None:
                raise ValueError("a global's module is not a plain string")
            yield module
        if name in _NEUTRAL_OPS:
            continue
        if name == "MEMOIZE":
            memo[len(memo)] = recent[-1]
        elif name in _PUT_OPS:
            memo[_number(argument)] = recent[-1]
        else:
            recent = [recent[-1], _pushed(name, argument, memo)]


def _pushed(name: str, argument: object, memo: dict[int, str | None]) -> str | None:
    """Return the string that an opcode pushes, or None if it does anything else."""
    if name in _STRING_OPS:
        return str(argument)
    if name in _GET_OPS:
        return memo.get(_number(argument))
    return None


def _number(argument: object) -> int:
    return int(str(argument))


@cache
def _distributions() -> dict[str, list[str]]:
    return {module: sorted(set(names)) for module, names in metadata.packages_distributions().items()}


def requirements_for(path: Path) -> list[str]:
    """Return the pinned requirements of a saved model, sorted, such as ``scikit-learn==1.9.1``.

    They are the packages that the pickle's globals come from, in the installed versions; joblib, numpy,
    pandas, scikit-learn and scipy are always among them.

    Raises
    ------
    RunFailed
        ``ModelUnreadable``, or ``ModelNotPortable``: the model refers to TPOT, to this project or to a module
        of no installed package.
    """
    tops = {module.split(".", 1)[0] for module in modules_of(path)}
    tops -= set(sys.stdlib_module_names) | {"builtins", "copy_reg", "__builtin__"}
    banned = sorted(t for t in tops if t in _FORBIDDEN or t.startswith(_FORBIDDEN_PREFIX))
    if banned:
        raise RunFailed(
            Reason.MODEL_NOT_PORTABLE,
            f"the model refers to {', '.join(banned)}, which its users do not have; "
            "every step must come from a published package",
        )
    names = set(_ALWAYS)
    for top in sorted(tops):
        found = _distributions().get(top)
        if not found:
            message = f"the model refers to the module {top!r}, which belongs to no installed package"
            raise RunFailed(Reason.MODEL_NOT_PORTABLE, message)
        names.update(found)
    return [f"{name}=={metadata.version(name)}" for name in sorted(names, key=str.lower)]


def requirements_text(pins: Sequence[str]) -> str:
    """Return the content of ``requirements.txt``."""
    version = ".".join(platform.python_version_tuple()[:2])
    head = f"# Packages that model.joblib and pipeline.py need; written with Python {version}.\n"
    return head + "".join(f"{pin}\n" for pin in pins)
