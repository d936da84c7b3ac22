"""Rows as people have them (tests/data/real_rows): each is used, refused by name, or what is not used gets a note.

Expected are the messages that the row means in our own dialect, or the reason and a value that the refusal names.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from nemotron.data_prep.dialects.row import parse_row
from nemotron.data_prep.drop_reasons import RowError

FOLDER = Path(__file__).resolve().parents[2] / "data" / "real_rows"


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def answer(text: str = "", **fields: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **fields}


def call(name: str, call_id: str | None = None, /, **arguments: Any) -> dict[str, Any]:
    return {
        **({"id": call_id} if call_id else {}),
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    }


def calling(*calls: dict[str, Any], text: str = "", **fields: Any) -> dict[str, Any]:
    return answer(text, tool_calls=[*calls], **fields)


def result(text: str, **fields: Any) -> dict[str, Any]:
    return {"role": "tool", "content": text, **fields}


ROME = [user("Weather in Rome?"), calling(call("weather", city="Rome"))]
NO_ARGUMENTS = [user("w?"), calling(call("w"))]
ONE_ARGUMENT = [user("w?"), calling(call("w", a=1))]
PAIR = [user("a"), answer("c")]
FOUR = [user("2+2?"), answer("4")]
THOUGHT = [user("2+2?"), answer("4", reasoning_content="two and two")]
ONLY_THOUGHT = [user("2+2?"), answer("", reasoning_content="two and two")]
PIRATE = [{"role": "system", "content": "Talk like a pirate."}, user("hi"), answer("Arr")]
BAD_GOOD = [user("a"), answer("bad", train=False), user("b"), answer("good")]
OK = [user("w?"), answer("ok")]
CHECKED = [user("w?"), calling(call("w", c=1), text="Let me check."), result("ok"), answer("fine")]


def inline(text: str) -> list[dict[str, Any]]:
    return [user("2+2?"), answer(text)]


EXPECTED: dict[str, list[Any]] = {
    "args_other_name": [ROME] * 5,
    "arguments": [
        *[NO_ARGUMENTS] * 4,
        ONE_ARGUMENT,
        "bad_tool_arguments: []",
        "bad_tool_arguments: [1]",
        *[ONE_ARGUMENT] * 5,
        [user("w?"), answer('<tool_call>{"name":"w","arguments":{"a":1}}</tool_call>')],
        [
            user("both?"),
            calling(call("weather", "A"), call("time", "B")),
            result("sunny", tool_call_id="A"),
            result("14:05", tool_call_id="B"),
            answer("Sunny at 14:05"),
        ],
        NO_ARGUMENTS,
        [user("w?"), calling(call("w", a=True, b=None, c=1.0, d="x", e=[True, None], f={"k": False}))],
        ONE_ARGUMENT,
    ],
    "assistant_in_pieces": [
        [user("w?"), answer("Let me check."), calling(call("w", c=1)), result("ok"), answer("fine")],
        CHECKED,
        [user("w?"), calling(call("a"), call("b")), result("1"), result("2"), answer("fine")],
        [user("a"), answer("", reasoning_content="r"), answer("c")],
    ],
    "formats": [
        [user("q"), answer("r"), user("a\n\nb"), answer("c")],
        *[[user("a\n\nb"), answer("c")]] * 2,
        PAIR,
        [user("only input"), answer("c")],
        [user("a"), answer("")],
        [user("a\n\nb"), answer("c")],
        *[PAIR] * 4,
        [user("a"), answer(" c")],
        'no_messages: "prompt", "instruction", "completion", "output"',
        *[PAIR] * 4,
        'no_messages: "text"',
        [{"role": "system", "content": "s"}, *PAIR],
        [user("a"), answer("c", reasoning_content="r")],
        'preference_data: "chosen"',
        PAIR,
        "bad_message: a list",
        'bad_role: "human", "assistant"',
        "no_messages: messages_field=items",
        PAIR,
        'bad_role: "bard"',
        [*PAIR, user("d")],
        [answer("hello"), *PAIR],
        'bad_content: "text"',
        'ambiguous: "zz"',
        *[PAIR] * 3,
        [user("a"), user("b"), answer("c"), answer("d")],
    ],
    "reasoning_names": [
        *[THOUGHT] * 4,
        *[ONLY_THOUGHT] * 2,
        *[THOUGHT] * 2,
        inline("<thinking>two and two</thinking>4"),
        *[THOUGHT] * 7,
    ],
    "row_fields": [
        *[PIRATE] * 5,
        [user("hi"), calling(call("f"))],
        [{"role": "system", "content": "s"}, user("hi"), calling(call("f"))],
        *[BAD_GOOD] * 9,
        'bad_train_flag: train is "false"',
        "no_trained_turn: 1 assistant",
        [user("a"), answer("x")],
        [user("a"), answer("I cannot")],
        [user("a"), answer("I cannot help")],
        'media: ["cat.jpg"]',
        'preference_data: "label"',
    ],
    "think_forms": [
        FOUR,
        inline("<think></think>4"),
        FOUR,
        inline("<think>\ntwo and two</think>\n\n4"),
        inline("<think>two and two</think>4"),
        inline("<think>\ntwo and two"),
        inline("Sure. <think>two and two</think>4"),
        THOUGHT,
        [user("2+2?"), answer("\n\n4", reasoning_content="\ntwo and two\n")],
        [
            user("What does the <think> tag do?"),
            answer("The `<think>` tag opens a thought and `</think>` closes it."),
        ],
        [user("2+2? /no_think"), answer("4"), user("3+3? /think"), answer("<think>\nsix\n</think>\n\n6")],
        inline("<|begin_of_thought|>two and two<|end_of_thought|>4"),
        [user("w?"), calling(call("w", c=1), text="<think>need tool</think>"), result("ok"), answer("fine")],
        [
            user("w?"),
            answer("<think>\nneed tool\n</think>\n"),
            calling(call("w", c=1)),
            result("ok"),
            answer("fine"),
        ],
    ],
    "tools_and_parts": [
        *[OK] * 3,
        'bad_tools: {"w": {"description": "d"}}',
        *[OK] * 5,
        "bad_content: 4",
        'bad_content: {"answer": 4}',
        'bad_content: "type", "value"',
        'bad_content: "type", "content"',
        'bad_content: "tool_call"',
        *[OK] * 2,
        [user(""), answer("")],
    ],
}
NOTES = {
    ("arguments", 13): "call_in_text",
    ("arguments", 14): "reordered_results",
    ("assistant_in_pieces", 1): "consecutive_answers",
    ("assistant_in_pieces", 2): "joined_turn",
    ("assistant_in_pieces", 3): "joined_turn",
    ("assistant_in_pieces", 4): "consecutive_answers",
    ("formats", 16): "unused_row_field conversations",
    ("formats", 17): "unused_row_field prompt",
    ("formats", 35): "consecutive_answers",
    ("reasoning_names", 8): "repeated_thought",
    ("reasoning_names", 9): "other_thought_tags <thinking>",
    ("row_fields", 19): "unused_message_field train (user)",
    ("row_fields", 20): "unused_message_field refusal",
    ("row_fields", 21): "refusal_as_content",
    ("think_forms", 1): "blank_thought",
    ("think_forms", 3): "blank_thought",
    ("think_forms", 4): "opened_thought",
    ("think_forms", 6): "unclosed_thought",
    ("think_forms", 7): "think_tag_in_text",
    ("think_forms", 8): "tagged_reasoning",
    ("think_forms", 10): "think_tag_in_text",
    ("think_forms", 11): "blank_thought",
    ("think_forms", 12): "other_thought_tags <|begin_of_thought|>",
    ("think_forms", 13): "joined_turn",
    ("think_forms", 14): "consecutive_answers",
    ("tools_and_parts", 5): "filled_nulls tools",
    ("tools_and_parts", 8): "unused_row_field metadata.tools",
}
"""What is noted; of every other row nothing."""
TOOLS = {
    ("row_fields", 6): {"name": "f", "description": "do", "parameters": {"type": "object", "properties": {}}},
    ("row_fields", 7): {"name": "f", "description": "do"},
    ("tools_and_parts", 1): {
        "name": "w",
        "description": "d",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
    ("tools_and_parts", 2): {"name": "w"},
    ("tools_and_parts", 3): {
        "name": "w",
        "description": "d",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
    ("tools_and_parts", 5): {"name": "w", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
    ("tools_and_parts", 6): {"name": "w", "description": "d", "parameters": {"type": "object", "properties": {}}},
    ("tools_and_parts", 7): {"name": "w"},
}
CASES = [
    (name, line, text)
    for name in EXPECTED
    for line, text in enumerate((FOLDER / f"{name}.jsonl").read_text(encoding="utf-8").splitlines(), start=1)
]


@pytest.mark.parametrize(("name", "line", "text"), CASES, ids=[f"{name}:{line}" for name, line, _ in CASES])
def test_a_row_is_used_or_refused_by_name(name: str, line: int, text: str) -> None:
    expected = EXPECTED[name][line - 1]
    if isinstance(expected, str):
        reason, _, value = expected.partition(": ")
        with pytest.raises(RowError) as refused:
            parse_row(json.loads(text))
        assert refused.value.reason == reason
        assert value in refused.value.detail
        return
    conversation = parse_row(json.loads(text))
    assert conversation.messages == expected
    assert [tool.get("function", tool) for tool in conversation.tools or []] == (
        [TOOLS[name, line]] if (name, line) in TOOLS else []
    )
    noted = [f"{note.kind} {note.name}".strip() for note in conversation.notes]
    if (name, line) in NOTES:
        assert [note.startswith(NOTES[name, line]) for note in noted] == [True], noted
    else:
        assert noted == []


def test_every_line_has_an_expected_value() -> None:
    for name, expected in EXPECTED.items():
        assert sum(case[0] == name for case in CASES) == len(expected)
