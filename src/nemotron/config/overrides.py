"""`key=value` arguments: dotted keys, typed values."""

import re
from collections.abc import Sequence
from typing import Any

from nemotron.config.errors import ConfigError
from nemotron.config.located import COMMAND_LINE, Located
from nemotron.config.yaml_file import parse_value

_KEY = re.compile(r"[A-Za-z_][\w-]*(?:\.[\w-]+|\[\d+\])*")


def split_override(argument: str) -> tuple[str, str]:
    """`a.b[0].c=1` as ("a.b.0.c", "1"). Raises ConfigError for anything that is not `key=value`."""
    key, equals, text = argument.partition("=")
    if not equals:
        raise ConfigError(f'"{argument}" is not key=value.', f"To set it, write {key}=VALUE.")
    if not _KEY.fullmatch(key):
        bare = key.lstrip("+~")
        hint = f"Write {bare}={text}." if _KEY.fullmatch(bare) else "Keys look like train.train_iters."
        raise ConfigError(f'"{key}" in "{argument}" is not a config key.', hint)
    return re.sub(r"\[(\d+)\]", r".\1", key), text


def apply_overrides(tree: Located, overrides: Sequence[str]) -> Located:
    """The tree with every `key=value` set, in order; sections that do not exist yet are made.

    Values are YAML scalars (`1e-5`, `true`, `null`), lists `[a, b]`, or quoted text. A section given as `{a: 1}`
    replaces the section. Elements of a list are set by index: `loss.stages.1.start=100`.
    """
    for argument in overrides:
        key, text = split_override(argument)
        tree = _set(tree, key.split("."), parse_value(text, COMMAND_LINE), key)
    return tree


def _set(node: Located, parts: list[str], value: Located, key: str) -> Located:
    if not parts:
        return value
    name, rest = parts[0], parts[1:]
    if isinstance(node.value, list):
        children: list[Any] = list(node.value)
        index = int(name) if name.isdigit() else None
        if index is None or index >= len(children):
            section = key.removesuffix("." + ".".join(parts))
            raise ConfigError(
                f'{COMMAND_LINE}: "{key}": {section} is a list with elements 0 to {len(children) - 1}.'
                if children
                else f'{COMMAND_LINE}: "{key}": {section} is an empty list.',
                f"Set the whole list: {section}=[...].",
            )
        children[index] = _set(children[index], rest, value, key)
        return Located(children, node.origin)
    # A key below a scalar makes a section in its place; the schema then says whether one belongs there.
    section = node if isinstance(node.value, dict) else Located({}, COMMAND_LINE)
    child = section.value.get(name, Located({}, COMMAND_LINE))
    return Located({**section.value, name: _set(child, rest, value, key)}, section.origin)
