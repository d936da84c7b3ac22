"""Find out what a chat template does by rendering conversations of our own."""

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from nemotron.data_prep.chat.conversation import Message
from nemotron.data_prep.chat.jinja_sandbox import PROBE_SECONDS, limit_resources
from nemotron.data_prep.chat.template import Template
from nemotron.data_prep.drop_reasons import RowError

_FIRST, _NEWEST = "an early thought", "a late thought"
_ANSWER = "Here."
_SYSTEM: Message = {"role": "system", "content": "Be brief."}
_TURN: list[Message] = [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": _ANSWER}]
_PLAIN = (_TURN, [_SYSTEM, *_TURN], [*_TURN, *_TURN])
"""Conversations of which every usable template accepts at least one."""


class Frame(NamedTuple):
    """What a template writes around an answer."""

    header: str
    """Text before every answer that a generation prompt should contain, for templates without one."""
    after: str
    """Everything that follows the answer in a conversation."""
    stop: str
    """The first control token in `after`, which the model must learn to write; empty without one."""


@lru_cache(maxsize=8)
def find_frame(template: Template) -> Frame | None:
    """Find what a template writes around an answer.

    None means that the template accepts none of our conversations.

    Raises:
        RowError: The template needs too much time or memory.
    """
    with limit_resources(template.name, PROBE_SECONDS):
        return _find_frame(template)


def _find_frame(template: Template) -> Frame | None:
    for messages in _PLAIN:
        try:
            text = template.render(messages, None)
            before, prompt = (template.render(messages[:-1], None, add_generation_prompt=add) for add in (False, True))
        except RowError:
            continue
        begin, answer, after = text.rpartition(_ANSWER)
        if answer:
            has_prompt = prompt != before or not begin.startswith(before)
            header = "" if has_prompt else begin[len(before) :].rstrip(" ")
            return Frame(header if header.strip() else "", after, next(_find_stops(after, template.ends), ""))
    return None


def _find_stops(after: str, ends: tuple[str, ...]) -> Iterator[str]:
    """Yield the control tokens in a text, in order.

    Of two that begin at the same place, the longer is first.
    """
    yield from sorted((end for end in ends if end in after), key=lambda end: (after.index(end), -len(end)))


@lru_cache(maxsize=8)
def drops_history_thinking(template: Template) -> bool:
    """Tell whether the template shows reasoning only in the newest answer.

    If it shows reasoning always or never, a conversation stays one sequence.

    Raises:
        RowError: The template needs too much time or memory.
    """
    with limit_resources(template.name, PROBE_SECONDS):
        for answer in (_in_fields, _inline):
            messages = [
                {"role": "user", "content": "1?"}, answer(_FIRST), {"role": "user", "content": "2?"}, answer(_NEWEST)
            ]  # fmt: skip
            try:
                shown = template.render(messages, None)
            except RowError:
                continue
            if _NEWEST in shown and _FIRST not in shown:
                return True
    return False


def _in_fields(thought: str) -> Message:
    fields = dict.fromkeys(("reasoning_content", "reasoning", "thinking"), thought)
    return {"role": "assistant", "content": "So.", **fields}


def _inline(thought: str) -> Message:
    return {"role": "assistant", "content": f"<think>\n{thought}\n</think>\n\nSo."}
