"""Refusing a value of the wrong kind for a Megatron-Bridge setting without importing Megatron.

`sections.py` checks against the real classes when training starts. Before that (in a dry run, before a job is queued)
the list in megatron_types.json does, which tools/list_megatron_types.py reads off the locked release.
"""

import json
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from typing import Any

from nemotron.errors import UserError, did_you_mean
from nemotron.training.config import MEGATRON_SECTIONS, SftConfig

_WORDS = {"bool": "true or false", "int": "a whole number", "float": "a number", "str": "text", "null": "null"}


def check_value_types(config: SftConfig, origins: Mapping[str, str]) -> None:
    """Check the values of every section that is Megatron-Bridge's own, as far as their kinds are listed.

    Where another release is installed than the list was made from, its own classes decide, later.

    Args:
        config: the training config.
        origins: dotted key -> where it was written.

    Raises:
        UserError: naming the first value of the wrong kind, its place, and what is wanted.
    """
    listed = json.loads((files("nemotron.training") / "megatron_types.json").read_text(encoding="utf-8"))
    if _installed_release() not in (listed["release"], None):
        return
    for dotted, value in _values(config):
        kinds = listed["types"].get(dotted)
        if kinds and not any(_fits(value, kind) for kind in kinds):
            wanted = " or ".join(_in_words(kind) for kind in kinds)
            choices = [choice for kind in kinds if isinstance(kind, dict) for choice in kind["choices"]]
            suggestion = did_you_mean(value, choices) if isinstance(value, str) else None
            raise UserError(
                f"{origins.get(dotted, 'config')}: {dotted} is {value!r}, which is not {wanted}.",
                suggestion or f"Use {wanted}.",
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
