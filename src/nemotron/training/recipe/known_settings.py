"""Refuse a misspelt Megatron-Bridge setting, or a value of the wrong kind, without importing Megatron.

`assign.py` checks against the real classes when training starts. Before that (in a dry run, before a job is queued) the
lists in megatron_keys.json and megatron_types.json do, which tools/list_megatron_keys.py and list_megatron_types.py
read off the tested releases.
"""

import json
from collections.abc import Mapping
from difflib import get_close_matches
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from typing import Any

from nemotron.errors import UserError, did_you_mean
from nemotron.training.config import MEGATRON_SECTIONS, SftConfig

_WORDS = {"bool": "true or false", "int": "a whole number", "float": "a number", "str": "text", "null": "null"}
_FEW = 6
"""So many names can be read in a sentence."""


def check_known_keys(config: SftConfig, origins: Mapping[str, str]) -> None:
    """Check the keys of every section that is Megatron-Bridge's own.

    A key of any listed release passes, whichever is installed here: a job may run beside another one, in a container.
    Where a release is installed that is not listed, its own classes decide, later.

    Args:
        config: the training config.
        origins: dotted key -> where it was written.

    Raises:
        UserError: naming the first unknown key, its place and the nearest known one.
    """
    listed = json.loads((files("nemotron.training.recipe") / "megatron_keys.json").read_text(encoding="utf-8"))
    if _installed_release() not in (*listed, None):
        return
    for section in next(iter(listed.values())):
        known = sorted(set().union(*(sections[section] for sections in listed.values())))
        values = getattr(config, section)
        for key in values if isinstance(values, dict) else ():
            if key not in known:
                dotted = f"{section}.{key}"
                where = origins.get(dotted, "config")
                raise UserError(
                    f"{where}: {dotted} is not a setting of Megatron-Bridge {' or '.join(listed)}.",
                    did_you_mean(dotted, [f"{section}.{name}" for name in known])
                    or "Its settings are in src/nemotron/training/recipe/megatron_keys.json.",
                )


def check_value_types(config: SftConfig, origins: Mapping[str, str]) -> None:
    """Check the values of every section that is Megatron-Bridge's own, as far as their kinds are listed.

    Where another release is installed than the list was made from, its own classes decide, later.

    Args:
        config: the training config.
        origins: dotted key -> where it was written.

    Raises:
        UserError: naming the first value of the wrong kind, its place, and what is wanted.
    """
    listed = json.loads((files("nemotron.training.recipe") / "megatron_types.json").read_text(encoding="utf-8"))
    if _installed_release() not in (listed["release"], None):
        return
    for dotted, value in _values(config):
        kinds = listed["types"].get(dotted)
        if kinds and not any(_fits(value, kind) for kind in kinds):
            wanted, suggestion = _wanted(value, kinds)
            raise UserError(
                f"{origins.get(dotted, 'config')}: {dotted} is {value!r}, which is not {wanted}.", suggestion
            )


def _values(config: SftConfig) -> list[tuple[str, Any]]:
    values: list[tuple[str, Any]] = []
    for section in MEGATRON_SECTIONS:
        content = getattr(config, section)
        if isinstance(content, Mapping):
            values += [(f"{section}.{key}", value) for key, value in content.items()]
        elif content is not None:
            values.append((section, content))
    # A null leaves these to the data or to what else is given.
    return [(key, value) for key, value in values if value is not None]


def _wanted(value: Any, kinds: list[Any]) -> tuple[str, str]:
    """What would have been right, in words, and what to do. Many names are listed at most once, the nearest first."""
    choices = [choice for kind in kinds if isinstance(kind, dict) for choice in kind["choices"]]
    near = did_you_mean(value, choices) if isinstance(value, str) else None
    if len(choices) <= _FEW:
        wanted = " or ".join(_in_words(kind) for kind in kinds)
        return wanted, near or f"Use {wanted}."
    # Some are listed a second time, with - for _.
    names = [name for name in choices if name.replace("-", "_") == name or name.replace("-", "_") not in choices]
    names.sort(key=lambda name: not _shares_part(value, name))
    words = [f"one of its {len(names)} names" if isinstance(kind, dict) else _in_words(kind) for kind in kinds]
    order = ", the nearest first" if _shares_part(value, names[0]) else ""
    return " or ".join(words), near or f"Use one of these{order}: {', '.join(names)}."


def _shares_part(value: Any, name: str) -> bool:
    """Whether a part of `name` is nearly `value`, as fp8 is nearly fp8x."""
    return bool(get_close_matches(str(value), name.split("_"), cutoff=0.75))


def _fits(value: Any, kind: Any) -> bool:
    if isinstance(kind, dict):
        return value in kind["choices"]
    if kind == "float":
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind == "int":
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, {"bool": bool, "str": str, "null": type(None)}[kind])


def _in_words(kind: Any) -> str:
    return " or ".join(repr(choice) for choice in kind["choices"]) if isinstance(kind, dict) else _WORDS[kind]


def _installed_release() -> str | None:
    try:
        return version("megatron-bridge")
    except PackageNotFoundError:
        return None
