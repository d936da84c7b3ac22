"""`defaults:` inheritance: a config is its parents, in order, with its own values on top."""

from pathlib import Path

from nemotron.config.errors import ConfigError
from nemotron.config.files import find_parent, shown
from nemotron.config.located import Located, merge
from nemotron.config.yaml_file import read_yaml


def read_layers(path: Path, group: str = "", children: tuple[Path, ...] = ()) -> Located:
    """The file and everything it inherits from, merged: the later default wins, the file itself wins over all.

    `defaults` is a name or a list of names. `children` are the files on the way here; meeting one of them again
    is a circle and raises ConfigError.
    """
    own = read_yaml(path, shown(path))
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
        merged = merge(merged, read_layers(parent_path, group, (*children, path)))
    return merge(merged, Located(sections, own.origin))


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
