"""Use dataclass trees as the schema of a config: its keys and their defaults.

OmegaConf's structured configs support neither `Literal` nor unions, so we check keys ourselves, with messages that say
where a key was written. A field typed `dict[str, Any]` is an open section: its keys belong to another library
(Megatron-Bridge) and are not checked here.
"""

import dataclasses
import typing
from dataclasses import MISSING, is_dataclass
from difflib import get_close_matches
from typing import Any

from nemotron.config.errors import ConfigError
from nemotron.config.located import DEFAULT, Located, attach_origin, leaves
from nemotron.config.renamed_keys import RENAMED_KEYS, find_new_name
from nemotron.errors import did_you_mean


def known_keys(schema: type, prefix: str = "") -> list[str]:
    """List every dotted key of a dataclass tree, including sections."""
    keys = []
    for name, hint in typing.get_type_hints(schema).items():
        keys.append(prefix + name)
        for section in sections_of(hint):
            keys.extend(known_keys(section, f"{prefix}{name}."))
    return keys


def refuse_unknown(schema: type, tree: Located) -> None:
    """Refuse a key that the schema does not have.

    Raises:
        ConfigError: There is such a key; the message suggests the closest known key.
    """
    _refuse_unknown(schema, tree, "", known_keys(schema))


def default_tree(schema: type) -> Located:
    """Return the schema's own defaults as a tree; fields without a default are absent."""
    values = {}
    for field in dataclasses.fields(schema):
        if field.default is not MISSING:
            values[field.name] = field.default
        elif field.default_factory is not MISSING:
            values[field.name] = field.default_factory()
    return attach_origin({name: as_plain(value) for name, value in values.items()}, DEFAULT)


def sections_of(hint: Any) -> list[Any]:
    """List the dataclasses that a field of type `hint` may hold.

    These are the type itself, the members of a union, and the element type of a list.
    """
    if is_dataclass(hint):
        return [hint]
    return [section for part in typing.get_args(hint) for section in sections_of(part)]


def as_plain(value: Any) -> Any:
    """Convert config instances to nested dicts; other values are returned unchanged."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: as_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, list):
        return [as_plain(element) for element in value]
    return value


def join(section: str, name: str) -> str:
    """Return the dotted key of `name` in `section` ("" is the top)."""
    return f"{section}.{name}" if section else name


def _refuse_unknown(hint: Any, node: Located, key: str, known: list[str]) -> None:
    if isinstance(node.value, list):
        for element in typing.get_args(hint):
            for index, child in enumerate(node.value):
                _refuse_unknown(element, child, f"{key}.{index}", known)
        return
    schema = next(iter(sections_of(hint)), None)
    if not isinstance(node.value, dict):
        return
    if schema is None:
        _refuse_renamed(node, key)
        return
    hints = typing.get_type_hints(schema)
    for name, child in node.value.items():
        if name not in hints:
            raise _unknown(join(key, name), child, list(hints), key, known)
        _refuse_unknown(hints[name], child, join(key, name), known)


def _refuse_renamed(section: Located, key: str) -> None:
    """Refuse keys of other recipes in an open section, whose keys we do not know."""
    for name, child in section.value.items():
        if hint := RENAMED_KEYS.get(join(key, name)):
            where = next(iter(leaves(child).values())).origin
            raise ConfigError(f'{where}: there is no key "{join(key, name)}" here.', hint)


def _unknown(key: str, node: Located, siblings: list[str], section: str, known: list[str]) -> ConfigError:
    deepest, leaf = next(iter(leaves(node, key).items()))
    where = leaf.origin
    if renamed := find_new_name(deepest):
        return ConfigError(f'{where}: there is no key "{key}" here.', renamed)
    name = key.rsplit(".", 1)[-1]
    # Compared without the section, which would make all siblings look alike.
    sibling = get_close_matches(name, siblings)
    near = f'Did you mean "{join(section, sibling[0])}"?' if sibling else did_you_mean(name, known)
    listed = f"Known keys{f' of {section}' if section else ''}: {', '.join(siblings)}."
    return ConfigError(f'{where}: unknown key "{key}".', near or listed)
