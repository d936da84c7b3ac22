"""Markdown tables, and how they spell values and types."""

import dataclasses
import re
import types
import typing
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

import yaml

from nemotron.json_schema import field_docstrings

_NAMES = {str: "text", int: "integer", float: "number", bool: "boolean", type(None): "null", dict: "section"}


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; bars inside of cells are escaped."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(text: str) -> str:
    """Return text on one line, with bars escaped everywhere and tags outside of code."""
    pieces = re.split(r"(`[^`]*`)", " ".join(text.replace("|", "\\|").split()))
    return "".join(piece if piece.startswith("`") else piece.replace("<", "&lt;") for piece in pieces)


def sentence(text: str) -> str:
    """Return a phrase as a sentence: a capital, a full stop."""
    return text and f"{text[0].upper()}{text[1:]}{'' if text.endswith(('.', '?')) else '.'}"


def code(value: str) -> str:
    """Return text as code; nothing for no text."""
    return f"`{value}`" if value else ""


def spell_value(value: Any) -> str:
    """Spell a value as YAML on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10**6, allow_unicode=True, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...")


def spell_type(hint: Any) -> str:
    """Spell a type hint in the words of YAML: `integer or null`, `"a"`, `list of text`."""
    if isinstance(hint, typing.TypeAliasType):
        return spell_type(hint.__value__)
    if hint in _NAMES:
        return _NAMES[hint]
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return "path" if inside[0] is str else spell_type(inside[0])
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(spell_type(part) for part in inside))
    if origin is Literal:
        return " or ".join(f"`{choice}`" for choice in inside)
    if origin in (list, tuple):
        return f"list of {spell_type(inside[0])}" if inside else "list"
    if origin is dict:
        return "section"
    return "section" if dataclasses.is_dataclass(hint) else "any"


def described_fields(schema: type) -> Iterator[tuple[str, Any, str]]:
    """Yield name, type hint and docstring of each field of a dataclass."""
    hints, documented = typing.get_type_hints(schema, include_extras=True), field_docstrings(schema)
    for field in dataclasses.fields(schema):
        yield field.name, hints[field.name], documented.get(field.name, "")


def field_table(schema: type, heads: Sequence[str] = ("Key", "Type", "Meaning")) -> str:
    """Return the table of a dataclass's fields."""
    return table(heads, ((code(name), spell_type(hint), text) for name, hint, text in described_fields(schema)))
