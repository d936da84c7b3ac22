"""Resolve `${...}` in values, with OmegaConf.

A value may refer to other keys (`${run.data}`), to the environment (`${oc.env:NAME,default}`), and to resolvers of
ours:

    ${config_dir:data_prep/tiny}  a path in the shipped config folder
    ${config_name:}               the name of the loaded config: `my` for my.yaml, whatever it inherits from
    ${unless_default:NAME}        `-NAME`, or nothing if NAME is `default`
    ${art:data,path}              a field of the artifact that `run.data` names

A job, and the second stage of a pipe, look artifacts up when they start. Until then such a value stays open, as
written.
"""

import contextlib
import inspect
import os
import re
from typing import TYPE_CHECKING, Any

from nemotron.config.errors import ConfigError
from nemotron.config.located import Located, attach_origin, leaves, plain
from nemotron.config.renamed_keys import find_new_name
from nemotron.errors import UserError, did_you_mean
from nemotron.files.paths import config_dir

if TYPE_CHECKING:
    from omegaconf.errors import OmegaConfBaseException

# OmegaConf's messages for the common cases; they contain the name only as text.
_UNSET_VARIABLE = re.compile(r"Environment variable '(.+?)' not found")
_MISSING_KEY = re.compile(r"Interpolation key '(.+?)' not found")
_CIRCLE = re.compile("Recursive interpolation|Interpolation to parent node")

_NAMED = re.compile(r"\$\{([\w.\[\]-]+)\}")
_SIMPLE = re.compile(
    r"\$\{(?:oc\.env:(?P<variable>[A-Z_]+)(?:,(?P<default>[A-Za-z_][\w./-]*))?|config_dir:(?P<path>[\w./-]+)"
    r"|(?P<resolver>config_name):|unless_default:\$\{config_name\})\}",
    re.ASCII,
)
"""What is resolved without OmegaConf, beside a key that names a number: all that the shipped configs use."""
_KEY = re.compile(r"\$\{([a-z_]+(?:\.[a-z_]+)*)\}", re.ASCII)
_NO_TEXT = ("null", "none", "true", "false", "nan", "inf")
"""Defaults that OmegaConf may take for something else than text."""
_SIMPLE_TYPES = (str, int, float, type(None))
_MANDATORY = "???"
LARGEST_TEXT = 1_000_000
"""Most characters of a value once it is resolved."""

OPEN = re.compile(r"\$\{art:[^}]*\}")
"""A value that stays open until an artifact is looked up."""
_KNOWN = (
    "${KEY}, ${oc.env:NAME,DEFAULT}, ${config_dir:PATH}, ${config_name:}, ${unless_default:NAME} and ${art:data,path}"
)


def resolve(tree: Located, config_name: str, *, leave_artifacts: bool = False) -> Located:
    """Replace every interpolation in a tree by its value.

    Each origin is still the line on which the interpolation was written.

    Args:
        tree: The config as written.
        config_name: The value of `${config_name:}`.
        leave_artifacts: Keep every `${art:...}` as written, for a later load of the config.

    Raises:
        ConfigError: A key is missing, an environment variable is not set, or a resolver is unknown. The message names
            the key and its origin.
    """
    _refuse_explosion(tree)
    with contextlib.suppress(_NotSimpleError):
        return _relocate(tree, _resolve_simply(plain(tree), config_name))
    from omegaconf import OmegaConf  # here: it takes 0.1 s, and not every caller of this package needs it
    from omegaconf.errors import OmegaConfBaseException

    # Before OmegaConf 2.4, register_resolver was an older function without `use_cache`.
    is_new_name = "replace" in inspect.signature(OmegaConf.register_resolver).parameters
    register: Any = OmegaConf.register_resolver if is_new_name else OmegaConf.register_new_resolver
    register("config_dir", lambda path="": str(config_dir() / path), replace=True)
    register("config_name", lambda: config_name, replace=True)
    register("unless_default", lambda name: "" if name == "default" else f"-{name}", replace=True)
    register("art", _leave_open if leave_artifacts else _look_up, replace=True)
    try:
        values = OmegaConf.to_container(OmegaConf.create(plain(tree)), resolve=True)
    except OmegaConfBaseException as error:
        raise _explain(tree, error) from error
    return _relocate(tree, values)


class _NotSimpleError(Exception):
    """A value that is left to OmegaConf."""


def _resolve_simply(tree: dict[str, Any], config_name: str) -> Any:
    """Resolve what the shipped configs use, without OmegaConf.

    Importing it takes longer than all else that is done for a config.

    Raises:
        _NotSimpleError: There is anything else.
    """

    def value_of(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: value_of(child) for key, child in value.items()}
        if isinstance(value, list):
            return [value_of(child) for child in value]
        if not isinstance(value, _SIMPLE_TYPES):
            raise _NotSimpleError
        if not isinstance(value, str):
            return value
        key = _KEY.fullmatch(value)
        number = _find(tree, key[1]) if key else None
        return number if isinstance(number, int | float) else text_of(value)

    def text_of(text: str) -> str:
        if "$" not in text and text != _MANDATORY:
            return text
        if text == _MANDATORY or not {"$", "\\"}.isdisjoint(_SIMPLE.sub("", text)):
            raise _NotSimpleError
        return _SIMPLE.sub(replacement, text)

    def replacement(found: re.Match[str]) -> str:
        if found["variable"]:
            text = os.environ.get(found["variable"], found["default"])
            if text is None or text.lower() in _NO_TEXT:
                raise _NotSimpleError
            return text
        if found["path"]:
            return str(config_dir() / found["path"])
        if found["resolver"]:
            return config_name
        name = tree.get("config_name")
        if not isinstance(name, str) or "unless_default" in name:
            raise _NotSimpleError
        name = text_of(name)
        return "" if name == "default" else f"-{name}"

    return value_of(tree)


def _find(tree: Any, key: str) -> Any:
    """Return what a dotted key names in nested dicts, or None."""
    for name in key.split("."):
        tree = tree.get(name) if isinstance(tree, dict) else None
    return tree


def _refuse_explosion(tree: Located) -> None:
    """Refuse values that grow too large when they are resolved.

    Ten lines that each name the line before ten times become 10**10 copies.
    """
    nodes = leaves(tree)
    sizes: dict[str, int] = {}

    def size(key: str) -> int:
        if key in sizes:
            return sizes[key]
        sizes[key] = 0  # a cycle; resolving it reports it
        text = str(plain(nodes[key]))
        total = len(text)
        for named in _NAMED.finditer(text):
            total += sum(size(other) for other in _find_references(key, named[1], nodes))
            if total > LARGEST_TEXT:
                raise ConfigError(
                    f"{nodes[key].origin}: {key} becomes longer than {LARGEST_TEXT:,} characters once it is resolved.",
                    "Refer to other keys fewer times.",
                )
        sizes[key] = total
        return total

    for key in nodes:
        size(key)


def _find_references(key: str, name: str, nodes: dict[str, Located]) -> list[str]:
    """List the keys that `${name}` in the value of a key refers to.

    That is one key, or every key of a section. For an element of a list of scalars it is the list.
    """
    dots = len(name) - len(name.lstrip("."))
    section = key.split(".")[:-dots] if dots else []
    whole = ".".join([*section, name[dots:].replace("[", ".").replace("]", "")])
    if whole in nodes:
        return [whole]
    around = whole.rpartition(".")[0]
    return [around] if around in nodes else [other for other in nodes if other.startswith(f"{whole}.")]


def _leave_open(name: str = "", field: str = "") -> str:
    """Return the interpolation as written, for a later load."""
    _check_field(field)
    return f"${{art:{name},{field}}}"


def is_open(value: Any) -> bool:
    """Tell whether any of the nested values is still open."""
    if isinstance(value, dict):
        return any(map(is_open, value.values()))
    if isinstance(value, list):
        return any(map(is_open, value))
    return isinstance(value, str) and OPEN.search(value) is not None


def drop_open(value: Any) -> Any:
    """Return nested values with None in place of open ones."""
    if isinstance(value, dict):
        return {key: drop_open(child) for key, child in value.items()}
    if isinstance(value, list):
        return [drop_open(child) for child in value]
    return None if is_open(value) else value


def escape(text: str) -> str:
    """Escape a resolved text so that it is not resolved again.

    Open values are kept, so that a later load resolves them.
    """
    return re.sub(r"\$\{(?!art:)", r"\\${", text)


def _check_field(field: str) -> None:
    if not field:
        raise UserError("it names no field of the artifact", "Write ${art:data,path}, or another of its fields.")


def _look_up(name: str = "", field: str = "", *, _root_: Any) -> Any:
    from nemotron.lineage.config_values import look_up

    _check_field(field)
    return look_up(_root_.get("run") or {}, name, field)


def _relocate(node: Located, value: Any) -> Located:
    if isinstance(node.value, dict):  # a section stays one; a text may have become one
        return Located({key: _relocate(child, value[key]) for key, child in node.value.items()}, node.origin)
    if isinstance(node.value, list):
        return Located([_relocate(*pair) for pair in zip(node.value, value, strict=True)], node.origin)
    return node if value == node.value else attach_origin(value, node.origin)


def _explain(tree: Located, error: "OmegaConfBaseException") -> ConfigError:
    known = leaves(tree)
    key = (error.full_key or "").replace("[", ".").replace("]", "")
    while key and key not in known:  # an element of a list of scalars: the list is the leaf
        key = key.rpartition(".")[0]
    node = known.get(key)
    where, written = (node.origin, f"{key}: {plain(node)}") if node else ("config", key or "a value")
    reason = (error.msg or str(error)).splitlines()[0]
    hint = f"Use {_KNOWN}; write \\${{ for a literal ${{."
    if unset := _UNSET_VARIABLE.search(reason):
        reason = f"the environment variable {unset[1]} is not set"
        hint = f"Set it (export {unset[1]}=...), or give a default: ${{oc.env:{unset[1]},DEFAULT}}."
    elif missing := _MISSING_KEY.search(reason):
        reason = f"there is no key {missing[1]}"
        near = find_new_name(missing[1]) or did_you_mean(missing[1], known)
        hint = near or "Write the full key, such as ${run.artifacts}."
    elif user_error := _user_error_behind(error):
        reason, hint = user_error.message.rstrip("."), user_error.hint or "Make it, or write the value itself."
    elif _CIRCLE.match(reason):
        reason, hint = "it refers to itself", "Give one of the keys in the cycle a value."
    return ConfigError(f"{where}: {written} cannot be resolved: {reason}.", hint)


def _user_error_behind(error: BaseException) -> UserError | None:
    """Find the UserError that our resolver raised; OmegaConf wraps it, more than once."""
    while (behind := error.__cause__ or error.__context__) is not None:
        if isinstance(behind, UserError):
            return behind
        error = behind
    return None
