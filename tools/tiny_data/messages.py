"""Constructors for OpenAI chat messages and rows, so that the other modules read as conversations."""

import json
from random import Random
from typing import Any

Message = dict[str, Any]
Row = dict[str, Any]


def system(text: str) -> Message:
    return {"role": "system", "content": text}


def user(text: str) -> Message:
    return {"role": "user", "content": text}


def assistant(text: str | None, *, reasoning: str | None = None, calls: list[dict] | None = None) -> Message:
    """An assistant turn; `reasoning` goes to `reasoning_content`, `calls` to `tool_calls`."""
    message: Message = {"role": "assistant", "content": text}
    if reasoning is not None:
        message["reasoning_content"] = reasoning
    if calls is not None:
        message["tool_calls"] = calls
    return message


def call(rng: Random, name: str, arguments: dict | None, *, as_text: bool | None = None) -> dict:
    """A tool call. `arguments` are written as JSON text or as an object, by chance unless `as_text` says which."""
    if as_text is None:
        as_text = rng.random() < 0.5
    written = json.dumps(arguments, ensure_ascii=False) if as_text and arguments is not None else arguments
    call_id = f"call_{rng.randrange(16**8):08x}"
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": written}}


def tool_result(to_call: dict, result: object) -> Message:
    text = result if isinstance(result, str) else json.dumps(result, ensure_ascii=False)
    return {"role": "tool", "tool_call_id": to_call["id"], "content": text}


def row(*messages: Message, tools: list[dict] | None = None) -> Row:
    """One line of a dataset: `messages`, and `tools` where any are offered."""
    return {"messages": list(messages)} | ({"tools": tools} if tools else {})


def maybe_system(rng: Random, texts: tuple[str, ...], chance: float = 0.5) -> list[Message]:
    """A system message with one of `texts`, or none."""
    return [system(rng.choice(texts))] if rng.random() < chance else []
