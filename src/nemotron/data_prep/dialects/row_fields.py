"""Read the other fields of a row: system prompt, loss flags, and unusable fields."""

from functools import lru_cache
from typing import Any

from nemotron.data_prep.chat.conversation import Message
from nemotron.data_prep.dialects import names
from nemotron.data_prep.dialects.findings import Findings
from nemotron.data_prep.dialects.forms import Form
from nemotron.data_prep.dialects.json_text import describe_kind, is_filled, shorten
from nemotron.data_prep.dialects.parts import read_text
from nemotron.data_prep.dialects.train_flags import read_flag
from nemotron.data_prep.drop_reasons import DropReason, RowError
from nemotron.data_prep.notes import NoteKind

Raw = dict[str, Any]


def is_plain(row: Raw, messages_field: str, tools_field: str) -> bool:
    """Tell whether a row has only messages, tools and metadata."""
    return row.keys() <= _plain_names(messages_field, tools_field) and not isinstance(row.get("metadata"), dict)


@lru_cache(maxsize=64)
def _plain_names(messages_field: str, tools_field: str) -> frozenset[str]:
    return names.ROW_METADATA | {messages_field, tools_field}


def flag_messages(row: Raw, messages: list[Any]) -> list[Any]:
    """Copy the row's loss flags to its messages.

    Raises:
        RowError: No message trains, or a flag is not supported.
    """
    for name in row:
        value = row[name]
        if name not in names.FLAGS or value is None:
            continue
        if isinstance(value, list) and value:
            messages = _flag_each(name, value, messages)
        elif name in names.CONTEXT_FLAGS and isinstance(value, str):
            _check_masked_speaker(name, value)
        elif read_flag(name, value, "the row") is False:
            raise RowError(DropReason.NO_TRAINED_TURN, f'"{name}" of the row is {shorten(value)}')
    return messages


def _flag_each(name: str, flags: list[Any], messages: list[Any]) -> list[Any]:
    """Copy a list of flags to the messages, one for each."""
    if name not in names.TRAINED_FLAGS:
        raise RowError(DropReason.BAD_TRAIN_FLAG, f'"{name}" of the row is a list, {shorten(flags)}')
    if len(flags) != len(messages):
        problem = f'"{name}" of the row has {len(flags)} flags for {len(messages)} messages'
        raise RowError(DropReason.BAD_TRAIN_FLAG, problem)
    return [
        {**message, f"{name} of the row": flag} if isinstance(message, dict) else message
        for flag, message in zip(flags, messages, strict=True)
    ]


def _check_masked_speaker(name: str, speaker: str) -> None:
    """Refuse NeMo's flag that masks a speaker if it names the assistant.

    All other speakers are always context.
    """
    if names.ROLES.get(speaker.lower(), "assistant") == "assistant":
        raise RowError(DropReason.BAD_TRAIN_FLAG, f'"{name}" of the row is {shorten(speaker)}')


def add_system(row: Raw, messages: list[Message]) -> list[Message]:
    """Put a system prompt from the row's fields before the messages.

    Raises:
        RowError: There are two different system prompts.
    """
    given = {
        name: text for name in names.SYSTEM if is_filled(row.get(name)) and is_filled(text := _read_system(row, name))
    }
    if not given:
        return messages
    text = next(iter(given.values()))
    first = messages[0] if messages[0]["role"] == "system" else None
    if first and is_filled(first["content"]):
        given["message 0 (system)"] = first["content"]
    if len({text.strip() for text in given.values()}) > 1:
        shown = " and ".join(f"{name} ({shorten(text)})" for name, text in given.items())
        raise RowError(DropReason.AMBIGUOUS, f"two system prompts: {shown}")
    if first is None:
        return [{"role": "system", "content": text}, *messages]
    return messages if is_filled(first["content"]) else [{**first, "content": text}, *messages[1:]]


def _read_system(row: Raw, name: str) -> str:
    return read_text(row[name], f'"{name}" of the row')


def note_unused(row: Raw, form: Form, tools_field: str, found: Findings) -> None:
    """Note each unused field that is not empty."""
    for name, value in row.items():
        if name in form.used or name == tools_field or not is_filled(value):
            continue
        if name == "metadata" and isinstance(value, dict):
            for inner in value:
                if inner in names.MEANINGFUL and is_filled(value[inner]) and not _is_switch(inner, value[inner]):
                    found.note(NoteKind.UNUSED_ROW_FIELD, f"metadata.{inner}")
        elif not (name in _READ_ELSEWHERE or name in names.ROW_METADATA or _is_switch(name, value)):
            found.note(NoteKind.UNUSED_ROW_FIELD, name)


_READ_ELSEWHERE = frozenset(("chat_template_kwargs", *names.SYSTEM, *names.TOOLS, *names.FLAGS))


def _is_switch(name: str, value: object) -> bool:
    return name == "reasoning" and isinstance(value, str) and value.lower() in names.SWITCHES


def refuse_unusable(row: Raw) -> None:
    """Refuse what SFT of a text model cannot use.

    Raises:
        RowError: The row has preference data or media.
    """
    for name, value in row.items():
        if name in names.COMPARED and isinstance(value, str | list | dict) and is_filled(value):
            shown = f"{describe_kind(value)}: {shorten(value)}"
            raise RowError(DropReason.PREFERENCE_DATA, f'"{name}" of the row is {shown}')
        if name in names.VERDICTS and value is False:
            raise RowError(DropReason.PREFERENCE_DATA, f'"{name}" of the row is false: the answer is one not to give')
        if name in names.MEDIA and isinstance(value, str | bytes | list | dict) and is_filled(value):
            raise RowError(DropReason.MEDIA, f'"{name}" of the row is {shorten(value)}')
