"""Load a typed, resolved config from a name and `key=value` arguments."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nemotron.config.convert import convert
from nemotron.config.files import find_config
from nemotron.config.interpolate import drop_open, escape, is_open, resolve
from nemotron.config.layers import read_layers, read_own
from nemotron.config.located import DEFAULT, Located, attach_origin, leaves, merge, plain
from nemotron.config.overrides import apply_overrides, parse_overrides
from nemotron.config.path_settings import expand_paths
from nemotron.config.schema import as_plain, default_tree, refuse_unknown
from nemotron.config.spellings import find_typed_words
from nemotron.config.yaml_file import as_argument, dump_yaml
from nemotron.secrets import mask_tree, remember_secrets


@dataclass(frozen=True)
class Loaded[T]:
    """A config and where its values came from."""

    config: T
    """An instance of the schema, every interpolation resolved and `~` expanded in every path setting."""
    tree: dict[str, Any]
    """The same values as nested dicts, lists and scalars, but with `~` as written, because a job that loads them again
    may have another home. Open values (`${art:...}`) are kept as written too, and are None in `config`. The tree may
    contain secrets: print or write `to_yaml()` instead."""
    origins: dict[str, str]
    """Maps the dotted key of every value in `tree` to `config/tiny.yaml:12`, "command line" or "default"."""
    name: str
    """`tiny` for `config/tiny.yaml`."""
    path: Path
    """The YAML file itself."""

    def convert_unexpanded(self) -> T:
        """Return the config with `~` as written, for a machine with another home."""
        return convert(type(self.config), attach_origin(drop_open(self.tree), DEFAULT))

    def rows(self) -> list[tuple[str, str, str]]:
        """List (key, value as YAML, origin) of every value, with secrets as `***`.

        Empty sections are left out.
        """
        shown = leaves(attach_origin(mask_tree(self.tree), DEFAULT))
        return [(key, as_argument(plain(node)), self.origins[key]) for key, node in shown.items() if node.value != {}]

    def to_yaml(self) -> str:
        """Write the resolved config as YAML that `load_config` reads back.

        Secrets are replaced by `***`.
        """
        return dump_yaml(_escape_values(mask_tree(self.tree)))


def load_config[T](
    name_or_path: str,
    overrides: Sequence[str] = (),
    *,
    group: str = "",
    schema: type[T],
    leave_artifacts: bool = False,
) -> Loaded[T]:
    """Load a config by name or path, with `key=value` overrides on top.

    A name means `config/<group>/<name>.yaml`.

    Later layers win, also between several spellings of one setting (spellings.py): the schema's defaults, the files
    under `defaults:`, the file itself, the overrides. Then interpolations are resolved, every value is checked against
    `schema`, a dataclass (see `convert` for the types it may use), and `~` is expanded in path settings.
    `leave_artifacts` keeps `${art:...}` open for a later load, by a job or once the data exists.

    Raises:
        ConfigError: The user made a mistake; it is a UserError.
    """
    path = find_config(name_or_path, group)
    for argument in overrides:
        key, _, text = argument.partition("=")
        remember_secrets(text, key)
    above = _read_words(overrides, group, schema)
    written = apply_overrides(read_layers(path, group, schema=schema, above=above), overrides, schema)
    refuse_unknown(schema, written)  # before anything is resolved, because a mistyped key is the more likely mistake
    remember_secrets(plain(written))
    resolved = resolve(merge(default_tree(schema), written), path.stem, leave_artifacts=leave_artifacts)
    remember_secrets(plain(resolved))
    config = convert(schema, _drop_open(resolved))
    tree = _restore_open(as_plain(config), plain(resolved))
    where = {key: node.origin for key, node in leaves(resolved).items()}
    origins = {key: where.get(key, DEFAULT) for key in leaves(attach_origin(tree, DEFAULT))}
    return Loaded(expand_paths(config, origins), tree, origins, path.stem, path)


def _read_words(overrides: Sequence[str], group: str, schema: Any) -> dict[Path, Located]:
    """Find the values that a word such as `peft=lora` brings with it.

    They come from a shipped config, and go on top of `default` only.
    """
    above = {}
    for word in find_typed_words(parse_overrides(overrides), schema):
        own = read_own(find_config(word.brings, group), schema)
        rest = {key: child for key, child in own.value.items() if key not in ("defaults", word.section)}
        above[find_config("default", group)] = Located(rest, own.origin)
    return above


def _escape_values(value: Any) -> Any:
    """Escape `${` in resolved values, so that loading the YAML keeps them as they are."""
    if isinstance(value, dict):
        return {key: _escape_values(child) for key, child in value.items()}
    if isinstance(value, list):
        return [_escape_values(child) for child in value]
    return escape(value) if isinstance(value, str) else value


def _drop_open(node: Located) -> Located:
    if isinstance(node.value, dict):
        return Located({key: _drop_open(child) for key, child in node.value.items()}, node.origin)
    if isinstance(node.value, list):
        return Located([_drop_open(child) for child in node.value], node.origin)
    return Located(None, node.origin) if is_open(node.value) else node


def _restore_open(tree: Any, written: Any) -> Any:
    """Put open values back into the values of a config."""
    if isinstance(tree, dict) and isinstance(written, dict):
        return {key: _restore_open(child, written.get(key)) for key, child in tree.items()}
    if isinstance(tree, list) and isinstance(written, list):
        return [_restore_open(*pair) for pair in zip(tree, written, strict=True)]
    return written if is_open(written) else tree
