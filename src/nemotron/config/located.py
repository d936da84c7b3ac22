"""Keep config values together with where they were written, for messages."""

from dataclasses import dataclass
from typing import Any

COMMAND_LINE = "command line"
DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Located:
    """One node of a config tree.

    `value` is a scalar, a dict of key -> Located, or a list of Located. `origin` is `config/tiny.yaml:12`,
    "command line" or "default". `text` is a scalar as it was written: the revision `0123` must keep its zero in a text
    field.
    """

    value: Any
    origin: str
    text: str | None = None


def attach_origin(value: Any, origin: str) -> Located:
    """Wrap plain nested values in a tree in which every node has the same origin."""
    if isinstance(value, dict):
        return Located({str(key): attach_origin(child, origin) for key, child in value.items()}, origin)
    if isinstance(value, list | tuple):
        return Located([attach_origin(child, origin) for child in value], origin)
    return Located(value, origin)


def plain(node: Located) -> Any:
    """Return the nested dicts, lists and scalars of a tree, without their origins."""
    if isinstance(node.value, dict):
        return {key: plain(child) for key, child in node.value.items()}
    if isinstance(node.value, list):
        return [plain(child) for child in node.value]
    return node.value


def merge(base: Located, over: Located) -> Located:
    """Merge `over` on top of `base`, key by key in sections.

    Scalars, lists and null replace what was there.
    """
    if not (isinstance(base.value, dict) and isinstance(over.value, dict)):
        return over
    merged = dict(base.value)
    for key, child in over.value.items():
        merged[key] = merge(merged[key], child) if key in merged else child
    return Located(merged, over.origin)


def leaves(node: Located, key: str = "") -> dict[str, Located]:
    """Map dotted keys to nodes, for every value that a user can set.

    These are scalars, and lists of scalars as a whole. A list of sections is entered by index (`loss.stages.1.start`),
    as in an override.
    """
    children = children_of(node)
    if children is None:
        return {key: node}
    found: dict[str, Located] = {}
    for name, child in children:
        found.update(leaves(child, f"{key}.{name}" if key else name))
    return found


def children_of(node: Located) -> list[tuple[str, Located]] | None:
    """Return the named children of a section or of a list of sections.

    A leaf returns None; an empty section is a leaf.
    """
    if isinstance(node.value, dict) and node.value:
        return list(node.value.items())
    if isinstance(node.value, list) and any(isinstance(child.value, dict) for child in node.value):
        return [(str(index), child) for index, child in enumerate(node.value)]
    return None
