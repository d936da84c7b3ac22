"""Read messages that are already in our own dialect.

Most are, and this is faster than examining each field.
"""

from typing import Any

from nemotron.data_prep.chat.conversation import Message
from nemotron.data_prep.chat.null_content import NULL_TEXT
from nemotron.data_prep.chat.reasoning import may_have_think_tag
from nemotron.data_prep.dialects.findings import Findings
from nemotron.data_prep.dialects.thoughts import OTHER_TAGS
from nemotron.data_prep.dialects.tool_calls import Call, read_arguments, read_calls

_ROLES = frozenset(("system", "user", "tool"))
_RESULT_KEYS = frozenset(("role", "content", "tool_call_id", "name"))
_ANSWER_KEYS = frozenset(("role", "content", "reasoning_content", "tool_calls"))
_CALL_KEYS = frozenset(("id", "type", "function"))
_FUNCTION_KEYS = frozenset(("name", "arguments"))


def is_exchange(raws: Any) -> bool:
    """Tell whether messages are nothing but roles and texts.

    Then there is an answer, and nothing to note: `read_messages` would return them as they are.
    """
    if type(raws) is not list:
        return False
    role, has_answer = "", False
    for raw in raws:
        if type(raw) is not dict or len(raw) != 2:
            return False
        previous, role, content = role, raw.get("role"), raw.get("content")
        if type(content) is not str:
            return False
        if role == "assistant":
            if previous == role or _may_have_tag(content):
                return False
            has_answer = True
        elif type(role) is not str or role not in _ROLES:
            return False
    return has_answer


def read_plain(raw: Any, position: int, found: Findings) -> Message | None:
    """Read a message if all of its fields are known and valid; otherwise return None.

    Raises:
        RowError: The arguments of a call are broken.
    """
    if type(raw) is not dict:
        return None
    role = raw.get("role")
    if role == "assistant":
        return _answer(raw, position, found)
    if type(role) is not str or role not in _ROLES or type(raw.get("content")) is not str:
        return None
    if len(raw) == 2:
        return raw
    if role == "tool" and raw.keys() <= _RESULT_KEYS and all(type(value) is str for value in raw.values()):
        found.has_result_ids = found.has_result_ids or "tool_call_id" in raw
        return raw
    return None


def _answer(raw: dict[str, Any], position: int, found: Findings) -> Message | None:
    content = raw.get("content", raw)
    if content is None:
        content = NULL_TEXT
    elif type(content) is not str or _may_have_tag(content):
        return None
    elif len(raw) == 2:
        return raw
    if not raw.keys() <= _ANSWER_KEYS:
        return None
    message: Message = {"role": "assistant", "content": content}
    reasoning = raw.get("reasoning_content")
    if reasoning is not None:
        if type(reasoning) is not str or may_have_think_tag(reasoning):
            return None
        if reasoning:
            message["reasoning_content"] = reasoning
    given = raw.get("tool_calls")
    if given is not None:
        if type(given) is not list:
            return None
        calls = [_call(call, position, found) for call in given]
        if calls:
            message["tool_calls"] = calls
    return message


def _may_have_tag(content: str) -> bool:
    has_call = "<" in content and "<tool_call>" in content  # searching for one character is faster than for a word
    return has_call or may_have_think_tag(content) or content.startswith(OTHER_TAGS)


def _call(raw: Any, position: int, found: Findings) -> Call:
    if type(raw) is dict and raw.keys() <= _CALL_KEYS and not found.is_table:
        function = raw.get("function")
        if type(function) is dict and function.keys() == _FUNCTION_KEYS:
            name, arguments = function["name"], function["arguments"]
            if type(name) is str and not (name == "" or name.isspace()):
                if type(arguments) is not dict:
                    where = f"message {position} (assistant): the arguments of {name}"
                    arguments = read_arguments(arguments, where, found) or {}
                call: Call = {"id": raw["id"]} if type(raw.get("id")) is str else {}
                call["type"] = "function"
                call["function"] = {"name": name, "arguments": arguments}
                return call
    [call] = read_calls([raw], "tool_calls", f"message {position} (assistant)", found)
    return call
