"""Decide whether two conversations are the same, by a hash of their content.

Splits, deduplication and sampling use this hash.
"""

import contextlib
import itertools
import json
from functools import lru_cache
from hashlib import sha256
from typing import Any

import numpy as np
import orjson

from nemotron.data_prep.chat.conversation import MOST_TOOL_LISTS, Conversation, Message, Tool, ToolList, is_trained
from nemotron.data_prep.chat.reasoning import (
    NO_THINKING,
    Turn,
    history_content,
    last_user_index,
    may_have_think_tag,
    newest_content,
    turns_to_train,
)


def content_hash(conversation: Conversation, turns: list[Turn] | None = None) -> bytes:
    """Hash what a model sees of a conversation, to 16 bytes of SHA-256.

    The hash ignores what the bundled chat format does not show: the order of keys, an empty system message at the
    beginning, names of speakers, whitespace after an answer, whether a thought is in the content or in its own field,
    the random ids that connect tool results to calls, and what the history leaves out of an answer that never trains.
    `turns` are its `turns_to_train`, if they are known.
    """
    messages = conversation.messages
    turns = turns_to_train(messages) if turns is None else turns
    if len(messages) > 1 and messages[1]["role"] != "system" == messages[0]["role"] and not messages[0]["content"]:
        messages = messages[1:]
        turns = [Turn(max(0, turn.start - 1), turn.stop - 1) for turn in turns]
    trained = [(turn, answers) for turn in turns if (answers := _find_trained(messages, turn))]
    messages = messages[: trained[-1][0].stop] if trained else messages  # what follows is never shown
    stretches = [range(max(0, last_user_index(messages, turn.stop)), turn.stop) for turn, _ in trained]
    newest = stretches[0] if len(stretches) == 1 else set(itertools.chain.from_iterable(stretches))
    shown: list[Any] = [
        _answer(message, index not in newest)
        if message["role"] == "assistant"
        else message
        if len(message) == 2
        else {"role": message["role"], "content": message["content"]}
        for index, message in enumerate(messages)
    ]
    # Where each training sequence begins and ends, and what it trains, which depends on reasoning even if it is blank.
    # If only a system message precedes the user's, the beginning makes no difference.
    first = 1 + (messages[0]["role"] == "system") if messages else 0
    sequences = [[turn.start if turn.start > first else 0, turn.stop, answers] for turn, answers in trained]
    if sequences != [[0, len(messages), [i for i, message in enumerate(messages) if message["role"] == "assistant"]]]:
        shown.append({"sequences": sequences})
    return sha256(_write(shown, conversation.tools)).digest()[:16]


def _write(messages: list[Any], tools: list[Tool] | None) -> bytes:
    """Return the canonical JSON of messages and tools."""
    if type(tools) is ToolList:
        with contextlib.suppress(TypeError):
            json = orjson.dumps(messages, option=orjson.OPT_SORT_KEYS)
            return b'{"messages":%b,"tools":%b}' % (json, _write_shared(tools))
    return canonical_json({"messages": messages, "tools": None if tools is None else _functions(tools)})


@lru_cache(maxsize=MOST_TOOL_LISTS)
def _write_shared(tools: ToolList) -> bytes:
    return orjson.dumps(_functions(tools), option=orjson.OPT_SORT_KEYS)


def _functions(tools: list[Tool]) -> list[Any]:
    return [tool.get("function", tool) for tool in tools]


def _find_trained(messages: list[Message], turn: Turn) -> list[int]:
    return [index for index in range(turn.start, turn.stop) if is_trained(messages[index])]


def _answer(message: Message, is_history: bool) -> Message:
    content, calls = message["content"], message.get("tool_calls")
    if not message.get("reasoning_content") and not may_have_think_tag(content):
        # What follows would give the same, but copies the text at every step.
        content = NO_THINKING + (content.strip() if is_history and calls else content.rstrip())
    else:
        content = newest_content(message)
        content = history_content(content, bool(calls)) if is_history else content.strip()
    shown: Message = {"role": "assistant", "content": content}
    if calls:
        shown["tool_calls"] = [call["function"] for call in calls]
    return shown


def canonical_json(value: Any) -> bytes:
    """Return JSON that is the same for equal values."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # an integer beyond 64 bits, or nesting beyond orjson's 254 levels
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def sampling_rank(hashes: np.ndarray, seed: int, occurrence: np.ndarray | int = 0) -> np.ndarray:
    """Return a pseudo-random uint64 for each content hash, by which samples are taken.

    `occurrence` counts conversations with the same content from 0, so that copies have different ranks. The function is
    the output function of splitmix64, so the ranks are independent of the use of the hash in splits, and of other
    seeds.
    """
    mixed = hashes.astype(np.uint64) ^ np.uint64((seed * 0x9E3779B97F4A7C15 + 0x632BE59BD9B4E019) % 2**64)
    mixed = mixed + np.asarray(occurrence, np.uint64) * np.uint64(0xD1342543DE82EF95)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
