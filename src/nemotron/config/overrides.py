"""Parse `key=value` arguments, apply them, and route them to their configs."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from nemotron.config.errors import ConfigError
from nemotron.config.located import COMMAND_LINE, Located
from nemotron.config.renamed_keys import find_new_name
from nemotron.config.schema import known_keys
from nemotron.config.spellings import has_other_spellings, merge_layer, spell_out, spell_out_override
from nemotron.config.yaml_file import parse_value
from nemotron.errors import did_you_mean

_KEY = re.compile(r"[A-Za-z_][\w-]*(?:\.[\w-]+|\[\d+\])*")


def split_override(argument: str) -> tuple[str, str]:
    """Split an override: `a.b[0].c=1` becomes `("a.b.0.c", "1")`.

    Raises:
        ConfigError: The argument is not `key=value`.
    """
    key, equals, text = argument.partition("=")
    if not equals:
        raise ConfigError(f'"{argument}" is not key=value.', f"To set it, write {key}=VALUE.")
    if not _KEY.fullmatch(key):
        bare = key.lstrip("+~")
        hint = f"Write {bare}={text}." if _KEY.fullmatch(bare) else "Keys look like train.train_iters."
        raise ConfigError(f'"{key}" in "{argument}" is not a config key.', hint)
    return re.sub(r"\[(\d+)\]", r".\1", key), text


def add_word(section: str, word: str | None, overrides: Sequence[str]) -> list[str]:
    """Put `section=word` before overrides, for an option of that name.

    The word `none` becomes null.

    Raises:
        ConfigError: The overrides set the section too.
    """
    if word is None:
        return [*overrides]
    for argument in overrides:
        if split_override(argument)[0] == section:
            raise ConfigError(f"{COMMAND_LINE}: --{section} {word} and {argument} set {section} twice.", "Keep one.")
    return [f"{section}={'null' if word == 'none' else word}", *overrides]


def parse_overrides(overrides: Sequence[str]) -> list[tuple[str, Located]]:
    """Parse every `key=value` into its dotted key and its YAML value."""
    split = [split_override(argument) for argument in overrides]
    return [(key, parse_value(text, COMMAND_LINE)) for key, text in split]


def apply_overrides(tree: Located, overrides: Sequence[str], schema: Any = None) -> Located:
    """Set every `key=value`, in order; missing sections are created.

    Values are YAML scalars (`1e-5`, `true`, `null`), lists `[a, b]`, or quoted text. A section given as `{a: 1}`
    replaces the section. Elements of a list are set by index: `loss.stages.1.start=100`.

    Args:
        tree: The config's files, merged.
        overrides: The arguments as typed.
        schema: The dataclass that lists settings with several spellings (spellings.py), or None.
    """
    parsed = parse_overrides(overrides)
    typed = _apply(Located({}, COMMAND_LINE), [one for one in parsed if has_other_spellings(one[0], schema)])
    # This only clears other spellings of the same settings; the values, including list elements, are set below.
    tree = merge_layer(tree, spell_out(typed, schema), schema)
    return _apply(tree, [spell_out_override(key, value, schema) for key, value in parsed])


def _apply(tree: Located, parsed: Sequence[tuple[str, Located]]) -> Located:
    for key, value in parsed:
        tree = _set(tree, key.split("."), value, key)
    return tree


def _set(node: Located, parts: list[str], value: Located, key: str) -> Located:
    if not parts:
        return value
    name, rest = parts[0], parts[1:]
    if isinstance(node.value, list):
        children: list[Any] = list(node.value)
        index = int(name) if name.isdecimal() else None
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
    # A key below a scalar replaces it by a section; the schema check then says whether a section belongs there.
    section = node if isinstance(node.value, dict) else Located({}, COMMAND_LINE)
    child = section.value.get(name, Located({}, COMMAND_LINE))
    return Located({**section.value, name: _set(child, rest, value, key)}, section.origin)


def route_overrides(overrides: Sequence[str], schemas: Mapping[str, type]) -> dict[str, list[str]]:
    """Return the overrides for each schema, by the names of `schemas`.

    A key that several schemas define goes to all of them (`run.artifacts`). A key that no schema defines goes to those
    with an open section above it (`train.train_iters`).

    Raises:
        ConfigError: No schema can have a key; the message suggests the closest key of any schema.
    """
    known = {name: known_keys(schema) for name, schema in schemas.items()}
    routed: dict[str, list[str]] = {name: [] for name in schemas}
    for argument in overrides:
        key = _key_of(argument)
        takers = [name for name in schemas if key in known[name]]
        takers = takers or [name for name in schemas if _in_open_section(key, known[name])]
        if not takers:
            every = [known_key for keys in known.values() for known_key in keys]
            hint = find_new_name(key) or did_you_mean(key, every)
            raise ConfigError(f'{COMMAND_LINE}: unknown key "{key}".', hint)
        for name in takers:
            routed[name].append(argument)
    return routed


def may_have(schema: type, override: str) -> bool:
    """Tell whether a schema defines an override's key, or an open section above."""
    key, known = _key_of(override), known_keys(schema)
    return key in known or _in_open_section(key, known)


def _key_of(override: str) -> str:
    """Return the key without the positions in lists."""
    return re.sub(r"\.\d+(?=\.|$)", "", split_override(override)[0])


def _in_open_section(key: str, known: list[str]) -> bool:
    """Tell whether a section above `key` is known and defines no keys of its own."""
    parts = key.split(".")
    sections = [".".join(parts[:length]) for length in range(1, len(parts))]
    return any(section in known and not any(other.startswith(f"{section}.") for other in known) for section in sections)
