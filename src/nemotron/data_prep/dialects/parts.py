"""Read content given as a list of parts: text, thoughts, tool calls and results.

Other kinds are refused, and the error names them.
"""

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from nemotron.data_prep.dialects.findings import Findings
from nemotron.data_prep.dialects.json_text import describe_kind, is_filled, quote, shorten
from nemotron.data_prep.drop_reasons import DropReason, RowError
from nemotron.data_prep.notes import NoteKind

TEXT_TYPES = ("text", "input_text", "output_text")
THOUGHT_TYPES = ("thinking", "reasoning", "reasoning_content", "reasoning_text", "thought")
CALL_TYPES = ("tool_use", "tool_call", "function_call")
RESULT_TYPES = ("tool_result",)
THOUGHT_KEYS = ("thinking", "reasoning", "reasoning_content", "text", "summary", "content")
_SAID_NOTHING = frozenset(("type", "text", "id", "index", "cache_control", "annotations", "citations", "extras"))


class Part(NamedTuple):
    """One part: text and thoughts as text, calls and results as given."""

    kind: Literal["text", "thought", "call", "result"]
    value: Any


def read_parts(content: list[Any], where: str, found: Findings | None = None) -> Iterator[Part]:
    """Read a list of parts.

    Raises:
        RowError: bad_content; the detail names the type and the keys of a part that cannot be used.
    """
    for part in content:
        if isinstance(part, str):
            yield Part("text", part)
            continue
        if not isinstance(part, dict):
            raise RowError(DropReason.BAD_CONTENT, f"{where} has {describe_kind(part)} for a content part")
        kind = part.get("type") or "text"
        if kind in TEXT_TYPES:
            yield Part("text", _read_part_text(part, where, found))
        elif kind in THOUGHT_TYPES:
            yield Part("thought", read_thought(part, where))
        elif kind in CALL_TYPES and is_filled(part.get("name")):
            yield Part("call", part)
        elif kind in RESULT_TYPES:
            yield Part("result", part)
        else:
            problem = f"a content part of type {shorten(kind)} with {quote(part)}"
            raise RowError(DropReason.BAD_CONTENT, f"{where} has {problem}, which is no text")


def read_text(content: object, where: str, found: Findings | None = None) -> str:
    """Read content that must be text.

    Null is empty text; text parts are concatenated unchanged.
    """
    if isinstance(content, str):
        return content
    if content is None:
        return ""
    if not isinstance(content, list):
        raise RowError(DropReason.BAD_CONTENT, f"{where} has {describe_kind(content)} for content: {shorten(content)}")
    parts = list(read_parts(content, where, found))
    other = next((part for part in parts if part.kind != "text"), None)
    if other is not None:
        raise RowError(DropReason.BAD_CONTENT, f"{where} has a content part that is a {other.kind}, not text")
    return "".join(part.value for part in parts)


def _read_part_text(part: dict[str, Any], where: str, found: Findings | None) -> str:
    text = part.get("text")
    others = [key for key in part if key not in _SAID_NOTHING and is_filled(part[key])]
    if text is None and "text" in part and not others:
        return ""  # null from a table
    if not isinstance(text, str):
        raise RowError(DropReason.BAD_CONTENT, f"{where} has a content part without text; it has {quote(part)}")
    if found is not None:
        for key in others:
            found.note(NoteKind.UNUSED_MESSAGE_FIELD, f"content[].{key}")
    return text


def read_thought(part: dict[str, Any], where: str) -> str:
    """Read the text of a thought, which is text itself or a list of parts."""
    given = [key for key in THOUGHT_KEYS if is_filled(part.get(key))]
    if not given and not any(key in part for key in THOUGHT_KEYS):
        raise RowError(DropReason.BAD_CONTENT, f"{where} has a thought without text; it has {quote(part)}")
    return join_thoughts(_read_thought_texts(part[given[0]], where)) if given else ""


def _read_thought_texts(value: object, where: str) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        return [text if isinstance(text, str) else _read_nested(text, where) for text in value]
    raise RowError(DropReason.BAD_CONTENT, f"{where} has {describe_kind(value)} for a thought")


def _read_nested(part: object, where: str) -> str:
    if not isinstance(part, dict):
        raise RowError(DropReason.BAD_CONTENT, f"{where} has {describe_kind(part)} for a part of a thought")
    return read_thought(part, where)


def join_thoughts(texts: list[str]) -> str:
    """Join the pieces of a thought.

    Pieces that whitespace already separates are concatenated; others become paragraphs.
    """
    joined = ""
    for text in texts:
        apart = not joined or not text or joined[-1].isspace() or text[0].isspace()
        joined += text if apart else f"\n\n{text}"
    return joined


def read_reasoning(name: str, value: object, where: str) -> str:
    """Read the reasoning next to a message's content, in any form.

    Raises:
        RowError: It is not text, or all of it is encrypted.
    """
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        raise RowError(DropReason.BAD_CONTENT, f"{where}: {name} is {describe_kind(value)}: {shorten(value)}")
    texts = []
    for part in value:
        if isinstance(part, str):
            texts.append(part)
        elif not isinstance(part, dict):
            raise RowError(DropReason.BAD_CONTENT, f"{where}: {name} has {describe_kind(part)} for a part")
        elif any(is_filled(part.get(key)) for key in THOUGHT_KEYS):
            texts.append(read_thought(part, f"{where}: {name}"))
        elif not _is_blank_text(part) and not is_encrypted(part):
            raise RowError(DropReason.BAD_CONTENT, f"{where}: {name} has a part without text; it has {quote(part)}")
    if not texts and any(map(is_encrypted, value)):
        raise RowError(DropReason.BAD_CONTENT, f"{where}: {name} is encrypted, and has no text")
    return "".join(texts)


def _is_blank_text(part: dict[str, Any]) -> bool:
    return any(key in part for key in THOUGHT_KEYS) and not is_encrypted(part)


def is_encrypted(part: dict[str, Any]) -> bool:
    """Tell whether a part of reasoning is encrypted by its server."""
    return is_filled(part.get("data")) or is_filled(part.get("encrypted_content"))
