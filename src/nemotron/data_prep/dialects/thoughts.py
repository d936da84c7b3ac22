"""Read an assistant's reasoning from any field or part, once and without its tags.

Inline thoughts are left inline. A think tag counts only at the start of the content, or if it is the only closing tag.
Tags mentioned in prose or code are text.
"""

import re
from typing import Any

from nemotron.data_prep.chat.reasoning import END_THINK, NO_THINKING, THINK
from nemotron.data_prep.dialects import names
from nemotron.data_prep.dialects.findings import Findings
from nemotron.data_prep.dialects.json_text import quote, shorten
from nemotron.data_prep.dialects.parts import is_encrypted, read_reasoning
from nemotron.data_prep.drop_reasons import DropReason, RowError
from nemotron.data_prep.notes import NoteKind

OTHER_TAGS = (
    *("<thinking>", "<thought>", "<reasoning>", "<|begin_of_thought|>", "<|thinking|>", "[THINK]", "◁think▷"),
    *("<seed:think>", "<analysis>"),
)
"""How other models open a thought. These are kept and noted, because the user may have asked for them."""
_QUOTES = "`'\"“”‘’«»"
_ENDS_SENTENCE = re.compile(r"[.!?:;)\]}。！？…]\s*$")


def read_thoughts(raw: dict[str, Any], in_parts: str, where: str, found: Findings) -> str:
    """Read an assistant's reasoning, except for thoughts inline in its text.

    Args:
        raw: The message.
        in_parts: The thoughts among the parts of its content.
        where: The place of the message, for errors.
        found: Collects notes.

    Raises:
        RowError: Reasoning differs under two names, or is not text.
    """
    texts: dict[str, str] = {}
    for name in names.REASONING:
        value = raw.get(name)
        if value is None or value == [] or value == {}:
            continue
        if isinstance(value, bool) and name != "reasoning_content":
            found.note(NoteKind.UNUSED_MESSAGE_FIELD, name)  # an on/off switch
        elif text := read_reasoning(name, value, where):
            texts[name] = _remove_tags(text, f"{where}: {name}", found)
            if isinstance(value, list) and any(isinstance(part, dict) and is_encrypted(part) for part in value):
                found.note(NoteKind.UNUSED_MESSAGE_FIELD, f"{name}[].data")
    if in_parts:
        texts["content"] = _remove_tags(in_parts, where, found)
    said = {name: text for name, text in texts.items() if text and not text.isspace()}
    if len({text.strip() for text in said.values()}) > 1:
        shown = " and ".join(f"{name} ({shorten(text)})" for name, text in said.items())
        raise RowError(DropReason.AMBIGUOUS, f"{where}: two thoughts: {shown}")
    if len(said) > 1:
        found.note(NoteKind.REPEATED_THOUGHT, "+".join(said))
    return next(iter(said.values()), None) or next(iter(texts.values()), "")


def _remove_tags(thought: str, where: str, found: Findings) -> str:
    """Remove think tags around reasoning."""
    if "think>" not in thought:
        return thought
    inner = thought.strip()
    opens, ends = inner.startswith(THINK), inner.endswith(END_THINK)
    if not opens and not ends:
        return thought
    inner = inner.removeprefix(THINK).removesuffix(END_THINK).strip()
    if END_THINK in inner:
        raise RowError(DropReason.AMBIGUOUS, f"{where} goes on after {END_THINK}: {shorten(thought)}")
    found.note(NoteKind.TAGGED_REASONING)
    return inner


def settle_inline(content: str, reasoning: str, where: str, found: Findings) -> str:
    """Normalise the thought that an assistant's content may begin with.

    A blank thought is removed, one that is only closed gets its opening tag, and one that repeats `reasoning` is
    removed.

    Raises:
        RowError: The thought differs from `reasoning`.
    """
    if THINK not in content and END_THINK not in content:
        return content
    text = content.lstrip()
    if not text.startswith(THINK):
        if not _only_ends_a_thought(text):
            found.note(NoteKind.THINK_TAG_IN_TEXT)
            return content
        thought, _, said = text.partition(END_THINK)
        opened = (THINK if content.startswith("\n") else f"{THINK}\n") + content
        kind = NoteKind.OPENED_THOUGHT
    elif END_THINK not in text:
        found.note(NoteKind.UNCLOSED_THOUGHT)
        thought, said, opened, kind = text.removeprefix(THINK), "", content, None
    else:
        thought, _, said = text.removeprefix(THINK).partition(END_THINK)
        opened, kind = content, None
    reasoning, thought = reasoning.strip(), thought.strip()
    if not thought:
        if text.startswith(NO_THINKING) and not reasoning:
            return content  # the chat format's own form of no thinking
        found.note(NoteKind.BLANK_THOUGHT)
        return said.lstrip()
    if not reasoning:
        if kind is not None:
            found.note(kind)
        return opened
    if thought != reasoning:
        shown = quote([reasoning, thought])
        raise RowError(DropReason.AMBIGUOUS, f"{where}: two thoughts, one of them in the content: {shown}")
    found.note(NoteKind.REPEATED_THOUGHT, "content")
    return said.removeprefix("\n")


def _only_ends_a_thought(text: str) -> bool:
    """Tell whether the only tag of a text closes a thought that the prompt opened.

    Otherwise prose or code mentions the tag.
    """
    if THINK in text or text.count(END_THINK) != 1:
        return False
    before, _, after = text.partition(END_THINK)
    line = before.rpartition("\n")[2]
    if before.count("```") % 2 or line.replace("```", "").count("`") % 2 or after[:1] in tuple(f"{_QUOTES}.,;:)"):
        return False
    if not line.strip() or after[:1] in ("\n", "\r") or not line[-1].isspace():
        return line[-1:] not in tuple(_QUOTES) or not after[:1]
    return _ENDS_SENTENCE.search(line) is not None
