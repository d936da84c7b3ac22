"""Mark the fields that hold paths, and expand `~` in them.

Paths are expanded once, when a config is loaded.

    output_dir: PathSetting = "output/stage1_sft"
    export_dir: PathSetting | None = None
    checkpoint: Annotated[dict[str, Any], PathKeys("save", "load")] = field(default_factory=dict)

A field that holds either a name or a path (`tokenizer.model`) is one too, because only a leading `~` is changed.
Relative paths stay relative to the working directory.
"""

import dataclasses
import typing
from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import Annotated, Any

from nemotron.config.errors import ConfigError
from nemotron.config.schema import join
from nemotron.errors import UserError
from nemotron.files.paths import expand_home

_PATH = "path"
PathSetting = Annotated[str, _PATH]
"""The type of a field that holds a path, or either a name or a path."""


class PathKeys(tuple[str, ...]):
    """Marks keys of an open section (`dict[str, Any]`) whose values are paths."""

    def __new__(cls, *names: str) -> "PathKeys":
        """Create the marker from the keys."""
        return super().__new__(cls, names)


def expand_paths[T](config: T, origins: Mapping[str, str], section: str = "") -> T:
    """Return a copy of a config in which every path setting has its `~` expanded.

    Args:
        config: An instance of a schema.
        origins: Maps a dotted key to where its value was written, for messages.
        section: The dotted key of `config` within the whole config; "" is the top.

    Raises:
        ConfigError: A path begins with the home of a user who does not exist on this machine.
    """
    hints = typing.get_type_hints(type(config), include_extras=True)
    changed = {
        name: _expand_fields(getattr(config, name), hint, join(section, name), origins) for name, hint in hints.items()
    }
    return dataclasses.replace(config, **changed)  # type: ignore[type-var]


def _expand_fields(value: Any, hint: Any, key: str, origins: Mapping[str, str]) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return expand_paths(value, origins, key)
    markers = _markers(hint)
    if _PATH in markers:
        return _expand(value, key, origins)
    if isinstance(value, dict):
        names = {name for marker in markers if isinstance(marker, PathKeys) for name in marker} & value.keys()
        return {**value, **{name: _expand(value[name], join(key, name), origins) for name in names}}
    return value


def _expand(value: Any, key: str, origins: Mapping[str, str]) -> Any:
    try:
        return expand_home(value) if isinstance(value, str) else value
    except UserError as error:
        raise ConfigError(f"{origins.get(key, 'config')}: {key}: {error.message}", error.hint) from None


def _markers(hint: Any) -> tuple[Any, ...]:
    """Return the annotations of a type, or of the members of a union."""
    if typing.get_origin(hint) is Annotated:
        return hint.__metadata__
    return tuple(marker for member in typing.get_args(hint) for marker in getattr(member, "__metadata__", ()))
