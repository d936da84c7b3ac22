"""Tell plain rows from others, and read them."""

from functools import lru_cache
from hashlib import sha256
from typing import Any, NamedTuple

from nemotron.data_prep.chat.content_hash import canonical_json
from nemotron.data_prep.chat.conversation import Conversation, Message
from nemotron.data_prep.chat.reasoning import Turn, may_have_think_tag
from nemotron.data_prep.chat.special_tokens import SpecialTokens
from nemotron.data_prep.chat.template import Template
from nemotron.data_prep.config import WITH_MESSAGES
from nemotron.data_prep.dialects.admission import Admission
from nemotron.data_prep.dialects.json_text import is_filled
from nemotron.data_prep.dialects.row_fields import is_plain
from nemotron.data_prep.dialects.thoughts import OTHER_TAGS
from nemotron.data_prep.plain_rows.render import render
from nemotron.data_prep.reasoning_modes.choice import ReasoningControl
from nemotron.data_prep.reasoning_modes.mode import Mode
from nemotron.data_prep.reasoning_modes.row import KWARGS
from nemotron.data_prep.sources import Row

_TWO, _TEXT = {2}, {str}
_REASONED = {"role", "content", "reasoning_content"}
_OPENING = frozenset(tag[0] for tag in OTHER_TAGS)
_ROLES = "\0".join(("system", "user", "assistant"))


class PlainRow(NamedTuple):
    """A plain row, read and rendered."""

    hash: bytes
    """Its content hash."""
    conversation: Conversation
    turns: list[Turn]
    """Its only training sequence."""
    texts: list[str]
    """Its chunks: the system's, then the user's and the assistant's in turn. The assistant's train."""
    mode: Mode


class PlainRows:
    """Tells plain rows from others, and reads them."""

    def __init__(
        self, admission: Admission, control: ReasoningControl, template: Template, special_tokens: SpecialTokens
    ) -> None:
        """Take the settings that decide what is plain.

        Args:
            admission: Which rows to take. With checks, no row is plain.
            control: The reasoning settings. Where all conversations have low effort, no row is plain; where a share
                trains without or with less reasoning, no row with reasoning is.
            template: The chat template. Only the bundled one renders plain rows.
            special_tokens: The control tokens, which plain rows do not have.
        """
        names = {admission.fields.messages_field, admission.fields.tools_field}
        self._admission, self._special_tokens = admission, special_tokens
        self._messages_field, self._tools_field, _ = admission.fields
        self._may_reason = not control.off and control.budget is None
        self._are_any = (
            template.is_nemotron3
            and not admission.checks
            and not control.low_effort
            and admission.fields.format in WITH_MESSAGES
            and len(names) == 2
            and names.isdisjoint(("reasoning", KWARGS))
            # Control tokens are searched in the texts alone, while first_in searches the roles and between them too.
            and not any("\0" in name or name in _ROLES for name in special_tokens.names)
        )

    def read(self, row: Row) -> PlainRow | None:
        """Read a row if it is plain; otherwise return None."""
        value = row.value
        if not self._are_any or type(value) is not dict:
            return None
        messages = value.get(self._messages_field)
        if type(messages) is not list or not self._has_only_messages(value):
            return None
        try:
            roles = [message["role"] for message in messages]
            contents = [message["content"] for message in messages]
        except (KeyError, TypeError):  # a message is no object, or has no text
            return None
        if roles != _order(len(roles)):
            return None
        texts = contents if {*map(len, messages)} == _TWO else self._with_reasoning(messages, contents)
        if texts is None or {*map(type, texts)} != _TEXT:
            return None
        if self._has_marks("\0".join(texts)) or any(text[:1] in _OPENING for text in contents[-1::-2]):
            return None
        reasoning = None if texts is contents else texts[-1]
        chunks, shown = render(contents, reasoning)
        hash = sha256(canonical_json({"messages": shown, "tools": None})).digest()[:16]
        start, mode = (0, Mode.NO_REASONING) if reasoning is None else (len(messages) - 1, Mode.ON)
        return PlainRow(hash, Conversation(messages), _turns(start, len(messages)), chunks, mode)

    def _has_only_messages(self, value: dict[str, Any]) -> bool:
        """Tell whether a row has only messages and metadata, and is wanted."""
        if len(value) > 1 and (
            value.get(self._tools_field) is not None or not is_plain(value, self._messages_field, self._tools_field)
        ):
            return False
        return self._admission.is_used(value)

    def _with_reasoning(self, messages: list[Message], contents: list[Any]) -> list[Any] | None:
        """Return the texts of one question and its answer, then the answer's reasoning.

        None if the messages are something else.
        """
        *before, answer = messages
        is_one = self._may_reason and len(messages) <= 3 and answer.keys() == _REASONED
        if not is_one or {*map(len, before)} != _TWO:
            return None
        reasoning = answer["reasoning_content"]
        return [*contents, reasoning] if type(reasoning) is str and is_filled(reasoning) else None

    def _has_marks(self, text: str) -> bool:
        """Tell whether a text may have think tags, calls or control tokens."""
        has_tag = "<" in text and (may_have_think_tag(text) or "<tool_call>" in text)
        return has_tag or self._special_tokens.are_in(text)


@lru_cache(maxsize=64)
def _order(count: int) -> list[str] | None:
    """Return the roles of so many messages in plain order."""
    order = ["system"] * (count % 2) + ["user", "assistant"] * (count // 2)
    return order if count > 1 else None


@lru_cache(maxsize=512)
def _turns(start: int, stop: int) -> list[Turn]:
    return [Turn(start, stop)]
