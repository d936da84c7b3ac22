"""Handle settings that can be written in several ways.

The spelling that was written last is in effect. A schema lists the spellings as class attributes (no annotation, so
they are no fields):

    ALTERNATIVES = (Alternatives("the length of the run", ("train.train_iters", "train.num_epochs")),)
    SYNONYMS = (("train.eval_iters", "validation.eval_iters"),)
    WORDS = (Word("peft", "scheme", brings="lora"),)
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from nemotron.config.errors import ConfigError
from nemotron.config.located import COMMAND_LINE, Located, merge
from nemotron.config.yaml_file import as_argument


@dataclass(frozen=True)
class Alternatives:
    """Keys of which at most one is in effect."""

    what: str
    """What the keys set, for messages."""
    keys: tuple[str, ...]
    zero_is_off: bool = False
    """Whether the value 0 means that a key is not used, if another of the keys is set."""

    def find_given(self, layer: Located) -> list[str]:
        """List the keys that a layer sets."""
        values = {key: node.value for key in self.keys if (node := find(layer, key)) is not None}
        values = {key: value for key, value in values.items() if value is not None}
        in_use = [key for key, value in values.items() if not (self.zero_is_off and value == 0)]
        return in_use or [*values]


@dataclass(frozen=True)
class Word:
    """A section that may be given as one word.

    `peft: lora` stands for `peft: {scheme: lora}`.
    """

    section: str
    key: str
    """The key whose value the word is."""
    brings: str
    """The shipped config that the word also loads when it is typed on a command line. Only `default` is below it."""


def merge_layer(base: Located, layer: Located, schema: Any = None) -> Located:
    """Merge a layer over others.

    Other spellings of the same settings are cleared in the layers below.

    Args:
        base: The layers below.
        layer: A file, or what was typed, in primary spellings.
        schema: The dataclass that lists alternatives, or None.
    """
    for group in _alternatives(schema):
        if given := group.find_given(layer):
            winner = find(layer, given[0])
            assert winner is not None
            for key in group.keys:
                below = find(base, key)
                if find(layer, key) is None and below is not None and below.value is not None:
                    base = merge(base, _nest(key, Located(None, winner.origin)))
    return merge(base, layer)


def spell_out(layer: Located, schema: Any) -> Located:
    """Return one file's own values, each in its primary spelling.

    Raises:
        ConfigError: Two spellings of one setting are given: two alternatives, or a key and its synonym.
    """
    for word in _words(schema):
        node = find(layer, word.section)
        if node is not None and isinstance(node.value, str):
            layer = merge(layer, Located({word.section: Located({word.key: node}, node.origin)}, layer.origin))
    for other, key in getattr(schema, "SYNONYMS", ()):
        node = find(layer, other)
        if node is not None:
            _refuse_two("one setting", layer, [name for name in (other, key) if find(layer, name)])
            layer = merge(_without(layer, other.split(".")), _nest(key, node))
    for group in _alternatives(schema):
        _refuse_two(group.what, layer, group.find_given(layer))
    return layer


def spell_out_override(key: str, value: Located, schema: Any) -> tuple[str, Located]:
    """Return a `key=value` in its primary spelling.

    `peft=lora` becomes a section, and a synonym becomes the key it stands for.
    """
    for word in _words(schema):
        if key == word.section and isinstance(value.value, str):
            return key, Located({word.key: value}, value.origin)
    return dict(getattr(schema, "SYNONYMS", ())).get(key, key), value


def find_typed_words(keys_and_values: Iterable[tuple[str, Located]], schema: Any) -> list[Word]:
    """List the words among typed `key=value` arguments.

    A word does not count if a later argument sets its section in another way.
    """
    last = dict(keys_and_values)
    return [word for word in _words(schema) if word.section in last and isinstance(last[word.section].value, str)]


def has_other_spellings(key: str, schema: Any) -> bool:
    """Tell whether a key, or one in its section, is one of several spellings."""
    synonyms = [name for pair in getattr(schema, "SYNONYMS", ()) for name in pair]
    names = [*(name for group in _alternatives(schema) for name in group.keys), *synonyms]
    return any(name == key or name.startswith(f"{key}.") for name in names)


def find(tree: Located, key: str) -> Located | None:
    """Return the node of a dotted key, or None."""
    node: Located | None = tree
    for part in key.split("."):
        node = node.value.get(part) if node is not None and isinstance(node.value, dict) else None
    return node


def _refuse_two(what: str, layer: Located, keys: Sequence[str]) -> None:
    if len(keys) < 2:
        return
    nodes = [(key, node) for key in keys if (node := find(layer, key)) is not None]
    first = nodes[0][1].origin
    written = [
        f"{key}={as_argument(node.value)}" + ("" if node.origin in (first, COMMAND_LINE) else f" ({node.origin})")
        for key, node in nodes
    ]
    raise ConfigError(f"{first}: {' and '.join(written)} set {what} twice.", f"Keep one: {' or '.join(keys)}.")


def _nest(key: str, node: Located) -> Located:
    for part in reversed(key.split(".")):
        node = Located({part: node}, node.origin)
    return node


def _without(tree: Located, parts: list[str]) -> Located:
    name, *rest = parts
    children = {key: child for key, child in tree.value.items() if key != name or rest}
    return Located({**children, name: _without(tree.value[name], rest)} if rest else children, tree.origin)


def _alternatives(schema: Any) -> tuple[Alternatives, ...]:
    return getattr(schema, "ALTERNATIVES", ())


def _words(schema: Any) -> tuple[Word, ...]:
    return getattr(schema, "WORDS", ())
