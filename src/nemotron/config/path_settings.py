"""Path settings: which fields hold paths, and how `~` in them is expanded.

That is done once, when a config is loaded.

    output_dir: PathSetting = "output/stage1_sft"
    export_dir: PathSetting | None = None
    checkpoint: Annotated[dict[str, Any], PathKeys("save", "load")] = field(default_factory=dict)

A field that holds either a name or a path (`tokenizer.model`) is one too: only a leading `~` is touched. Relative paths
stay relative to the working directory.
"""

import dataclasses
import typing
from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import Annotated, Any

from nemotron.config.errors import ConfigError
from nemotron.config.schema import join
from nemotron.errors import UserError
from nemotron.paths import expand_home

_PATH = "path"
PathSetting = Annotated[str, _PATH]
"""The type of a field that holds a path, or a name in whose place a path may stand."""


class PathKeys(tuple[str, ...]):
    """Marks an open section (`dict[str, Any]`): the values of these keys are paths."""

    def __new__(cls, *names: str) -> "PathKeys":
        """Take the keys one by one."""
        return super().__new__(cls, names)


def expand_paths[T](config: T, origins: Mapping[str, str], section: str = "") -> T:
    """Return a copy of a config in which every path setting has its `~` expanded.

    Args:
        config: an instance of a schema.
        origins: dotted key -> where its value was written, for messages.
        section: the dotted key of `config` within the whole; "" is the top.

    Raises:
        ConfigError: a path begins with the home of a user that this machine does not have.
    """
    hints = typing.get_type_hints(type(config), include_extras=True)
    changed = {
        name: _expanded(getattr(config, name), hint, join(section, name), origins) for name, hint in hints.items()
    }
    return dataclasses.replace(config, **changed)  # type: ignore[type-var]


def _expanded(value: Any, hint: Any, key: str, origins: Mapping[str, str]) -> Any:
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
    if not (isinstance(value, str) and value.startswith("~")):
        return value
    try:
        return str(expand_home(value))
    except UserError as error:
        raise ConfigError(f"{origins.get(key, 'config')}: {key}: {error.message}", error.hint) from None


def _markers(hint: Any) -> tuple[Any, ...]:
    """Return what is annotated on a type, or on a member of a union."""
    if typing.get_origin(hint) is Annotated:
        return hint.__metadata__
    return tuple(marker for member in typing.get_args(hint) for marker in getattr(member, "__metadata__", ()))
