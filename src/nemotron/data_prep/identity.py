"""When two conversations are the same one: what splits, deduplication and sampling go by."""

import json
from hashlib import blake2b
from typing import Any

import orjson

from nemotron.data_prep.conversation import Conversation, Message, is_trained
from nemotron.data_prep.reasoning import Turn, newest_content, turns_to_train


def content_hash(conversation: Conversation) -> bytes:
    """16 bytes that are equal for conversations of which a model sees the same: BLAKE2b over canonical JSON.

    Left out is what the bundled chat format shows nobody: the order of keys, an empty system message at the beginning,
    names of speakers, blanks after an answer, whether a thought stands in the content or in a field of its own, and
    the ids that tie tool results to their calls, which servers draw at random.
    """
    messages = conversation.messages
    if messages and messages[0]["role"] == "system" and not messages[0]["content"]:
        messages = messages[1:]
    tools = None if conversation.tools is None else [tool.get("function", tool) for tool in conversation.tools]
    shown = [_shown(message) for message in messages]
    trained = _trained(messages)
    if len(trained) != 1 or trained[0] != [len(messages), _trained_in(messages, Turn(0, len(messages)))]:
        shown.append({"sequences": trained})
    return blake2b(canonical_json(Conversation(shown, tools)), digest_size=16).digest()


def _trained(messages: list[Message]) -> list[list[Any]]:
    """Of each training sequence where it ends, and which messages it trains: reasoning, even if blank, decides that."""
    return [[turn.stop, answers] for turn in turns_to_train(messages) if (answers := _trained_in(messages, turn))]


def _trained_in(messages: list[Message], turn: Turn) -> list[int]:
    return [index for index in range(turn.start, turn.stop) if is_trained(messages[index])]


def _shown(message: Message) -> Message:
    if message["role"] != "assistant":
        return message if len(message) == 2 else {"role": message["role"], "content": message["content"]}
    shown: Message = {"role": "assistant", "content": newest_content(message).strip()}
    if "tool_calls" in message:
        shown["tool_calls"] = [call["function"] for call in message["tool_calls"]]
    if "train" in message:
        shown["train"] = message["train"]
    return shown


def canonical_json(conversation: Conversation) -> bytes:
    """The same bytes for equal normalised messages and tools."""
    content: dict[str, Any] = {"messages": conversation.messages, "tools": conversation.tools}
    try:
        return orjson.dumps(content, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # an integer beyond 64 bits, or nesting beyond orjson's 254 levels
        return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
