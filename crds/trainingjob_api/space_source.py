"""Which search space is in force: that of the spec, of ``TPOT__CONFIG_DICT``, or the default."""

import functools
from collections.abc import Mapping
from pathlib import Path

from trainingjob_api.environment import CONFIG_DICT, read_variable
from trainingjob_api.errors import SpecError
from trainingjob_api.hints import nearest
from trainingjob_api.loading import read_text
from trainingjob_api.resolved import ResolvedSearchSpace
from trainingjob_api.search_space import MAX_TREE_BYTES, dump_tree, parse_tree
from trainingjob_api.spec import SearchSpace
from trainingjob_api.text import shorten
from trainingjob_api.vocabulary import TPOT_GROUPS, Preset

__all__ = ["resolve_space"]


def resolve_space(
    space: SearchSpace, environment: Mapping[str, str], config_map_text: str | None
) -> tuple[ResolvedSearchSpace, str]:
    """Return the search space in force, and ``spec``, ``environment`` or ``default``.

    Raises
    ------
    SpecError
        If it does not parse, or names something that does not exist.
    """
    if space.preset is not None:
        return ResolvedSearchSpace(preset=space.preset.value, source="spec.searchSpace.preset"), "spec"
    if space.inline is not None:
        return _tree(space.inline, "spec.searchSpace.inline", "spec.searchSpace.inline"), "spec"
    if space.config_map_ref is not None:
        return _config_map(config_map_text), "spec"
    setting = read_variable(environment, CONFIG_DICT)
    if setting is not None:
        return _config_dict(setting), "environment"
    return ResolvedSearchSpace(preset=Preset.LINEAR.value, source="default"), "default"


@functools.lru_cache(maxsize=32)
def _tree(text: str, name: str, source: str) -> ResolvedSearchSpace:
    """Return the tree of a text; an operator asks for the same one in each pass until a run begins."""
    return ResolvedSearchSpace(tree=dump_tree(parse_tree(text, field=name)), source=source)


def _config_map(text: str | None) -> ResolvedSearchSpace:
    name = "spec.searchSpace.configMapRef"
    if text is None:
        raise SpecError(
            name, "a ConfigMap can be read in a cluster only", "use searchSpace.inline in a local run"
        )
    return _tree(text, name, name)


def _config_dict(setting: str) -> ResolvedSearchSpace:
    """Read ``TPOT__CONFIG_DICT``: a preset's name, a TPOT group, inline JSON, or a path."""
    if setting in {preset.value for preset in Preset}:
        return ResolvedSearchSpace(preset=setting, source=CONFIG_DICT)
    if setting in TPOT_GROUPS:
        return ResolvedSearchSpace(tree={"type": "group", "names": [setting]}, source=CONFIG_DICT)
    if setting.startswith("{"):
        return _tree(setting, CONFIG_DICT, CONFIG_DICT)
    if "/" in setting or setting.endswith((".json", ".yaml", ".yml")):
        try:
            text = read_text(Path(setting), MAX_TREE_BYTES)
        except SpecError as error:
            raise SpecError(CONFIG_DICT, error.message, error.hint) from None
        return _tree(text, CONFIG_DICT, shorten(f"{CONFIG_DICT} ({setting})", 300))
    names = [preset.value for preset in Preset] + list(TPOT_GROUPS)
    guess = nearest(setting, names)
    raise SpecError(
        CONFIG_DICT,
        f"{shorten(setting, 60)!r} is no preset, TPOT group, inline JSON or path",
        f"did you mean {guess}?" if guess else f"names are {', '.join(names)}",
    )
