"""Make the JSON schema of a config from its dataclasses.

Editors use it to complete, explain and check YAML.
"""

import ast
import dataclasses
import inspect
import textwrap
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, Literal

Open = Callable[[str], Mapping[str, Mapping[str, Any]]]
"""Returns the settings of an open section by name, each as a JSON schema; {} if they are not known."""

_PLAIN: dict[Any, dict[str, Any]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    type(None): {"type": "null"},
    Any: {},
}
INTERPOLATED = {"type": "string", "pattern": r"\$\{"}
"""`${...}` may stand for any value."""


def json_schema(config: type, open_settings: Open = lambda section: {}) -> dict[str, Any]:
    """Return the JSON schema (draft 2020-12) of the YAML files of a config.

    Args:
        config: Its dataclass; docstrings below fields become descriptions.
        open_settings: Returns the settings of a section typed `dict`, by the section's name.
    """
    schema = _object(config, open_settings)
    for word in getattr(config, "WORDS", ()):
        forms = schema["properties"][word.section]["anyOf"]
        [section] = [form for form in forms if "properties" in form]
        forms.append(section["properties"][word.key])
    schema["properties"] = {
        "defaults": {
            "description": "The configs that this one starts from, by name or path.",
            "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
        },
        **schema["properties"],
    }
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": config.__name__, **schema}


def _object(config: type, open_settings: Open) -> dict[str, Any]:
    described = field_docstrings(config)
    properties = {}
    for name, hint in typing.get_type_hints(config).items():
        if name not in {field.name for field in dataclasses.fields(config)}:
            continue
        value = _of(hint, name, open_settings)
        if name in described:
            value = {"description": described[name], **value}
        properties[name] = value
    summary = inspect.getdoc(config) or ""
    return {"type": "object", "description": summary, "properties": properties, "additionalProperties": False}


def _of(hint: Any, name: str, open_settings: Open) -> dict[str, Any]:
    """Return the schema of a field's value; an interpolation is allowed too."""
    forms = _forms(hint, name, open_settings)
    if {} in forms:
        return {}
    forms = [form for number, form in enumerate(forms) if form not in forms[:number]]
    return {"anyOf": [*forms, INTERPOLATED]}


def _forms(hint: Any, name: str, open_settings: Open) -> list[dict[str, Any]]:
    if hint in _PLAIN:
        return [_PLAIN[hint]]
    if isinstance(hint, typing.TypeAliasType):
        return _forms(hint.__value__, name, open_settings)
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return [_object(hint, open_settings)]
    if origin in (typing.Union, types.UnionType):
        return [form for part in inside for form in _forms(part, name, open_settings)]
    if origin is Literal:
        return [{"enum": list(inside)}]
    if origin in (list, tuple):
        return [{"type": "array", "items": _of(inside[0], name, open_settings) if inside else {}}]
    if origin is dict or hint is dict:
        known = {key: dict(value) for key, value in open_settings(name).items()}
        return [{"type": "object", "properties": known}] if known else [{"type": "object"}]
    return [{}]


def field_docstrings(config: type) -> dict[str, str]:
    """Return the docstring below each field, as one line."""
    found: dict[str, str] = {}
    for owner in reversed([base for base in config.__mro__ if dataclasses.is_dataclass(base)]):
        [body] = ast.parse(textwrap.dedent(inspect.getsource(owner))).body
        assert isinstance(body, ast.ClassDef)
        for before, after in zip(body.body, body.body[1:], strict=False):
            if isinstance(before, ast.AnnAssign) and isinstance(before.target, ast.Name):
                match after:
                    case ast.Expr(value=ast.Constant(value=str(text))):
                        found[before.target.id] = " ".join(text.split())
    return found
