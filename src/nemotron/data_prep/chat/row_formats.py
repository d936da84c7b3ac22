"""The formats in which rows hold conversations: each is brought to OpenAI messages, which conversation.py then checks.

openai             {"messages": [{"role": "user", "content": "..."}, ...], "tools": [...]}
sharegpt           {"conversations": [{"from": "human", "value": "..."}, ...], "system": "...", "tools": "[...]"}
prompt_completion  {"prompt": text or messages, "completion": text or messages}
                   {"instruction": "...", "input": "...", "output": "...", "system": "..."}
"""

from typing import Any, NamedTuple

from nemotron.data_prep.config import RowFormat

Raw = dict[str, Any]


class Fields(NamedTuple):
    """Where the rows of a dataset hold their conversations, in the order in which parse_row takes it."""

    messages_field: str = "messages"
    tools_field: str = "tools"
    format: RowFormat = "auto"


SHAREGPT_FIELD = "conversations"
SHAREGPT_ROLES = {
    "system": "system",
    "human": "user", "user": "user",
    "gpt": "assistant", "chatgpt": "assistant", "bot": "assistant", "model": "assistant", "assistant": "assistant",
    "function_call": "assistant", "tool_call": "assistant",
    "tool": "tool", "function": "tool", "observation": "tool", "function_response": "tool", "tool_response": "tool",
}  # fmt: skip
CALLING_ROLES = ("function_call", "tool_call")


def to_messages(row: Raw, format: RowFormat, messages_field: str) -> object:
    """The row's messages in OpenAI's form, not checked yet: whatever is wrong with them is left for the checks.

    None when the row has no messages in this format.
    """
    if format == "auto":
        format = detect_format(row, messages_field)
    if format == "sharegpt":
        return _from_sharegpt(row, row.get(messages_field, row.get(SHAREGPT_FIELD)))
    if format == "prompt_completion":
        return _from_pair(row)
    return row.get(messages_field)


def detect_format(row: Raw, messages_field: str) -> RowFormat:
    """The format a row's fields show. Anything unclear is openai, whose checks say what is missing."""
    messages = row.get(messages_field, row.get(SHAREGPT_FIELD))
    if isinstance(messages, list) and messages:
        first = messages[0]
        speaks_sharegpt = isinstance(first, dict) and "from" in first and "role" not in first
        return "sharegpt" if speaks_sharegpt or messages_field not in row else "openai"
    pairs = (("prompt", "completion"), ("instruction", "output"))
    if messages_field not in row and sum(all(name in row for name in pair) for pair in pairs) == 1:
        return "prompt_completion"
    return "openai"


def _from_sharegpt(row: Raw, turns: object) -> object:
    """`conversations` with `from` and `value`; a turn in OpenAI's form may stand between them."""
    if not isinstance(turns, list):
        return turns
    messages = [_turn(turn) for turn in turns]
    system = row.get("system")
    begins_with_system = bool(messages) and isinstance(messages[0], dict) and messages[0].get("role") == "system"
    if isinstance(system, str) and system and not begins_with_system:
        return [{"role": "system", "content": system}, *messages]
    return messages


def _turn(turn: object) -> object:
    if not isinstance(turn, dict) or "from" not in turn:
        return turn
    speaker = turn["from"]
    message = {key: value for key, value in turn.items() if key not in ("from", "value")}
    message["role"] = SHAREGPT_ROLES.get(speaker.lower(), speaker) if isinstance(speaker, str) else speaker
    if "value" in turn:
        message["content"] = turn["value"]
    if isinstance(speaker, str) and speaker.lower() in CALLING_ROLES:
        calls = message.pop("content", None)  # one call or a list of them, mostly as JSON text
        message["tool_calls"] = [calls] if isinstance(calls, dict) else calls
    return message


def _from_pair(row: Raw) -> object:
    """A prompt and the completion to learn. Flags of the row (`train`, `weight`) are those of the completion."""
    if "completion" in row and "prompt" in row:
        prompt, completion = row["prompt"], row["completion"]
    elif "instruction" in row and "output" in row and not row.get("history"):
        prompt, completion = _instruction(row), row["output"]
    else:
        return None
    system = [{"role": "system", "content": row["system"]}] if row.get("system") else []
    return [*system, *_context(prompt), *_answer(row, completion)]


def _instruction(row: Raw) -> object:
    """Instruction and input as one message, a blank line between them."""
    instruction, given = row["instruction"], row.get("input")
    if isinstance(instruction, str) and isinstance(given, str) and given:
        return f"{instruction}\n\n{given}"
    return instruction if given in (None, "") else {"input": given}  # no text: refused as such


def _context(prompt: object) -> list[object]:
    """A prompt as messages: text is the user's. Its assistant turns are context, not something to learn."""
    if not isinstance(prompt, list):
        return [{"role": "user", "content": prompt}]
    return [
        {**message, "train": False} if isinstance(message, dict) and message.get("role") == "assistant" else message
        for message in prompt
    ]


def _answer(row: Raw, completion: object) -> list[object]:
    if isinstance(completion, list):
        return completion
    flags = {name: row[name] for name in ("train", "weight") if name in row}
    return [{"role": "assistant", "content": completion, **flags}]
