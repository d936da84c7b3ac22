"""Normalise one decoded JSON row to a conversation, or say why it cannot be used.

Every meaningful part of a row is used, or the row is refused for a named reason, or the part gets a Note.
"""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import orjson

from nemotron.data_prep.chat.conversation import (
    MOST_TOOL_LISTS,
    Conversation,
    Message,
    Tool,
    is_trained,
    share,
)
from nemotron.data_prep.config import WITH_MESSAGES, RowFormat
from nemotron.data_prep.dialects.findings import Findings, is_table
from nemotron.data_prep.dialects.forms import find_messages
from nemotron.data_prep.dialects.json_text import describe_kind, quote
from nemotron.data_prep.dialects.messages import read_messages
from nemotron.data_prep.dialects.plain import is_exchange
from nemotron.data_prep.dialects.row_fields import add_system, flag_messages, is_plain, note_unused, refuse_unusable
from nemotron.data_prep.dialects.tools import merge_tools, read_tools, remove_fill
from nemotron.data_prep.drop_reasons import DropReason, RowError
from nemotron.data_prep.notes import NoteKind


def parse_row(
    row: object,
    messages_field: str = "messages",
    tools_field: str = "tools",
    format: RowFormat = "auto",
    exact: Callable[[], Any] | None = None,
) -> Conversation:
    """Normalise the conversation of one decoded JSON row.

    Args:
        row: The row.
        messages_field: Name of its field that holds the messages.
        tools_field: Name of its field that holds the tools.
        format: How the row holds a conversation.
        exact: Decodes the row again without rounding integers beyond 64 bits, as fast decoders do. It is called only if
            a number may have been rounded. None if the row was not decoded from JSON.

    Raises:
        RowError: The row cannot be trained on.
    """
    if not isinstance(row, dict):
        raise RowError(DropReason.NOT_AN_OBJECT, f"the row is {describe_kind(row)}")
    try:
        return _parse(row, messages_field, tools_field, format, exact)
    except RecursionError:
        raise RowError(DropReason.BAD_MESSAGE, "a value is nested too deeply") from None


def _parse(
    row: dict[str, Any], messages_field: str, tools_field: str, format: RowFormat, exact: Callable[[], Any] | None
) -> Conversation:
    found = Findings()
    plain = is_plain(row, messages_field, tools_field)
    if not plain:
        refuse_unusable(row)
    elif format in WITH_MESSAGES and row.get(tools_field) is None and is_exchange(row.get(messages_field)):
        return Conversation(row[messages_field])
    form = find_messages(row, format, messages_field)
    raw = form.messages if plain else flag_messages(row, form.messages)
    is_json = plain and exact is not None
    tools, scan = _read_shared(row.get(tools_field), tools_field) if is_json else _read_tools(row, tools_field)
    if tools and scan.has_null and (filled := remove_fill(tools)) is not tools:
        tools, found.is_table = filled, True
        found.note(NoteKind.FILLED_NULLS, "tools")
    found.is_table = found.is_table or is_table(raw)
    messages = read_messages(raw, found)
    if not plain:
        messages = add_system(row, messages)
        note_unused(row, form, tools_field, found)
    if found.tools:
        tools = merge_tools(tools, found, tools_field)
        scan = _scan(tools, DropReason.BAD_TOOLS) if tools else _NOTHING
    _look_at_answers(messages, found)
    calls = [message["tool_calls"] for message in messages if "tool_calls" in message]
    of_calls = _scan(calls, DropReason.BAD_TOOL_ARGUMENTS) if calls else _NOTHING
    if (scan.may_be_rounded or of_calls.may_be_rounded) and exact is not None:
        try:
            row = exact()
        except (ValueError, RecursionError) as error:
            raise RowError(DropReason.BAD_TOOL_ARGUMENTS, f"a number would lose digits: {error}") from None
        return parse_row(row, messages_field, tools_field, format)
    return Conversation(messages, None if tools is None else share(tools), found.notes)


def _read_shared(raw: Any, tools_field: str) -> tuple[list[Tool] | None, "_Scan"]:
    """Read the tools of a plain row that was decoded from JSON.

    Those of rows with the same ones are read once.
    """
    if raw is None:
        return None, _NOTHING
    try:
        json = orjson.dumps(raw)
    except TypeError:  # nested too deeply
        return _read_tools({tools_field: raw}, tools_field)
    return _read_json(json, tools_field)


@lru_cache(maxsize=MOST_TOOL_LISTS)
def _read_json(json: bytes, tools_field: str) -> tuple[list[Tool] | None, "_Scan"]:
    tools, scan = _read_tools({tools_field: orjson.loads(json)}, tools_field)
    return None if tools is None else share(tools), scan


def _read_tools(row: dict[str, Any], tools_field: str) -> tuple[list[Tool] | None, "_Scan"]:
    tools = read_tools(row, tools_field)
    return tools, _scan(tools, DropReason.BAD_TOOLS) if tools else _NOTHING


def _look_at_answers(messages: list[Message], found: Findings) -> None:
    """Note assistant messages that follow each other.

    Raises:
        RowError: No assistant message trains.
    """
    answers, previous = [], ""
    for message in messages:
        role = message["role"]
        if role == "assistant":
            answers.append(message)
            if previous == role:
                found.note(NoteKind.CONSECUTIVE_ANSWERS)
        previous = role
    if not answers:
        roles = dict.fromkeys(message["role"] for message in messages)
        raise RowError(DropReason.NO_ASSISTANT_TURN, f"the roles are {quote(roles)}")
    if not any(map(is_trained, answers)):
        raise RowError(DropReason.NO_TRAINED_TURN, f"all {len(answers)} assistant messages are context only")


class _Scan:
    """What a walk over tools or calls found."""

    __slots__ = ("has_null", "may_be_rounded")

    def __init__(self) -> None:
        self.may_be_rounded = False
        """Whether a number may have been an integer beyond 64 bits."""
        self.has_null = False


_NOTHING = _Scan()
"""The result for rows without tools or calls, which are the most common."""


def _scan(values: list[Any], reason: DropReason) -> _Scan:
    """Walk over values.

    Raises:
        RowError: A value has no JSON form; tables can contain such values.
    """
    scan = _Scan()
    left: list[Any] = [*values]
    while left:
        value = left.pop()
        kind = type(value)  # decoded JSON has no subclasses, and this is faster than isinstance
        if kind is str:
            continue
        if kind is dict:
            left.extend(value.values())
        elif kind is list:
            left.extend(value)
        elif value is None:
            scan.has_null = True
        elif isinstance(value, float) and math.isfinite(value):
            scan.may_be_rounded = scan.may_be_rounded or abs(value) >= 2**63
        elif not isinstance(value, int):
            raise RowError(reason, f"one of the values is {describe_kind(value)}, which JSON has no form for")
    return scan
