"""Find control tokens that are written out inside a conversation.

For example, `<|im_end|>` in a message would end its turn. They are found in everything that a template may show
(contents, reasoning, tool calls, tools), and can be split, so that they are encoded as text. Only tokens that the
tokenizer calls special count. `<think>` and `</think>` do not, because reasoning may be inline.
"""

import re
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import groupby
from typing import Any

import orjson

from nemotron.data_prep.chat.content_hash import canonical_json
from nemotron.data_prep.chat.conversation import MOST_TOOL_LISTS, Conversation, ToolList
from nemotron.data_prep.chat.reasoning import END_THINK, THINK
from nemotron.data_prep.config import SpecialTokensPolicy
from nemotron.data_prep.drop_reasons import LeftOut, RowError

# Only letters and digits, which no template or JSON encoder changes; a conversation cannot forge it.
_BREAK = f"break{secrets.token_hex(12)}"


class SpecialTokens:
    """The control tokens of one tokenizer; `names` is empty if it has none."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = tuple(sorted(name for name in set(names) - {THINK, END_THINK} if name))
        self._clean: set[ToolList] = set()
        """Tools without any."""

    @cached_property
    def _first_characters(self) -> list[str]:
        return sorted({name[0] for name in self.names})

    @cached_property
    def _in_text(self) -> list[re.Pattern[str]]:
        return [re.compile(pattern) for pattern in _patterns(self.names)]

    @cached_property
    def _in_json(self) -> list[re.Pattern[bytes]]:
        escaped = sorted(map(_escape, self.names))
        return [re.compile(pattern.encode()) for pattern in _patterns(escaped)]

    @cached_property
    def _in_bracketed(self) -> list[re.Pattern[bytes]]:
        """Find in JSON what a name must have to form a token with its brackets."""
        parts = {part for name in self.names for part in _parts_in_brackets(name)}
        return [re.compile(pattern.encode()) for pattern in _patterns(sorted(parts))]

    def are_in(self, text: str) -> bool:
        """Tell whether a control token is written out in a text."""
        return self._first_in_text(text) is not None

    def _first_in_text(self, text: str) -> str | None:
        # Most texts do not even have the first character of a token.
        return _first(self._in_text, text) if any(map(text.__contains__, self._first_characters)) else None

    def first_in(self, conversation: Conversation) -> str | None:
        """Find a control token that is written out in the conversation, or return None.

        Tool calls and tools are searched in their JSON form.
        """
        messages = conversation.messages
        texts = [value for message in messages for value in message.values() if type(value) is str]
        if found := self._first_in_text("\0".join(texts)):
            return found
        calls = [message["tool_calls"] for message in messages if "tool_calls" in message]
        tools = conversation.tools
        if type(tools) is ToolList and tools in self._clean:
            tools = None
        if not calls and not tools:
            return None
        json = canonical_json([calls, tools])
        if found := _first(self._in_json, json):
            return found.decode()
        # Templates write a name between angle brackets: `<parameter=NAME>`.
        if _first(self._in_bracketed, json) is not None and (
            found := _first(self._in_text, "".join(f"<{name}>" for name in _names([calls, tools])))
        ):
            return found
        if type(tools) is ToolList:
            self._remember_clean(tools)
        return None

    def _remember_clean(self, tools: ToolList) -> None:
        if len(self._clean) >= MOST_TOOL_LISTS:
            self._clean.clear()
        self._clean.add(tools)

    def break_tokens(self, conversation: Conversation) -> Conversation:
        """Put a mark inside every control token of a conversation.

        A template renders the result, and `pieces` cuts it at the marks.
        """
        return replace(
            conversation, messages=self._break_value(conversation.messages), tools=self._break_value(conversation.tools)
        )

    def _break_value(self, value: Any) -> Any:
        if isinstance(value, str):
            for pattern in self._in_text:
                value = pattern.sub(lambda found: f"{found[0][0]}{_BREAK}{found[0][1:]}", value)
            return value
        if isinstance(value, list):
            return [self._break_value(inner) for inner in value]
        if isinstance(value, dict):
            return {self._break_name(key): self._break_named(key, inner) for key, inner in value.items()}
        return value

    def _break_named(self, key: str, value: Any) -> Any:
        return self._break_name(value) if key == "name" and isinstance(value, str) else self._break_value(value)

    def _break_name(self, name: str) -> str:
        """Break a name that forms a token, alone or with the brackets around it."""
        return self._break_value(f"<{name}>")[1:-1]


def _parts_in_brackets(token: str) -> Iterator[str]:
    """Yield how JSON writes names that form a token in angle brackets.

    Each up to where the name may go on.
    """
    if "><" in token:  # two names form it
        yield '"'
    if token[0] == "<":
        yield '"' + _escape(token[1:])
        if token[-1] == ">":
            yield '"' + _escape(token[1:-1]) + '"'
    if token[-1] == ">":
        yield _escape(token[:-1]) + '"'


def _escape(text: str) -> str:
    return orjson.dumps(text)[1:-1].decode()


def _first[Text: (str, bytes)](patterns: Iterable[re.Pattern[Text]], text: Text) -> Text | None:
    return next((found[0] for pattern in patterns if (found := pattern.search(text))), None)


def _names(value: Any) -> Iterator[str]:
    """Yield the keys of all objects inside a JSON value, and the values of `name`."""
    left = [value]
    while left:
        value = left.pop()
        if isinstance(value, list):
            left.extend(value)
        elif isinstance(value, dict):
            yield from value
            left.extend(value.values())
            if isinstance(value.get("name"), str):
                yield value["name"]


def cut_at_marks(text: str) -> list[str]:
    """Cut rendered text inside every broken control token.

    So no encoder sees a complete one. Usually there is only one piece.
    """
    return text.split(_BREAK)


def remove_marks(text: str) -> str:
    """Remove the marks from the rendered text of a broken conversation."""
    return text.replace(_BREAK, "")


def _patterns(names: Sequence[str]) -> list[str]:
    """Make one pattern per first character.

    The regex engine skips to that character instead of trying every name.
    """
    return [_trie(list(group)) for _, group in groupby(names, key=lambda name: name[0])]


def _trie(names: Sequence[str]) -> str:
    """Make a pattern that matches the longest of some sorted names.

    Each character is tried once.
    """
    branches = [
        re.escape(first) + _trie([name[1:] for name in group])
        for first, group in groupby((name for name in names if name), key=lambda name: name[0])
    ]
    if not branches:
        return ""
    alternatives = branches[0] if len(branches) == 1 and "" not in names else f"(?:{'|'.join(branches)})"
    return f"{alternatives}?" if "" in names else alternatives


def apply_policy(
    conversation: Conversation, token: str | None, special_tokens: SpecialTokens, policy: SpecialTokensPolicy
) -> Conversation:
    """Apply the policy to a conversation in which a control token is written out.

    Args:
        token: The token, or None.

    Raises:
        RowError: The policy is to drop such conversations.
    """
    if token is None or policy == "keep":
        return conversation
    if policy == "drop":
        raise RowError(LeftOut.SPECIAL_TOKENS, f"the text has {token}")
    try:
        return special_tokens.break_tokens(conversation)
    except RecursionError:
        detail = f"the text has {token}, in a value nested too deeply to be split"
        raise RowError(LeftOut.SPECIAL_TOKENS, detail) from None
