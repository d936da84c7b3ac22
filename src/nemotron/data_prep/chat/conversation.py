"""One input row -> a normalised conversation, or the named reason why it cannot be trained on.

Chat data comes in dialects: text as a list of parts, tool arguments as JSON text or as an object, `developer` for
`system`, `null` for nothing. Everything after this module sees one form only:

    {"role": "system" | "user" | "tool",  "content": str, ...}
    {"role": "assistant", "content": str, "reasoning_content"?: str, "tool_calls"?: [...], "train"?: False}

with each tool call `{"id"?, "type": "function", "function": {"name": str, "arguments": dict}}`.
"""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn

from nemotron.data_prep.chat.row_formats import to_messages
from nemotron.data_prep.config import RowFormat
from nemotron.data_prep.drop_reasons import DropReason, RowError, Unreadable
from nemotron.data_prep.notes import Note

Message = dict[str, Any]
Tool = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Conversation:
    """A normalised conversation (see the module's docstring). Treat the messages and tools as read-only."""

    messages: list[Message]
    tools: list[Tool] | None = None
    notes: tuple[Note, ...] = field(default=(), compare=False)
    """What was noticed in its row; two conversations are the same whatever was noticed."""


def parse_row(
    row: object,
    messages_field: str = "messages",
    tools_field: str = "tools",
    format: RowFormat = "auto",
    exact: Callable[[], Any] | None = None,
) -> Conversation:
    """The normalised conversation of one decoded JSON row.

    `messages_field` and `tools_field` name the row's fields, `format` how they hold a conversation. `exact` decodes
    the row again without rounding integers beyond 64 bits, as fast decoders do; it is called only where one may be.

    Raises RowError when the row cannot be trained on.
    """
    if not isinstance(row, dict):
        raise RowError(DropReason.NOT_AN_OBJECT, f"the row is {_kind(row)}")
    raw = to_messages(row, format, messages_field)
    if not isinstance(raw, list) or not raw:
        is_there = messages_field in row
        found = f"is {_kind(row[messages_field])}" if is_there else f"is missing; the row has {_quoted(row)}"
        raise RowError(DropReason.NO_MESSAGES, f'"{messages_field}" {found}')
    messages = [_message(message, position) for position, message in enumerate(raw)]
    assistants = [message for message in messages if message["role"] == "assistant"]
    if not assistants:
        roles = dict.fromkeys(message["role"] for message in messages)
        raise RowError(DropReason.NO_ASSISTANT_TURN, f"the roles are {_quoted(roles)}")
    if not any(is_trained(message) for message in assistants):
        raise RowError(DropReason.NO_TRAINED_TURN, f"all {len(assistants)} assistant messages are context only")
    conversation = Conversation(messages, _tools(row.get(tools_field), tools_field))
    if _may_hold_rounded_integer(conversation) and exact is not None:
        try:
            row = exact()
        except (ValueError, RecursionError) as error:
            raise RowError(DropReason.BAD_TOOL_ARGUMENTS, f"a number would lose digits: {error}") from None
        return parse_row(row, messages_field, tools_field, format)
    return conversation


def is_trained(message: Message) -> bool:
    """Whether a normalised message is an assistant's to learn from, rather than context only."""
    return message["role"] == "assistant" and "train" not in message


def _may_hold_rounded_integer(conversation: Conversation) -> bool:
    """Whether a number in the tools or in the arguments of a call may have been an integer beyond 64 bits.

    Raises RowError for a value there that JSON has no form for: tables can hold such.
    """
    found = False
    calls = [message["tool_calls"] for message in conversation.messages if "tool_calls" in message]
    for values, reason in ((conversation.tools, DropReason.BAD_TOOLS), (calls, DropReason.BAD_TOOL_ARGUMENTS)):
        left: list[Any] = list(values or ())
        while left:
            value = left.pop()
            if isinstance(value, str):
                continue
            if isinstance(value, dict | list):
                left.extend(value.values() if isinstance(value, dict) else value)
            elif isinstance(value, float) and math.isfinite(value):
                found = found or abs(value) >= 2**63
            elif value is not None and not isinstance(value, int):
                raise RowError(reason, f"one of the values is {_kind(value)}, which JSON has no form for")
    return found


_ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}


def _message(raw: object, position: int) -> Message:
    """Message number `position` of a row, normalised."""
    if not isinstance(raw, dict):
        raise RowError(DropReason.BAD_MESSAGE, f"message {position} is {_kind(raw)}")
    role = raw.get("role")
    normal_role = _ROLES.get(role) if isinstance(role, str) else None
    if normal_role is None:
        shown = json.dumps(role, default=_kind)[:40] if "role" in raw else "missing"
        raise RowError(DropReason.BAD_ROLE, f"message {position}: the role is {shown}, not one of {_quoted(_ROLES)}")

    where = f"message {position} ({role})"
    content = raw.get("content")
    if normal_role == "tool" and not _is_text(content):
        content = _as_json(content, where)
    message: Message = {"role": normal_role, "content": content if isinstance(content, str) else _text(content, where)}
    if normal_role == "assistant":
        _add_assistant_fields(message, raw, where)
    # Unlike null, a missing content mostly means that the text sits under another name: an empty turn would hide that.
    if "content" not in raw and not ("reasoning_content" in message or "tool_calls" in message):
        raise RowError(DropReason.BAD_CONTENT, f"{where} has no content; it has {_quoted(raw)}")
    for name in ("name", "tool_call_id"):
        if isinstance(raw.get(name), str):
            message[name] = raw[name]
    return message


def _add_assistant_fields(message: Message, raw: Message, where: str) -> None:
    """Reasoning, tool calls and the train flag of an assistant's message, each only if it says something."""
    if reasoning := _text(raw.get("reasoning_content"), f"{where}: reasoning_content"):
        message["reasoning_content"] = reasoning
    calls = raw.get("tool_calls")
    if not calls and raw.get("function_call"):  # OpenAI's form before tool_calls
        calls = [raw["function_call"]]
    # Tables have no absent fields: exports fill them with empty text.
    if isinstance(calls, str) and not calls.strip():
        calls = None
    if isinstance(calls, str):
        calls = _calls_as_text(calls, where)
    if calls is not None and not isinstance(calls, list):
        raise RowError(DropReason.BAD_TOOL_CALLS, f"{where}: tool_calls is {_kind(calls)}")
    if calls:
        message["tool_calls"] = [_tool_call(call, where) for call in calls]
    if not _wants_training(raw, where):
        message["train"] = False


def _is_text(content: object) -> bool:
    """Whether content is text: a string, null, or a list of parts (of which other kinds than text are refused)."""
    parts = content if isinstance(content, list) else []
    is_parts = bool(parts) and all(isinstance(part, dict) and "type" in part for part in parts)
    return content is None or isinstance(content, str) or is_parts


def _as_json(result: object, where: str) -> str:
    """A tool's result given as data, as the model is shown it."""
    try:
        return json.dumps(result, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise RowError(DropReason.BAD_CONTENT, f"{where} has content that JSON has no form for: {error}") from None


def _text(content: object, where: str) -> str:
    """Content as one text: null is empty, text parts are concatenated as they stand."""
    if isinstance(content, str):
        return content
    if content is None:
        return ""
    if not isinstance(content, list):
        raise RowError(DropReason.BAD_CONTENT, f"{where} has {_kind(content)} for content")
    return "".join(_part_text(part, where) for part in content)


def _part_text(part: object, where: str) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, dict):
        kind, text = part.get("type", "text"), part.get("text")
        if kind in ("text", "input_text", "output_text") and isinstance(text, str):
            return text
        problem = f"of type {json.dumps(kind, default=_kind)[:40]}, not text" if "type" in part else "without text"
        raise RowError(DropReason.BAD_CONTENT, f"{where} has a content part {problem}")
    raise RowError(DropReason.BAD_CONTENT, f"{where} has {_kind(part)} for a content part")


def _wants_training(raw: Message, where: str) -> bool:
    train, weight = raw.get("train"), raw.get("weight")
    if train is not None and not isinstance(train, bool):
        raise RowError(DropReason.BAD_TRAIN_FLAG, f"{where}: train is {_kind(train)}")
    if weight is not None and (not isinstance(weight, int | float) or weight not in (0, 1)):
        raise RowError(DropReason.BAD_TRAIN_FLAG, f"{where}: weight is {json.dumps(weight, default=str)[:40]}")
    return train is not False and weight != 0


def _calls_as_text(text: str, where: str) -> object:
    """Calls as JSON text: how ShareGPT writes one, and Parquet any."""

    def refuse(problem: str) -> NoReturn:
        raise RowError(DropReason.BAD_TOOL_CALLS, f"{where}: the tool calls {problem}")

    calls = _decode(text, refuse)
    return [calls] if isinstance(calls, dict) else calls


def _tool_call(raw: object, where: str) -> dict[str, Any]:
    """A call `{"id", "type", "function": {"name", "arguments"}}`, or the bare `{"name", "arguments"}`."""
    function = raw.get("function", raw) if isinstance(raw, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(raw, dict) or not isinstance(function, dict) or not isinstance(name, str) or not name:
        raise RowError(DropReason.BAD_TOOL_CALLS, f"{where}: a tool call names no function")
    call: dict[str, Any] = {"id": raw["id"]} if isinstance(raw.get("id"), str) else {}
    arguments = _tool_arguments(function.get("arguments"), f"{where}: the arguments of {name}")
    return {**call, "type": "function", "function": {"name": name, "arguments": arguments}}


def _tool_arguments(raw: object, where: str) -> dict[str, Any]:
    def refuse(problem: str) -> NoReturn:
        raise RowError(DropReason.BAD_TOOL_ARGUMENTS, f"{where} {problem}")

    arguments = _decode(raw, refuse) if isinstance(raw, str) else raw
    if arguments is None:
        return {}
    if not isinstance(arguments, dict):
        refuse(f"are {_kind(arguments)}, not an object")
    return arguments


def _tools(raw: object, field: str) -> list[Tool] | None:
    """The tool descriptions as given (their extra keys are shown to the model), or None for no tools."""

    def refuse(problem: str) -> NoReturn:
        raise RowError(DropReason.BAD_TOOLS, f'"{field}" {problem}')

    if isinstance(raw, str):
        raw = _decode(raw, refuse) if raw.strip() else None
    tools = raw
    if tools is None or tools == []:
        return None
    if not isinstance(tools, list):
        refuse(f"is {_kind(tools)}, not a list")
    for position, tool in enumerate(tools):
        function = tool.get("function", tool) if isinstance(tool, dict) else None
        name = function.get("name") if isinstance(function, dict) else None
        if not isinstance(name, str) or not name:
            refuse(f"[{position}] names no function")
    return tools


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _finite(number: str) -> float:
    return float(number) if abs(float(number)) < float("inf") else _refuse_constant(number)


# The standard decoder rather than orjson: it keeps integers beyond 64 bits, which are rendered digit by digit.
_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite)


def _decode(text: str, refuse: Callable[[str], NoReturn]) -> object:
    """JSON inside a JSON string. Unlike the row, it was not decoded strictly yet: half an emoji is refused here."""
    try:
        value = _DECODER.decode(text)
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        refuse("hold half of a surrogate pair, which is no text")
    except (ValueError, RecursionError) as error:
        refuse(f"are broken JSON: {error}")
    return value


def _kind(value: object) -> str:
    """What a JSON value is, in words."""
    names = {dict: "an object", list: "a list", str: "text", bool: "true/false", int: "a number", float: "a number"}
    if value == [] or value == "":
        return "empty"
    if isinstance(value, Unreadable):
        return f"unreadable ({value.reason})"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return "null" if value is None else names.get(type(value), type(value).__name__)


def _quoted(names: Any) -> str:
    """The first few of `names`, for a message."""
    shown = list(names)
    return ", ".join(json.dumps(name) for name in shown[:8]) + (", ..." if len(shown) > 8 else "")
