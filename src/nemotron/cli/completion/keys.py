"""Complete `key=value` from the JSON schemas that ship with the configs."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from nemotron.cli.completion import known

_SCHEMAS = {
    "sft": ("sft",),
    "pipe": ("data_prep", "sft"),
    "rollouts": ("rollouts",),
    "inspect": ("data_prep",),
    "prep": ("data_prep",),
}
"""The configs whose keys a command takes, by a word of its name."""
_ARTIFACT_TYPES = {"run.data": "dataset", "run.model": "model"}
_WORDS = {True: "true", False: "false", None: "null"}


def complete_key(command: tuple[str, ...], typed: str) -> Iterator[tuple[str, str]]:
    """List keys, one section at a time, or the values of the key before the `=`.

    Yields:
        `train.` for a section, `train.train_iters=` for a key, or `overlong=drop` for a value; and the description.
    """
    part = next(part for part in ("prep", *reversed(command)) if part in command and part in _SCHEMAS)
    for name in _SCHEMAS[part]:
        key, equals, _ = typed.partition("=")
        *sections, _ = key.split(".")
        node: Mapping[str, Any] = _read(name)
        for section in sections:
            node = _object(_properties(node).get(section, {}))
        for child, schema in _properties(node).items():
            dotted = ".".join([*sections, child])
            if equals and dotted == key:
                yield from ((f"{key}={value}", "") for value in _values(command, dotted, schema))
            elif not equals and not (child == "defaults" and not sections):
                is_section = bool(_properties(_object(schema)))
                yield f"{dotted}{'.' if is_section else '='}", _describe(schema)
                if is_section and _choices(schema):
                    yield f"{dotted}=", _describe(schema)


def complete_key_or_file(command: tuple[str, ...], typed: str) -> Iterator[tuple[str, str]]:
    """List keys, and files of chat data to prepare."""
    yield from complete_key(command, typed)
    if "=" not in typed:
        yield from known.files(command, typed)


def _read(name: str) -> dict[str, Any]:
    from nemotron.files.paths import config_dir

    return json.loads((config_dir() / "schema" / f"{name}.json").read_text(encoding="utf-8"))


def _forms(schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [form for one in schema["anyOf"] for form in _forms(one)] if "anyOf" in schema else [schema]


def _object(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the form of a setting that has keys, or {} if none has."""
    return next((form for form in _forms(schema) if "properties" in form), {})


def _properties(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    return schema.get("properties", {})


def _describe(schema: Mapping[str, Any]) -> str:
    return schema.get("description") or _object(schema).get("description", "")


def _choices(schema: Mapping[str, Any]) -> list[str]:
    """List the values of a setting that is a choice of words, or true or false."""
    found = [choice for form in _forms(schema) for choice in form.get("enum", [])]
    if any(form.get("type") == "boolean" for form in _forms(schema)):
        found += [True, False]
    return [_WORDS.get(choice, str(choice)) if not isinstance(choice, str) else choice for choice in found]


def _values(command: tuple[str, ...], key: str, schema: Mapping[str, Any]) -> list[str]:
    if key in _ARTIFACT_TYPES:
        return [name for name, _ in known.artifacts(command, "", _ARTIFACT_TYPES[key])]
    choices = _choices(schema)
    return [*choices, "null"] if choices and any(form.get("type") == "null" for form in _forms(schema)) else choices
