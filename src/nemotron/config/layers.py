"""Read a config with what it inherits through `defaults:`.

A config is its parents, merged in order, with its own values on top.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nemotron.config.errors import ConfigError
from nemotron.config.files import display_path, find_parent
from nemotron.config.located import Located
from nemotron.config.spellings import merge_layer, spell_out
from nemotron.config.yaml_file import read_yaml


def read_layers(
    path: Path,
    group: str = "",
    children: tuple[Path, ...] = (),
    *,
    schema: Any = None,
    above: Mapping[Path, Located] | None = None,
) -> Located:
    """Merge a file with everything it inherits from.

    A later default wins over an earlier one, and the file itself wins over all of them.

    Args:
        path: The file; its `defaults` is a name or a list of names.
        group: The folder of shipped configs to inherit from.
        children: The files that led here; to meet one of them again is a cycle.
        schema: The dataclass that lists settings with several spellings (spellings.py), or None.
        above: Maps a file to a layer that goes directly on top of it, wherever it is inherited.

    Raises:
        ConfigError: There is a cycle, a parent does not exist, or a file is not valid.
    """
    own = read_own(path, schema)
    sections = dict(own.value)
    defaults = sections.pop("defaults", None)
    merged = Located({}, own.origin)
    for parent in _names(defaults):
        parent_path = find_parent(parent.value, path, group, parent.origin)
        if parent_path in (*children, path):
            raise ConfigError(
                f'{parent.origin}: inherits from "{parent.value}", which itself inherits from this file.',
                "Remove one of the two `defaults:` lines.",
            )
        parents = read_layers(parent_path, group, (*children, path), schema=schema, above=above)
        merged = merge_layer(merged, parents, schema)
    merged = merge_layer(merged, Located(sections, own.origin), schema)
    return merge_layer(merged, above[path], schema) if above and path in above else merged


def list_ancestors(path: Path, group: str = "") -> list[str]:
    """List the configs that a file inherits from, by name, nearest first.

    Of the `defaults` of one file the last name comes first, as its values win.

    Raises:
        ConfigError: A parent does not exist, or a file is not valid. A cycle ends the list.
    """
    names: list[str] = []
    seen, left = {path}, [path]
    while left:
        child = left.pop(0)
        for parent in reversed(_names(read_own(child).value.get("defaults"))):
            names.append(parent.value)
            file = find_parent(parent.value, child, group, parent.origin)
            if file not in seen:
                seen.add(file)
                left.append(file)
    return names


def read_own(path: Path, schema: Any = None) -> Located:
    """Return a file's own values, including `defaults`.

    Each setting has its primary spelling.
    """
    return spell_out(read_yaml(path, display_path(path)), schema)


def _names(defaults: Located | None) -> list[Located]:
    if defaults is None or defaults.value is None:
        return []
    names = defaults.value if isinstance(defaults.value, list) else [defaults]
    for name in names:
        if not isinstance(name.value, str):
            raise ConfigError(
                f"{name.origin}: defaults must be a config name or a list of names.", "For example: defaults: [default]"
            )
    return names
