"""Render the bundled chat format in plain Python, ten times as fast as Jinja.

templates/nemotron3.jinja defines the format. Property tests check that these turns, put together by chunks.py, are byte
for byte what it renders, and `chunks.first_difference` compares the two again on the data of every run.
"""

import json
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from nemotron.data_prep.chat.conversation import MOST_TOOL_LISTS, Message, Tool, ToolList
from nemotron.data_prep.chat.reasoning import (
    END_THINK,
    NO_THINKING,
    THINK,
    history_content,
    may_have_think_tag,
    newest_content,
)

ASSISTANT = "<|im_start|>assistant\n"
END = "<|im_end|>\n"

_TOOLS_BEFORE = "# Tools\n\nYou have access to the following functions:\n\n<tools>"
_TOOLS_AFTER = """
</tools>

If you choose to call a function ONLY reply in the following format with NO suffix:

<tool_call>
<function=example_function_name>
<parameter=example_parameter_1>
value_1
</parameter>
<parameter=example_parameter_2>
This is the value for the second parameter
that can span
multiple lines
</parameter>
</function>
</tool_call>

<IMPORTANT>
Reminder:
- Function calls MUST follow the specified format: an inner <function=...></function> block must be nested within \
<tool_call></tool_call> XML tags
- Required parameters MUST be specified
- You may provide optional reasoning for your function call in natural language BEFORE the function call, but NOT after
- If there is no function call available, answer the question like normal with your current knowledge and do not tell \
the user about function calls
</IMPORTANT>"""

_to_json = json.JSONEncoder(ensure_ascii=False).encode


def system_turn(messages: list[Message], tools: list[Tool] | None) -> tuple[str, int]:
    """Render the opening system turn, which describes the tools.

    Also returns how many of `messages` it shows (0 or 1).
    """
    has_system = bool(messages) and messages[0]["role"] == "system"
    system = messages[0]["content"] if has_system else ""
    blank_line = "\n\n" if system and tools else ""
    return f"<|im_start|>system\n{system}{blank_line}{_tools(tools) if tools else ''}{END}", int(has_system)


def plain_turn(message: Message, ending: str = "") -> str:
    """Render a user's turn, or a system's in the middle of the conversation.

    `ending` is added to the content.
    """
    return f"<|im_start|>{message['role']}\n{message['content']}{ending}{END}"


def effort(reasoning_budget: int | None, low_effort: bool) -> str:
    """Render the end of the last user turn, which controls the reasoning.

    It states a budget in tokens, or asks for low effort.
    """
    budget = "" if reasoning_budget is None else f"\n\n{{thinking token budget: {reasoning_budget}}}"
    return budget + ("\n\n{reasoning effort: low}" if low_effort else "")


def history_turn(messages: list[Message], index: int) -> str:
    """Render message `index` as the history shows it, without reasoning."""
    role = messages[index]["role"]
    if role == "assistant":
        return "".join(assistant_turn(messages[index], is_history=True))
    return tool_result(messages, index) if role == "tool" else plain_turn(messages[index])


def tool_result(messages: list[Message], index: int) -> str:
    """Render a tool's result; consecutive results share a user turn."""
    begin = "" if index > 0 and messages[index - 1]["role"] == "tool" else "<|im_start|>user\n"
    end = "" if index + 1 < len(messages) and messages[index + 1]["role"] == "tool" else END
    return f"{begin}<tool_response>\n{messages[index]['content']}\n</tool_response>\n{end}"


def assistant_turn(message: Message, is_history: bool) -> tuple[str, str]:
    """Render an assistant's turn in two parts: the generation prompt, and the rest.

    `is_history` shows it without its reasoning.
    """
    opening, content = _content(message, is_history)
    calls = message.get("tool_calls")
    calls = "\n" + "".join(map(_tool_call, calls)) if calls else ""
    return ASSISTANT + opening, f"{content}{calls}{END}"


def _content(message: Message, is_history: bool) -> tuple[str, str]:
    """Render an assistant's turn without its calls.

    The result is the part that the generation prompt writes, and the rest.
    """
    content, calls_tools = message["content"], bool(message.get("tool_calls"))
    if not (is_history and calls_tools) and not may_have_think_tag(content):
        # A fast path for most messages, which avoids copying long texts at every step below.
        reasoning = message.get("reasoning_content")
        if not reasoning:
            return NO_THINKING, content.rstrip()
        if not reasoning.isspace():
            if is_history:
                return NO_THINKING, f"\n{content}".rstrip()
            return f"{THINK}\n", f"{reasoning}\n{END_THINK}\n{content}".rstrip()
    content = newest_content(message)
    content = history_content(content, calls_tools) if is_history else content.strip()
    opening = _opening(content)
    return opening, content[len(opening) :]


def _opening(content: str) -> str:
    """Return the beginning of an answer that the generation prompt writes.

    The model never has to write it.
    """
    if not content.startswith(THINK):
        return ""  # think tags elsewhere in the content, or a thought that is closed but never opened
    if content.startswith(NO_THINKING):
        return NO_THINKING
    return f"{THINK}\n" if content.startswith("\n", len(THINK)) else THINK


def _tool_call(call: dict[str, Any]) -> str:
    function = call["function"]
    arguments = "".join(
        f"<parameter={name}>\n{_as_text(value)}\n</parameter>\n" for name, value in function["arguments"].items()
    )
    return f"<tool_call>\n<function={function['name']}>\n{arguments}</function>\n</tool_call>\n"


def _as_text(value: object) -> str:
    """Return containers as JSON, and other values as Python prints them."""
    return _to_json(value) if isinstance(value, dict | list) else str(value)


def _tools(tools: list[Tool]) -> str:
    # Describing tools takes longer than rendering the conversation.
    return _describe_shared(tools) if type(tools) is ToolList else _describe_tools(tools)


@lru_cache(maxsize=MOST_TOOL_LISTS)
def _describe_shared(tools: ToolList) -> str:
    return _describe_tools(tools)


def _describe_tools(tools: list[Tool]) -> str:
    return _TOOLS_BEFORE + "".join(_describe_tool(tool.get("function", tool)) for tool in tools) + _TOOLS_AFTER


def _describe_tool(tool: Tool) -> str:
    parameters = tool.get("parameters")
    parameters = parameters if isinstance(parameters, dict) else {}
    properties = parameters.get("properties")
    properties = properties if isinstance(properties, dict) else {}
    return (
        f"\n<function>\n<name>{tool['name']}</name>"
        + _element(tool, "description", _trim)
        + "\n<parameters>"
        + "".join(_describe_parameter(name, schema) for name, schema in properties.items())
        + _other_elements(parameters, ("type", "properties", "required"))
        + _element(parameters, "required", _to_json)
        + "\n</parameters>"
        + _other_elements(tool, ("type", "name", "description", "parameters"))
        + "\n</function>"
    )


def _describe_parameter(name: str, schema: object) -> str:
    schema = schema if isinstance(schema, dict) else {}
    return (
        f"\n<parameter>\n<name>{name}</name>"
        + _element(schema, "type", str)
        + _element(schema, "description", _trim)
        + _element(schema, "enum", _to_json)
        + _other_elements(schema, ("name", "type", "description", "enum"))
        + "\n</parameter>"
    )


def _element(schema: dict[str, Any], key: str, as_text: Callable[[Any], str]) -> str:
    return f"\n<{key}>{as_text(schema[key])}</{key}>" if key in schema else ""


def _other_elements(schema: dict[str, Any], placed: tuple[str, ...]) -> str:
    return "".join(_element(schema, key, _as_text) for key in schema if key not in placed)


def _trim(value: object) -> str:
    return str(value).strip()
