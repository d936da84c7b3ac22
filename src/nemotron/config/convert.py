"""Convert a located tree to typed values.

Text from the command line or the environment is converted to the type of its field.

A field may be of type str, int, float, bool, `Literal[...]`, `X | None` or another union, `list[X]`,
`dict[str, X]`, `Any`, or a dataclass of such fields.
"""

import dataclasses
import math
import types
import typing
from collections.abc import Callable
from contextlib import suppress
from dataclasses import MISSING, is_dataclass
from typing import Any, Literal, Union

from nemotron.config.errors import ConfigError
from nemotron.config.located import Located, plain
from nemotron.config.schema import join
from nemotron.errors import did_you_mean

REQUIRED = "???"
"""OmegaConf's marker for a value that a child config or an override must set."""


def convert(hint: Any, node: Located, key: str = "") -> Any:
    """Convert a node to a value of type `hint` (a dataclass gives an instance of it).

    A float field accepts whole numbers. Number and boolean fields accept text such as `"1e-5"` and `"true"`, because
    environment variables are always text. A text field accepts a number and keeps it as it was written.

    Raises:
        ConfigError: The value does not fit; the message has the key, the value, what was expected and where it was
            written.
    """
    if node.value == REQUIRED:
        raise ConfigError(f"{node.origin}: {key} has no value.", f"Set it: {key}=VALUE.")
    if hint is Any:
        return plain(node)
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        return _member(hint, node, key)
    if origin is Literal:
        return _choice(hint, node, key)
    if is_dataclass(hint) and isinstance(node.value, dict):
        return _section(hint, node, key)
    if origin is list and isinstance(node.value, list):
        return [convert(args[0], child, f"{key}.{index}") for index, child in enumerate(node.value)]
    if origin is dict and isinstance(node.value, dict):
        return {name: convert(args[1], child, join(key, name)) for name, child in node.value.items()}
    if isinstance(hint, type) and not is_dataclass(hint) and hint not in _NAMES:
        raise TypeError(f"{key}: a config field cannot have the type {hint}.")
    value = _SCALARS[hint](node) if hint in _SCALARS else None
    if value is None and hint is not types.NoneType:
        raise _mismatch(hint, node, key)
    return value


def _section(schema: Any, node: Located, key: str) -> Any:
    hints = typing.get_type_hints(schema)
    values = {name: convert(hints[name], child, join(key, name)) for name, child in node.value.items()}
    for field in dataclasses.fields(schema):
        if field.name not in values and field.default is MISSING and field.default_factory is MISSING:
            missing = join(key, field.name)
            raise ConfigError(f"{node.origin}: {missing} is required.", f"Set it: {missing}=VALUE.")
    try:
        return schema(**values)
    except ValueError as error:  # from a __post_init__ that refuses a combination of values
        raise ConfigError(f"{key}: {error}" if key else str(error)) from error


def _member(hint: Any, node: Located, key: str) -> Any:
    members = typing.get_args(hint)
    # An exact type match wins: 5 stays an int in `float | int`, and a mistake inside a section is reported there.
    for member in members:
        if _is_exactly(member, node.value):
            return convert(member, node, key)
    for member in members:
        if member is types.NoneType:
            continue
        with suppress(ConfigError):
            return convert(member, node, key)
    raise _mismatch(hint, node, key)


def _choice(hint: Any, node: Located, key: str) -> Any:
    choices = typing.get_args(hint)
    for choice in choices:
        if node.value == choice and type(node.value) is type(choice):
            return choice
        if isinstance(choice, str) and node.text == choice:  # `1` where the choices are strings
            return choice
    texts = [choice for choice in choices if isinstance(choice, str)]
    raise _mismatch(hint, node, key, did_you_mean(str(node.value), texts))


def _to_int(node: Located) -> int | None:
    value = _number(node.value)
    return int(value) if value is not None and math.isfinite(value) and value == int(value) else None


def _to_float(node: Located) -> float | None:
    value = _number(node.value)
    return None if value is None else float(value)


def _number(value: Any) -> int | float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return value
    if isinstance(value, str):
        for parse in (int, float):
            try:
                return parse(value)
            except ValueError:
                continue
    return None


def _to_bool(node: Located) -> bool | None:
    if isinstance(node.value, bool):
        return node.value
    return {"true": True, "false": False}.get(node.value.lower()) if isinstance(node.value, str) else None


def _to_str(node: Located) -> str | None:
    if isinstance(node.value, bool | int | float):
        return node.text if node.text is not None else str(node.value)
    return node.value if isinstance(node.value, str) else None


_SCALARS: dict[Any, Callable[[Located], Any]] = {int: _to_int, float: _to_float, bool: _to_bool, str: _to_str}


def _is_exactly(hint: Any, value: Any) -> bool:
    origin = typing.get_origin(hint)
    if origin is Literal:
        return any(value == choice and type(value) is type(choice) for choice in typing.get_args(hint))
    if is_dataclass(hint):
        return isinstance(value, dict)
    return type(value) is (origin or hint)


def _mismatch(hint: Any, node: Located, key: str, suggestion: str | None = None) -> ConfigError:
    match node.value:
        case dict():
            value = "a section"
        case None:
            value = "null"
        case str():
            value = f'"{node.value}"'
        case _:
            value = node.text or str(plain(node))
    return ConfigError(
        f"{node.origin}: {key or 'the config'} must be {_describe(hint)}, not {value}.",
        suggestion or f"Write {_example(hint, key)}.",
    )


_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "text", types.NoneType: "null"}


_EXAMPLES = {int: "a whole number, such as 8", float: "a number, such as 0.5"}


def _example(hint: Any, key: str) -> str:
    """Return an example for a type, as the end of `Write ...`."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        return ", or ".join(dict.fromkeys(_example(member, key) for member in args))
    if origin is Literal:
        return _describe(hint) if len(args) == 1 else "one of these"
    if origin is list:
        return "a list, such as [a, b]"
    return _EXAMPLES.get(hint) or _NAMES.get(hint) or f"its keys, as {key}.NAME=VALUE"


def _describe(hint: Any) -> str:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        members = [member for member in args if not (member is int and float in args)]
        return _either([_describe(member) for member in members])
    if origin is Literal:
        return _either([f'"{choice}"' if isinstance(choice, str) else str(choice) for choice in args])
    if origin is list:
        return "a list of texts" if args[0] is str else "a list"
    return _NAMES.get(hint, "a section")


def _either(names: list[str]) -> str:
    return " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
