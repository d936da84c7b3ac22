"""Read JSON that this package wrote, as the types that it was written from.

Files are damaged, edited, or of another release: what does not fit its type is found when a file is read, not later.
"""

import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from functools import lru_cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

_WORDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false", types.NoneType: "null"}


def typed[T](hint: type[T], value: object, *, ignores_unknown: bool = False) -> T:
    """Convert a JSON value to a type.

    That is a dataclass, a TypedDict, a list, tuple or dict, a union, a Literal, text, a number, a truth value, or Any.

    Args:
        hint: The type.
        value: What a JSON parser returned.
        ignores_unknown: Leave out fields that a dataclass does not have, as a later release may write them.

    Raises:
        ValueError: It does not fit; the message has the place: `splits.0.packs is text, not a whole number`.
    """
    return _read(hint, value, "", ignores_unknown)


def _read(hint: Any, value: Any, place: str, ignores: bool) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if origin in (Union, types.UnionType):
        return _read_member(arguments, value, place, ignores)
    if origin is Literal:
        if value not in arguments or isinstance(value, bool):
            raise ValueError(f"{_named(place)} is none of {', '.join(map(str, arguments))}")
        return value
    if is_dataclass(hint) or is_typeddict(hint):
        return _read_fields(hint, value, place, ignores)
    if (origin or hint) in (list, tuple, Sequence):
        _ensure(isinstance(value, list), value, "a list", place)
        inner = arguments[0] if arguments else Any
        found = [_read(inner, each, f"{place}.{number}", ignores) for number, each in enumerate(value)]
        return found if origin is list or hint is list else tuple(found)
    if (origin or hint) in (dict, Mapping):
        _ensure(isinstance(value, dict), value, "an object", place)
        inner = arguments[1] if arguments else Any
        return {key: _read(inner, each, f"{place}.{key}", ignores) for key, each in value.items()}
    fits = isinstance(value, hint) or (hint is float and isinstance(value, int))
    _ensure(fits and (hint is bool) == isinstance(value, bool), value, _WORDS.get(hint, str(hint)), place)
    return value


def _read_member(members: Sequence[Any], value: Any, place: str, ignores: bool) -> Any:
    problems = []
    for member in members:
        try:
            return _read(member, value, place, ignores)
        except ValueError as error:
            problems.append(str(error))
    raise ValueError(problems[0])


def _read_fields(hint: Any, value: Any, place: str, ignores: bool) -> Any:
    _ensure(isinstance(value, dict), value, "an object", place)
    hints, required = _fields(hint)
    if missing := required - value.keys():
        raise ValueError(f"{_named(f'{place}.{min(missing)}')} is missing")
    if not ignores and (unknown := value.keys() - hints.keys()):
        raise ValueError(f"{_named(f'{place}.{min(unknown)}')} is not known")
    found = {key: _read(hints[key], each, f"{place}.{key}", ignores) for key, each in value.items() if key in hints}
    return hint(**found)


@lru_cache(maxsize=100)
def _fields(hint: Any) -> tuple[dict[str, Any], frozenset[str]]:
    """Return the types of a class's fields, and the fields that must be there."""
    hints = get_type_hints(hint)
    if is_typeddict(hint):
        return hints, frozenset(hint.__required_keys__)
    needed = (each.name for each in fields(hint) if each.default is MISSING and each.default_factory is MISSING)
    return {each.name: hints[each.name] for each in fields(hint)}, frozenset(needed)


def _ensure(fits: bool, value: Any, wanted: str, place: str) -> None:
    if not fits:
        kind = {dict: "an object", list: "a list"}.get(type(value)) or _WORDS.get(type(value), "something else")
        raise ValueError(f"{_named(place)} is {kind}, not {wanted}")


def _named(place: str) -> str:
    return place.removeprefix(".") or "the file's content"
