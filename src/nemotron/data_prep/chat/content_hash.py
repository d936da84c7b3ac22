"""When two conversations are the same one.

Splits, deduplication and sampling go by this.
"""

import itertools
import json
from hashlib import sha256
from typing import Any

import numpy as np
import orjson

from nemotron.data_prep.chat.conversation import Conversation, Message, is_trained
from nemotron.data_prep.chat.reasoning import Turn, history_content, last_user_index, newest_content, turns_to_train


def content_hash(conversation: Conversation, turns: list[Turn] | None = None) -> bytes:
    """Hash what a model sees of a conversation.

    16 bytes: the beginning of SHA-256 over canonical JSON.

    Left out is what the bundled chat format shows nobody: the order of keys, an empty system message at the beginning,
    names of speakers, blanks after an answer, whether a thought stands in the content or in a field of its own, the
    ids that tie tool results to their calls, which servers draw at random, and of an answer that is only ever history
    what history leaves out.

    `turns` are its `turns_to_train`, where they are known.
    """
    messages = conversation.messages
    turns = turns_to_train(messages) if turns is None else turns
    if len(messages) > 1 and messages[1]["role"] != "system" == messages[0]["role"] and not messages[0]["content"]:
        messages = messages[1:]
        turns = [Turn(max(0, turn.start - 1), turn.stop - 1) for turn in turns]
    tools = None if conversation.tools is None else [tool.get("function", tool) for tool in conversation.tools]
    trained = [(turn, answers) for turn in turns if (answers := _trained_in(messages, turn))]
    messages = messages[: trained[-1][0].stop] if trained else messages  # nothing shows what follows
    stretches = [range(max(0, last_user_index(messages, turn.stop)), turn.stop) for turn, _ in trained]
    newest = stretches[0] if len(stretches) == 1 else set(itertools.chain.from_iterable(stretches))
    shown = [
        _answer(message, index not in newest) if message["role"] == "assistant" else _shown(message)
        for index, message in enumerate(messages)
    ]
    # Where each training sequence begins and ends, and what it trains: reasoning, even if blank, decides that. Where
    # only the system's message precedes the user's, it makes no difference that it begins there.
    first = 1 + (messages[0]["role"] == "system") if messages else 0
    sequences = [[turn.start if turn.start > first else 0, turn.stop, answers] for turn, answers in trained]
    if sequences != [[0, len(messages), [i for i, message in enumerate(messages) if message["role"] == "assistant"]]]:
        shown.append({"sequences": sequences})
    return sha256(canonical_json({"messages": shown, "tools": tools})).digest()[:16]


def _trained_in(messages: list[Message], turn: Turn) -> list[int]:
    return [index for index in range(turn.start, turn.stop) if is_trained(messages[index])]


def _shown(message: Message) -> Message:
    return message if len(message) == 2 else {"role": message["role"], "content": message["content"]}


def _answer(message: Message, is_history: bool) -> Message:
    calls = message.get("tool_calls")
    content = newest_content(message)
    shown: Message = {
        "role": "assistant",
        "content": history_content(content, bool(calls)) if is_history else content.strip(),
    }
    if calls:
        shown["tool_calls"] = [call["function"] for call in calls]
    return shown


def canonical_json(value: Any) -> bytes:
    """Return the same bytes for equal values."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # an integer beyond 64 bits, or nesting beyond orjson's 254 levels
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def sampling_rank(hashes: np.ndarray, seed: int, occurrence: np.ndarray | int = 0) -> np.ndarray:
    """A pseudo-random uint64 for each content hash: who comes first when not all can.

    `occurrence` counts conversations of the same content from 0, so that copies do not all come at once. It is
    splitmix64's output function, so that the ranks are independent of the hash as splits use it, and of the
    ranks under another seed.
    """
    mixed = hashes.astype(np.uint64) ^ np.uint64((seed * 0x9E3779B97F4A7C15 + 0x632BE59BD9B4E019) % 2**64)
    mixed = mixed + np.asarray(occurrence, np.uint64) * np.uint64(0xD1342543DE82EF95)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
