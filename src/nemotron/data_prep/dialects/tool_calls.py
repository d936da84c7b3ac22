"""Read an assistant's tool calls and arguments, under any of their usual names."""

from typing import Any, NoReturn

from nemotron.data_prep.dialects import names
from nemotron.data_prep.dialects.findings import Findings
from nemotron.data_prep.dialects.json_text import decode_json, describe_kind, is_filled, quote, shorten
from nemotron.data_prep.drop_reasons import DropReason, RowError
from nemotron.data_prep.notes import NoteKind

Call = dict[str, Any]


def read_calls(raw: object, name: str, where: str, found: Findings) -> list[Call]:
    """Read calls: a list of them, a single one, or either as JSON text.

    Args:
        raw: `{"id", "type", "function": {"name", "arguments"}}`, or the bare `{"name", "arguments"}`, or a list.
        name: The field that holds it.
        where: The place of the message, for errors.
        found: Collects notes.

    Raises:
        RowError: bad_tool_calls or bad_tool_arguments.
    """

    def refuse(problem: str) -> NoReturn:
        raise RowError(DropReason.BAD_TOOL_CALLS, f"{where}: the tool calls {problem}")

    if isinstance(raw, str):
        raw = decode_json(raw, refuse)
    if isinstance(raw, dict) and raw:
        raw = [raw]
    if not isinstance(raw, list):
        raise RowError(DropReason.BAD_TOOL_CALLS, f"{where}: {name} is {describe_kind(raw)}: {shorten(raw)}")
    return [_read_call(call, where, found) for call in raw]


def _read_call(raw: object, where: str, found: Findings) -> Call:
    def refuse(problem: str) -> NoReturn:
        raise RowError(DropReason.BAD_TOOL_CALLS, f"{where}: a tool call's text {problem}")

    if isinstance(raw, str):
        raw = decode_json(raw, refuse)
    function = raw.get("function") if isinstance(raw, dict) else None
    function = raw if function is None else function
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(raw, dict) or not isinstance(function, dict) or not isinstance(name, str) or not is_filled(name):
        shown = f"; it has {quote(raw)}" if isinstance(raw, dict) else f": {shorten(raw)}"
        raise RowError(DropReason.BAD_TOOL_CALLS, f"{where}: a tool call names no function{shown}")
    call: Call = {"id": raw["id"]} if isinstance(raw.get("id"), str) else {}
    wrappers = (function,) if function is raw else (function, raw)
    arguments = _find_arguments(wrappers, f"{where}: the arguments of {name}", found)
    return {**call, "type": "function", "function": {"name": name, "arguments": arguments}}


def _find_arguments(wrappers: tuple[dict[str, Any], ...], where: str, found: Findings) -> dict[str, Any]:
    """Return the arguments of a call, wherever in the call they are."""
    given: dict[str, dict[str, Any]] = {}
    unknown: list[str] = []
    for wrapper in wrappers:
        for key, value in wrapper.items():
            if key in names.ARGUMENTS:
                arguments = read_arguments(value, where, found)
                if arguments is not None and given.setdefault(key, arguments) != arguments:
                    raise RowError(DropReason.BAD_TOOL_ARGUMENTS, f"{where} are given twice, under {key}")
            elif key not in ("name", "function") and key not in names.CALL_METADATA and is_filled(value):
                unknown.append(key)
    filled = {key: arguments for key, arguments in given.items() if arguments} or given
    first = next(iter(filled.values()), {})
    if any(arguments != first for arguments in filled.values()):
        raise RowError(DropReason.BAD_TOOL_ARGUMENTS, f"{where} differ under {quote(filled)}")
    if unknown and not given:
        raise RowError(DropReason.BAD_TOOL_ARGUMENTS, f"{where} may be under {quote(unknown)}, an unknown name")
    for key in unknown:
        found.note(NoteKind.UNUSED_MESSAGE_FIELD, f"tool_calls[].{key}")
    return first


def read_arguments(raw: object, where: str, found: Findings) -> dict[str, Any] | None:
    """Read arguments as an object.

    None means that there are none: null, blank text, or the JSON text of these.

    Raises:
        RowError: The arguments are anything else.
    """

    def refuse(problem: str) -> NoReturn:
        raise RowError(DropReason.BAD_TOOL_ARGUMENTS, f"{where} {problem}")

    arguments = raw
    for _ in range(2):  # some servers encode the text twice
        if isinstance(arguments, str):
            arguments = decode_json(arguments, refuse) if arguments and not arguments.isspace() else None
    if arguments is None:
        return None
    if not isinstance(arguments, dict):
        refuse(f"are {describe_kind(arguments)}, not an object: {shorten(arguments)}")
    if found.is_table and arguments is raw and _has_null(arguments):
        found.note(NoteKind.FILLED_NULLS, "arguments")
        return remove_nulls(arguments)
    return arguments


def _has_null(value: Any) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(one is None or _has_null(one) for one in inner)


def remove_nulls(value: Any) -> Any:
    """Remove keys with null from a value, also inside lists; null in a list is kept."""
    if isinstance(value, dict):
        return {key: remove_nulls(inner) for key, inner in value.items() if inner is not None}
    return [remove_nulls(inner) for inner in value] if isinstance(value, list) else value
