"""Refuse misspelt Megatron-Bridge settings and wrong types, without Megatron.

Before training starts (in a dry run, before a job is queued), settings are looked up in megatron_settings.tsv, which
tools/list_megatron_settings.py extracts from the tested releases and explains. When training starts, `sections.py`
checks them against the installed release's own classes.
"""

import ast
from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from nemotron.errors import UserError, did_you_mean
from nemotron.json_schema import INTERPOLATED
from nemotron.training.config import MEGATRON_SECTIONS, SftConfig

Table = dict[str, dict[str, tuple[str, ...]]]
"""Maps a release to dotted keys and their types, as in the file."""

SETTINGS_FILE = Path(__file__).with_name("megatron_settings.tsv")
ANY = "any"
_TYPES: dict[str, tuple[type, ...]] = {
    "bool": (bool,),
    "int": (int,),
    "float": (int, float),
    "str": (str,),
    "null": (type(None),),
}
_WORDS = {"bool": "true or false", "int": "a whole number", "float": "a number", "str": "text", "null": "null"}
_JSON_TYPES = {"bool": "boolean", "int": "integer", "float": "number", "str": "string"}
_READABLE_CHOICES = 6
"""If there are more choices than this, they are listed in the hint instead of the message."""


def check_known_settings(config: SftConfig, origins: Mapping[str, str]) -> None:
    """Check keys and values of every section that belongs to Megatron-Bridge.

    A key or a value passes if any listed release accepts it, because the job may run with another release, in a
    container. If an unlisted release is installed, nothing is checked.

    Args:
        config: The training config.
        origins: Dotted key -> where it was written.

    Raises:
        UserError: A key or a value is wrong; the message has its place and the closest valid one.
    """
    table = read_table(SETTINGS_FILE.read_text(encoding="utf-8"))
    if _installed_release() not in (*table, None):
        return
    for dotted, value in _settings_of(config):
        accepted = _accepted_types(table, dotted)
        where = origins.get(dotted, "config")
        if not accepted:
            raise UserError(
                f"{where}: {dotted} is not a setting of Megatron-Bridge {' or '.join(table)}.",
                _nearest_key(table, dotted),
            )
        # null leaves the setting to the data or to other settings.
        if value is not None and not any(_fits(value, kind) for kind in accepted):
            wanted, hint = _describe_accepted(value, accepted)
            raise UserError(f"{where}: {dotted} is {value!r}, which is not {wanted}.", hint)


def read_table(text: str) -> Table:
    """Parse the content of megatron_settings.tsv."""
    header, *rows = (line.split("\t") for line in text.splitlines())
    return {
        release: {row[0]: tuple(row[column].split("|")) for row in rows if row[column]}
        for column, release in enumerate(header[1:], 1)
    }


def schemas_of_section(section: str) -> dict[str, dict[str, Any]]:
    """Return a JSON schema for each setting of a section of Megatron-Bridge."""
    table = read_table(SETTINGS_FILE.read_text(encoding="utf-8"))
    keys = sorted({key for settings in table.values() for key in settings if key.startswith(f"{section}.")})
    return {key.partition(".")[2]: _schema(_accepted_types(table, key)) for key in keys}


def _schema(accepted: Collection[str]) -> dict[str, Any]:
    """Return the schema of a setting, which may also be null or an interpolation.

    null leaves it to the data or the recipe.
    """
    if ANY in accepted:
        return {}
    choices = [ast.literal_eval(kind) for kind in accepted if kind not in _WORDS]
    kinds = [_JSON_TYPES[kind] for kind in accepted if kind in _WORDS and kind != "null"]
    forms: list[dict[str, Any]] = [{"enum": choices}] if choices else []
    forms += [{"type": kind} for kind in kinds]
    return {"anyOf": [*forms, {"type": "null"}, INTERPOLATED]}


def _settings_of(config: SftConfig) -> Iterator[tuple[str, Any]]:
    """Yield dotted keys and values.

    A section given by name (`mixed_precision: bf16_mixed`) is yielded under its own key.
    """
    for section in MEGATRON_SECTIONS:
        content = getattr(config, section)
        if isinstance(content, Mapping):
            for key, value in content.items():
                yield f"{section}.{key}", value
        elif content is not None:
            yield section, content


def _accepted_types(table: Table, dotted: str) -> list[str]:
    """Return the types of a key in all releases, the newest first; [] if unknown."""
    return list(dict.fromkeys(kind for settings in table.values() for kind in settings.get(dotted, ())))


def _nearest_key(table: Table, dotted: str) -> str:
    section = dotted.partition(".")[0]
    known = sorted({key for settings in table.values() for key in settings if key.startswith(f"{section}.")})
    return did_you_mean(dotted, known) or "Its settings are in src/nemotron/training/recipe/megatron_settings.tsv."


def _fits(value: Any, kind: str) -> bool:
    if kind == ANY:
        return True
    if kind in _TYPES:
        # In Python, True is an int.
        return isinstance(value, _TYPES[kind]) and (kind == "bool" or not isinstance(value, bool))
    choice = ast.literal_eval(kind)
    return type(value) is type(choice) and value == choice


def _describe_accepted(value: Any, accepted: Collection[str]) -> tuple[str, str]:
    """Return what was expected, and a hint.

    Many choices are listed only in the hint, the closest first.
    """
    types = [_WORDS[kind] for kind in accepted if kind in _WORDS]
    choices = [] if "str" in accepted else [ast.literal_eval(kind) for kind in accepted if kind not in _WORDS]
    near = did_you_mean(value, map(str, choices)) if isinstance(value, str) else None
    if len(choices) <= _READABLE_CHOICES:
        wanted = " or ".join([*map(repr, choices), *types])
        return wanted, near or f"Use {wanted}."
    # Megatron-Bridge lists some names twice, with - instead of _.
    names = [name for name in choices if "-" not in name or name.replace("-", "_") not in choices]
    names.sort(key=lambda name: not _shares_part(value, name))
    order = ", the closest first" if _shares_part(value, names[0]) else ""
    listed = f"Use one of these{order}: {', '.join(names)}."
    return " or ".join([f"one of its {len(names)} names", *types]), near or listed


def _shares_part(value: Any, name: str) -> bool:
    """Tell whether a part of `name` is close to `value`, as fp8 is to fp8x."""
    return bool(get_close_matches(str(value), name.split("_"), cutoff=0.75))


def _installed_release() -> str | None:
    try:
        return version("megatron-bridge")
    except PackageNotFoundError:
        return None
