"""Set YAML values on Megatron-Bridge's config objects, with type checks.

Megatron-Bridge's dataclasses accept any attribute silently, so a misspelt key would do nothing. Here a key must be a
field of the object, and a value must fit the field's annotation.
"""

import dataclasses
import enum
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any

import torch

from nemotron.errors import UserError, did_you_mean


def assign(target: Any, section: str, values: Mapping[str, Any], origins: Mapping[str, str]) -> None:
    """Set `values` on the dataclass instance `target`.

    Args:
        target: A Megatron-Bridge config object, changed in place.
        section: Its name in the YAML, for messages.
        values: Field name -> value as YAML gives it. Names of torch dtypes and of enum members are converted.
        origins: Dotted key -> where the value was written ("config/default.yaml:12", "command line").

    Raises:
        UserError: A key is not a field, or a value does not fit.
    """
    hints = field_types(type(target))
    check_keys(section, values, hints, type(target).__name__, origins)
    for key, raw in values.items():
        setattr(target, key, _convert(raw, hints[key], f"{section}.{key}", origins))


def check_keys(section: str, keys: Iterable[str], known: Iterable[str], owner: str, origins: Mapping[str, str]) -> None:
    """Refuse the first unknown key, with the closest known one.

    Args:
        section: Of the YAML, for messages.
        keys: As the YAML gives them.
        known: As the installed release has them.
        owner: The class of Megatron-Bridge that has them, for messages.
        origins: Dotted key -> where it was written.

    Raises:
        UserError: A key is not known.
    """
    dotted = [f"{section}.{name}" for name in known]
    for key in (f"{section}.{name}" for name in keys):
        if key not in dotted:
            what = f"{key} is not a setting of Megatron-Bridge's {owner}."
            otherwise = f"Its settings are listed by: help(megatron.bridge) -> {owner}."
            raise _refusal(key, what, origins, key, dotted, otherwise)


def field_types(owner: type) -> dict[str, Any]:
    """Map each field to its annotation, or to Any if that cannot be resolved."""
    try:
        hints = typing.get_type_hints(owner)
    except (NameError, TypeError):
        hints = {}
    return {field.name: hints.get(field.name, Any) for field in dataclasses.fields(owner)}


def _convert(value: Any, hint: Any, dotted: str, origins: Mapping[str, str]) -> Any:
    """Convert a value to the type of an annotation.

    Raises:
        UserError: No reading of the annotation fits.
    """
    options = alternatives(hint)
    for option in options:
        fits, converted = _fit(value, option)
        if fits:
            return converted
    wanted = " or ".join(dict.fromkeys(_name(option) for option in options))
    choices = [str(choice) for option in options for choice in _choices(option)]
    what = f"{dotted} is {value!r}, which is not {wanted}."
    raise _refusal(dotted, what, origins, str(value), choices if isinstance(value, str) else [], f"Use {wanted}.")


def _refusal(
    dotted: str, what: str, origins: Mapping[str, str], word: str, known: list[str], otherwise: str
) -> UserError:
    """Make the error: where `dotted` was written, what is wrong, and a hint.

    The hint is the known word closest to `word`, if any is close.
    """
    return UserError(f"{origins.get(dotted, 'config')}: {what}", did_you_mean(word, known) or otherwise)


def _fit(value: Any, option: Any) -> tuple[bool, Any]:
    """Tell whether `value` fits one alternative of an annotation.

    Returns:
        Whether it fits, and which value to set.
    """
    origin = typing.get_origin(option)
    if option is Any or (origin is None and not isinstance(option, type)):
        return True, value
    if origin is typing.Literal:
        return value in typing.get_args(option), value
    plain = origin or option
    if plain is torch.dtype:
        dtype = getattr(torch, value, None) if isinstance(value, str) else value
        return isinstance(dtype, torch.dtype), dtype
    if isinstance(plain, type) and issubclass(plain, enum.Enum):
        known = plain.__members__
        return (value in known, known.get(value)) if isinstance(value, str) else (isinstance(value, plain), value)
    if plain is float:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number, float(value) if number else value
    if plain is int:
        return isinstance(value, int) and not isinstance(value, bool), value
    if plain is tuple and isinstance(value, list):
        return True, tuple(value)
    if plain in (bool, str, list, dict, type(None)):
        return isinstance(value, plain), value
    # YAML cannot express paths, callables and config objects; strings are accepted, and Megatron checks them.
    return True, value


def alternatives(hint: Any) -> list[Any]:
    """List the members of a union, also of nested unions; else the annotation itself."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return [inner for option in typing.get_args(hint) for inner in alternatives(option)]
    return [hint]


def _choices(option: Any) -> list[Any]:
    if typing.get_origin(option) is typing.Literal:
        return list(typing.get_args(option))
    if isinstance(option, type) and issubclass(option, enum.Enum):
        return list(option.__members__)
    return []


def _name(option: Any) -> str:
    if choices := _choices(option):
        return " or ".join(repr(choice) for choice in choices)
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "text", list: "a list"}
    words |= {dict: "a mapping", type(None): "null", torch.dtype: "a torch dtype such as bfloat16"}
    plain = typing.get_origin(option) or option
    return words.get(plain, getattr(plain, "__name__", str(plain)))
