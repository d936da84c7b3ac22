"""Read and write YAML with the scalars of YAML 1.2, and the line of every value.

PyYAML follows YAML 1.1, where `1e-5` is text, `no` is false, `010` is eight and the Slurm time `04:00:00` is 14400. The
core schema of YAML 1.2 has none of these surprises: https://yaml.org/spec/1.2.2/#103-core-schema
"""

import json
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from yaml.reader import ReaderError

try:
    from yaml.cyaml import CParser  # pyright: ignore[reportAttributeAccessIssue]
except ImportError:  # PyYAML was built without libyaml
    CParser = None

from nemotron.config.errors import ConfigError
from nemotron.config.located import Located, plain
from nemotron.files.regular_files import read_text
from nemotron.printable import escape

_TAG = "tag:yaml.org,2002:"
_COLLECTIONS = tuple(_TAG + name for name in ("map", "seq", "set", "omap", "pairs"))
"""The tags of YAML itself. Megatron-Bridge saves the config of adapters with a set."""
_CORE_SCHEMA = [
    ("null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""]),
    ("bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")),
    ("int", re.compile(r"^[-+]?[0-9]+(?:_[0-9]+)*$"), list("-+0123456789")),
    (
        "float",
        re.compile(r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:_[0-9]+)*(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.inf|\.nan)$"),
        list("-+0123456789."),
    ),
    ("merge", re.compile(r"^<<$"), ["<"]),
]

_FIX = {
    False: "Correct that line: `key: value`, sections indented with spaces, every bracket and quote closed.",
    True: "Close every bracket and quote; put text that begins with one in quotes.",
}
"""How to fix broken YAML: in a file (False), on the command line (True)."""
_TWICE = "is already set"
_NO_TEXT = "a text has half of a surrogate pair"
LARGEST_FILE = 4 * 2**20
"""The most bytes that a config may have; the largest shipped one has 10,000."""
MOST_VALUES = 100_000
"""The most values in a file: aliases of aliases can turn a few lines into billions."""
DEEPEST = 100
"""The deepest nesting of sections and lists: an alias of the section around it would never end."""


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's own declaration


class _FastLoader(_Loader):
    """Takes events from libyaml, eight times as fast.

    It composes them as `_Loader` does, which no nesting can crash.
    """

    def __init__(self, text: str) -> None:
        super().__init__("" if CParser else text)
        if CParser:
            events = CParser(text)
            self.check_event, self.peek_event, self.get_event = events.check_event, events.peek_event, events.get_event


class _Dumper(yaml.SafeDumper):
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's own declaration

    def ignore_aliases(self, data: Any) -> bool:
        return True


for _name, _pattern, _first in _CORE_SCHEMA:
    _Loader.add_implicit_resolver(_TAG + _name, _pattern, _first)
    _Dumper.add_implicit_resolver(_TAG + _name, _pattern, _first)
# PyYAML's integer constructor reads a leading zero as octal.
_Loader.add_constructor(_TAG + "int", lambda _, node: _to_int(node))


def read_yaml(path: Path, shown: str) -> Located:
    """Read a file as a located tree; an empty file is an empty section.

    `shown` is the path in messages.

    Raises:
        ConfigError: The file cannot be read, is not valid YAML, has no section at its top, or has a key twice.
    """
    try:
        if (size := path.stat().st_size) > LARGEST_FILE:
            raise ConfigError(
                f"{shown} has {size:,} bytes; a config may have {LARGEST_FILE:,}.", "Name a config, not a data file."
            )
        text = read_text(path)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"{shown}: cannot be read: {reason}.", "Give a readable YAML file.") from error
    root = _parse(text, shown)
    if root is None or root.value is None:
        return Located({}, shown)
    if not isinstance(root.value, dict):
        raise ConfigError(
            f"{root.origin}: a config must be `key: value` lines at its top level.",
            "Begin its lines with a key, such as `defaults: [default]`, without a dash before it.",
        )
    return root


def parse_value(text: str, origin: str) -> Located:
    """Return the typed value of `text` in `key=text`.

    `[a, b]`, `{a: 1}` and quoted text are YAML. Anything else is a scalar, so `*.jsonl`, `a: b` and `#1` are text.
    Nothing after the `=` is empty text; null has to be written as `null`.
    """
    if text[:1] in ("[", "{", '"', "'"):
        node = _parse(text, origin, one_line=True)
        assert node is not None
        return node
    if not text:
        return Located("", origin, "")
    if not _is_text(text):
        raise ConfigError(f"{origin}: {text!a} is not UTF-8 text.", "Rename what it names, or give another value.")
    return Located(_scalar(text), origin, text)


def parse_plain(text: str | bytes) -> Any:
    """Return the value of YAML that another program wrote.

    It is None if the text is empty, not valid, or beyond the limits of our own files.
    """
    try:
        root = _parse(text if isinstance(text, str) else text.decode(), "it")
    except (ConfigError, UnicodeDecodeError):
        return None
    return None if root is None else plain(root)


def dump_yaml(tree: Any) -> str:
    """Write plain nested values as YAML that `read_yaml` reads back unchanged."""
    # Without allow_unicode: with it, PyYAML writes some Unicode line breaks unescaped and loses them when reading.
    return yaml.dump(tree, Dumper=_Dumper, sort_keys=False, width=120)


def as_argument(value: Any) -> str:
    """Return a value on one line, as it would be written after `key=`."""
    if isinstance(value, str) and value and escape(value) == value and "\n" not in value:
        return value
    return escape(json.dumps(value, ensure_ascii=False))


def _parse(text: str, shown: str, *, one_line: bool = False) -> Located | None:
    subject = f"{text} is" if one_line else "this is"
    try:
        with suppress(yaml.YAMLError, UnicodeEncodeError):  # the other loader says more
            return _compose(_FastLoader(text), shown, one_line)
        return _compose(_Loader(text), shown, one_line)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = shown if one_line or mark is None else f"{shown}:{mark.line + 1}"
        raise ConfigError(
            f"{where}: {subject} not valid YAML: {error.problem or error.context}.",
            "Remove one of the two." if _TWICE in (error.problem or "") else _FIX[one_line],
        ) from error
    except RecursionError as error:
        raise ConfigError(f"{shown}: {subject} nested too deeply.", _FIX[one_line]) from error
    except ReaderError as error:  # an unprintable character
        where = shown if one_line else f"{shown}:{text.count(chr(10), 0, error.position) + 1}"
        raise ConfigError(
            f"{where}: {subject} not valid YAML: the character #x{ord(text[error.position]):04x} is not allowed.",
            "Remove it, or write it as an escape between double quotes.",
        ) from error


def _compose(loader: _Loader, shown: str, one_line: bool) -> Located | None:
    try:
        root = loader.get_single_node()
        return None if root is None else _Reading(loader, shown, one_line).locate(root)
    finally:
        loader.dispose()


@dataclass
class _Reading:
    """Converts the YAML nodes of one text to a located tree."""

    loader: _Loader
    shown: str
    one_line: bool
    values: int = 0

    def locate(self, node: yaml.Node, depth: int = 0) -> Located:
        """Convert a node to a located tree."""
        self._count(node, depth)
        _refuse_tag(node)
        origin = self.shown if self.one_line else f"{self.shown}:{node.start_mark.line + 1}"
        if isinstance(node, yaml.MappingNode):
            _refuse_twice(node)
            self.loader.flatten_mapping(node)  # `<<: *anchor`
            return Located({str(key.value): self.locate(child, depth + 1) for key, child in node.value}, origin)
        if isinstance(node, yaml.SequenceNode):
            return Located([self.locate(child, depth + 1) for child in node.value], origin)
        if isinstance(node.value, str) and not _is_text(node.value):
            raise yaml.MarkedYAMLError(problem=_NO_TEXT, problem_mark=node.start_mark)
        return Located(self.loader.construct_object(node), origin, str(node.value))

    def _count(self, node: yaml.Node, depth: int) -> None:
        self.values += 1
        if self.values > MOST_VALUES:
            problem = f"its aliases expand to more than {MOST_VALUES:,} values"
        elif depth > DEEPEST:
            problem = f"more than {DEEPEST} sections or lists are nested"
        else:
            return
        raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)


def _to_int(node: Any) -> int:
    try:
        return int(node.value)
    except ValueError:
        problem = f"a number has {len(node.value):,} digits"
        raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark) from None


def _is_text(value: str) -> bool:
    """Tell whether a text can be written.

    Bytes of an argument that are not UTF-8 become halves of surrogate pairs, which cannot.
    """
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _refuse_tag(node: yaml.Node) -> None:
    """Refuse the tag of a section or list, which would be lost.

    PyYAML refuses those of other values.
    """
    if isinstance(node, yaml.CollectionNode) and node.tag not in _COLLECTIONS:
        tag = str(node.tag).replace(_TAG, "!!")
        raise yaml.MarkedYAMLError(problem=f"the tag {tag} is not known", problem_mark=node.start_mark)


def _refuse_twice(node: yaml.MappingNode) -> None:
    seen: dict[str, int] = {}
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise yaml.MarkedYAMLError(problem="a key is not text", problem_mark=key.start_mark)
        if key.value in seen and key.value != "<<":
            problem = f'the key "{key.value}" {_TWICE} in line {seen[key.value]}'
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
        seen[key.value] = key.start_mark.line + 1


def _scalar(text: str) -> Any:
    loader = _Loader("")
    tag = loader.resolve(yaml.ScalarNode, text, (True, False))
    try:
        return loader.construct_object(yaml.ScalarNode(tag, text))
    except yaml.MarkedYAMLError as error:
        raise ConfigError(f"The value cannot be read: {error.problem}.", _FIX[True]) from error
