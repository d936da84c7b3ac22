"""Normalise a row's messages from any dialect (see chat/conversation.py)."""

import json
from typing import Any

from nemotron.data_prep.chat.conversation import Message
from nemotron.data_prep.chat.null_content import NULL_TEXT
from nemotron.data_prep.chat.reasoning import END_THINK, THINK
from nemotron.data_prep.dialects import names
from nemotron.data_prep.dialects.findings import Findings
from nemotron.data_prep.dialects.json_text import describe_kind, is_filled, quote, shorten
from nemotron.data_prep.dialects.parts import join_thoughts, read_parts, read_text
from nemotron.data_prep.dialects.plain import read_plain
from nemotron.data_prep.dialects.thoughts import OTHER_TAGS, read_thoughts, settle_inline
from nemotron.data_prep.dialects.tool_calls import Call, read_calls
from nemotron.data_prep.dialects.train_flags import OF_THE_ROW, note_idle_flags, read_flags
from nemotron.data_prep.drop_reasons import DropReason, RowError
from nemotron.data_prep.notes import NoteKind

_READ = frozenset((
    *names.SPEAKERS, *names.TEXTS, *names.MESSAGE_METADATA, *names.CALL_IDS, *names.FLAGS, *OF_THE_ROW, "type",
))  # fmt: skip
_READ_OF = {
    "assistant": _READ | {*names.REASONING, *names.CALLS, "refusal"},
    "system": _READ | set(names.TOOLS),
    "user": _READ,
    "tool": _READ | {"tool_name"},
}
"""Fields of a message that are used, or carry no meaning."""


def read_messages(raws: list[Any], found: Findings) -> list[Message]:
    """Normalise messages.

    Raises:
        RowError: A message cannot be normalised.
    """
    messages: list[Message] = []
    for position, raw in enumerate(raws):
        message = read_plain(raw, position, found)
        if message is None:
            _read(raw, position, messages, found)
        else:
            messages.append(message)
    return _order_results(messages, found) if found.has_result_ids else messages


def _read(raw: Any, position: int, messages: list[Message], found: Findings) -> None:
    """Append message number `position` of a row, which may become several messages."""
    if not isinstance(raw, dict):
        raise RowError(DropReason.BAD_MESSAGE, f"message {position} is {describe_kind(raw)}")
    if isinstance(raw.get("data"), dict) and raw.get("type") in names.TYPES_AS_ROLES:  # LangChain's messages as dicts
        raw = {**raw["data"], "type": raw["type"]}
    spoken = _read_speaker(raw, position)
    role = names.ROLES[spoken]
    where = f"message {position} ({spoken})"
    raw = _unwrap(raw, found)
    _refuse_media(raw, where)
    before = len(messages)
    if role == "assistant":
        message = _read_assistant(raw, spoken, where, found)
        if spoken in names.CALLING_ROLES and messages and messages[-1]["role"] == "assistant":
            messages[-1] = _join(messages[-1], message, where)
            found.note(NoteKind.JOINED_TURN)
        else:
            messages.append(message)
    elif role == "user" and isinstance(raw.get("content"), list):
        messages += _read_user_parts(raw["content"], where, found)
    else:
        content = _read_content(raw, where)
        if role == "tool" and not _is_text(content):
            content = _as_json(content, where)
        messages.append({"role": role, "content": read_text(content, where, found)})
    if role != "assistant":
        note_idle_flags(raw, role, found)
    for tools in names.TOOLS if role == "system" else ():
        if is_filled(raw.get(tools)):
            found.tools.append((f"{tools} of {where}", raw[tools]))
    _add_names(raw, messages[before:], found)
    for name in raw:
        if name not in _READ_OF[role] and is_filled(raw[name]):
            found.note(NoteKind.UNUSED_MESSAGE_FIELD, name)


def _read_speaker(raw: dict[str, Any], position: int) -> str:
    """Return the role as given, in lower case.

    Raises:
        RowError: bad_role; there is no role, it is unknown, or there are several.
    """
    given = [raw[name] for name in names.SPEAKERS if raw.get(name) is not None]
    if not given and raw.get("type") in names.TYPES_AS_ROLES:
        given = [raw["type"]]
    if not given:
        has = f"missing; it has {quote(raw)}" if "role" not in raw else "null"
        raise RowError(DropReason.BAD_ROLE, f"message {position}: the role is {has}")
    spoken = [speaker.lower() if isinstance(speaker, str) else speaker for speaker in given]
    if not isinstance(spoken[0], str) or spoken[0] not in names.ROLES:
        known = quote(names.ROLES)
        raise RowError(DropReason.BAD_ROLE, f"message {position}: the role is {shorten(given[0])}, not one of {known}")
    if len(spoken) > 1 and names.ROLES.get(str(spoken[1])) != names.ROLES[spoken[0]]:
        raise RowError(DropReason.BAD_ROLE, f"message {position}: the roles {quote(given)} contradict each other")
    return next((one for one in spoken if one in names.CALLING_ROLES), spoken[0])


def _unwrap(raw: dict[str, Any], found: Findings) -> dict[str, Any]:
    """Add fields that LangChain keeps in `additional_kwargs`, if they are missing."""
    extra = raw.get("additional_kwargs")
    if not isinstance(extra, dict):
        return raw
    known = {name: extra[name] for name in (*names.REASONING, *names.CALLS, "refusal") if is_filled(extra.get(name))}
    if any(is_filled(raw.get(name)) for name in names.CALLS):
        known = {name: value for name, value in known.items() if name not in names.CALLS}
    for name in extra:
        if name not in known and name not in names.CALLS and is_filled(extra[name]):
            found.note(NoteKind.UNUSED_MESSAGE_FIELD, f"additional_kwargs.{name}")
    rest = {name: value for name, value in raw.items() if name != "additional_kwargs"}
    return {**rest, **{name: value for name, value in known.items() if not is_filled(rest.get(name))}}


def _refuse_media(raw: dict[str, Any], where: str) -> None:
    for name in names.MEDIA:
        if name in raw and is_filled(raw[name]):
            raise RowError(DropReason.MEDIA, f"{where}: {name} is {shorten(raw[name])}")


def _read_content(raw: dict[str, Any], where: str, may_be_absent: bool = False) -> Any:
    """Return the content of a message, under either name.

    Raises:
        RowError: Both names have a different text, or there is neither.
    """
    given = [name for name in names.TEXTS if name in raw]
    filled = [name for name in given if is_filled(raw[name])]
    if len(filled) > 1 and raw[filled[0]] != raw[filled[1]]:
        shown = " and ".join(f"{name} ({shorten(raw[name])})" for name in filled)
        raise RowError(DropReason.AMBIGUOUS, f"{where}: two texts: {shown}")
    # Unlike null, missing content usually means that the text has another name; an empty turn would hide that.
    if not given and not may_be_absent:
        raise RowError(DropReason.BAD_CONTENT, f"{where} has no content; it has {quote(raw)}")
    return raw[(filled or given)[0]] if given else None


def _read_assistant(raw: dict[str, Any], spoken: str, where: str, found: Findings) -> Message:
    """Normalise an assistant's message, and leave out empty fields."""
    given = {name: raw[name] for name in names.CALLS if raw.get(name) or (raw.get(name) == {} and name == "tool_calls")}
    given = {name: value for name, value in given.items() if not (isinstance(value, str) and not is_filled(value))}
    has_more = bool(given) or any(is_filled(raw.get(name)) for name in (*names.REASONING, "refusal"))
    content = _read_content(raw, where, has_more)
    if spoken in names.CALLING_ROLES and not given:
        thought, calls = _split_calling_role(content)
        given, content = {"content": calls}, thought
    text, thoughts, in_parts = _read_parts(content, where, found)
    calls: list[Call] = []
    for name, value in [*given.items(), *([("content", in_parts)] if in_parts else [])]:
        read = read_calls(value, name, where, found)
        if calls and read and [call["function"] for call in read] != [call["function"] for call in calls]:
            names_given = quote([*given, *(["content"] if in_parts else [])])
            raise RowError(DropReason.AMBIGUOUS, f"{where}: the tool calls differ under {names_given}")
        calls = calls or read
    reasoning = read_thoughts(raw, thoughts, where, found)
    if not text and is_filled(raw.get("refusal")):
        text = read_text(raw["refusal"], where)
        found.note(NoteKind.REFUSAL_AS_CONTENT)
    elif is_filled(raw.get("refusal")) and raw["refusal"] != text:
        found.note(NoteKind.UNUSED_MESSAGE_FIELD, "refusal")
    _note_other_dialects(text, found)
    spoken_text = settle_inline(text, reasoning, where, found)
    is_null = content is None and not spoken_text
    message: Message = {"role": "assistant", "content": NULL_TEXT if is_null else spoken_text}
    if reasoning:
        message["reasoning_content"] = reasoning
    if calls:
        message["tool_calls"] = calls
    if read_flags(raw, where) is False:
        message["train"] = False
    return message


def _split_calling_role(content: Any) -> tuple[str, Any]:
    """Split the text of a calling role into thought and calls, as in LLaMA-Factory."""
    text = content.lstrip() if isinstance(content, str) else ""
    if text.startswith(THINK) and END_THINK in text:
        thought, tag, calls = text.partition(END_THINK)
        return thought + tag, calls
    return "", content


def _read_parts(content: Any, where: str, found: Findings) -> tuple[str, str, list[Any]]:
    """Return the text, the thoughts and the tool calls in an assistant's content.

    A template renders them in the order thought, text, calls.

    Raises:
        RowError: The parts are in another order.
    """
    if not isinstance(content, list):
        return read_text(content, where), "", []
    texts: list[str] = []
    thoughts: list[str] = []
    calls: list[Any] = []
    for kind, value in read_parts(content, where, found):
        if kind == "result":
            raise RowError(DropReason.BAD_CONTENT, f"{where} has a tool's result for a content part")
        after_text = any(map(is_filled, texts))
        if is_filled(value) and ((kind == "thought" and (after_text or calls)) or (kind == "text" and calls)):
            what = "a tool call" if calls else "its text"
            raise RowError(DropReason.BAD_CONTENT, f"{where} has a {kind} after {what}: {shorten(value)}")
        {"text": texts, "thought": thoughts, "call": calls}[kind].append(value)
    return "".join(texts), join_thoughts(thoughts), calls


def _note_other_dialects(text: str, found: Findings) -> None:
    """Note thoughts and calls in another model's format, which train as text."""
    if text.startswith(OTHER_TAGS):
        found.note(NoteKind.OTHER_THOUGHT_TAGS, next(tag for tag in OTHER_TAGS if text.startswith(tag)))
    _, tag, call = text.partition("<tool_call>")
    if tag and call.lstrip().startswith(("{", "[")):
        found.note(NoteKind.CALL_IN_TEXT, tag)


def _join(before: Message, message: Message, where: str) -> Message:
    """Join an assistant's turn with the calls that continue it."""
    if before.get("train") != message.get("train"):
        raise RowError(DropReason.BAD_TRAIN_FLAG, f"{where} trains, or not, unlike the turn it continues")
    joined = {**before, "tool_calls": [*before.get("tool_calls", ()), *message.get("tool_calls", ())]}
    if message["content"] or "reasoning_content" in message:
        if before["content"] or "reasoning_content" in before or "tool_calls" in before:
            raise RowError(DropReason.BAD_CONTENT, f"{where} has a thought in the middle of a turn")
        joined |= {key: message[key] for key in ("content", "reasoning_content") if key in message}
    return joined


def _read_user_parts(content: list[Any], where: str, found: Findings) -> list[Message]:
    """Return a user's message; tool results in it become separate messages."""
    messages: list[Message] = []
    for kind, value in read_parts(content, where, found):
        if kind == "result":
            if is_filled(value.get("is_error")):
                found.note(NoteKind.UNUSED_MESSAGE_FIELD, "tool_result.is_error")
            result = value.get("content")
            text = read_text(result, where, found) if _is_text(result) else _as_json(result, where)
            messages.append({"role": "tool", "content": text})
            _add_names(value, messages[-1:], found)
        elif kind != "text":
            raise RowError(DropReason.BAD_CONTENT, f"{where} has a content part that is a {kind}, not text")
        elif messages and messages[-1]["role"] == "user":
            messages[-1]["content"] += value
        elif value or not messages:
            messages.append({"role": "user", "content": value})
    return messages or [{"role": "user", "content": ""}]


def _add_names(raw: dict[str, Any], messages: list[Message], found: Findings) -> None:
    """Add the speaker's name, and the id of the call that a result answers."""
    for message in messages:
        if isinstance(raw.get("name"), str):
            message["name"] = raw["name"]
        if message["role"] == "tool" and "tool_call_id" not in message:
            call_id = next((raw[name] for name in names.CALL_IDS if isinstance(raw.get(name), str)), None)
            if call_id is not None:
                message["tool_call_id"] = call_id
                found.has_result_ids = True


def _is_text(content: object) -> bool:
    """Tell whether content is text: a string, null, or a list of text parts."""
    parts = content if isinstance(content, list) else []
    is_parts = bool(parts) and all(isinstance(part, dict) and "type" in part for part in parts)
    return content is None or isinstance(content, str) or is_parts


def _as_json(result: object, where: str) -> str:
    """Return a tool's result given as data, in the JSON form that the model sees."""
    try:
        return json.dumps(result, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise RowError(DropReason.BAD_CONTENT, f"{where} has content that JSON has no form for: {error}") from None


def _order_results(messages: list[Message], found: Findings) -> list[Message]:
    """Put tool results in the order of the calls that their ids refer to."""
    ordered = [*messages]
    for index, message in enumerate(messages):
        if len(message.get("tool_calls", ())) < 2:
            continue
        places = {call.get("id"): place for place, call in enumerate(message["tool_calls"])}
        if None in places or len(places) < len(message["tool_calls"]):
            continue
        stop = index + 1
        while stop < len(messages) and messages[stop]["role"] == "tool":
            stop += 1
        results = messages[index + 1 : stop]
        if all(result.get("tool_call_id") in places for result in results):
            by_call = sorted(results, key=lambda result: places[result["tool_call_id"]])
            if by_call != results:
                ordered[index + 1 : stop] = by_call
                found.note(NoteKind.REORDERED_RESULTS)
    return ordered
