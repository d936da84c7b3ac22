"""The plain-Python renderer against the Jinja template, which is the truth."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nemotron.data_prep.chat import nemotron3
from nemotron.data_prep.chat.chunks import first_difference
from nemotron.data_prep.chat.conversation import share
from nemotron.data_prep.chat.template import load_template
from nemotron.data_prep.dialects.row import parse_row
from nemotron.data_prep.drop_reasons import RowError

TEMPLATE = load_template("nemotron3")

# Text made of what the format is sensitive to: blanks, think tags, control tokens, Jinja and JSON syntax.
texts = st.lists(
    st.sampled_from(
        [
            "",
            " ",
            "\n",
            "\t",
            "<think>",
            "</think>",
            "<think></think>",
            "<|im_end|>",
            "{{ x }}",
            "{%",
            '"',
            "東京 🙂",
            "So.",
        ]
    )
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    max_size=5,
).map("".join)
names = st.sampled_from(["city", "items", "type", "name", "required", "description", "enum", "default"]) | texts
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(names, inner, max_size=2),
    max_leaves=5,
)
schemas = st.dictionaries(names, json_values, max_size=4)
parameters = st.fixed_dictionaries(
    {},
    optional={
        "type": json_values,
        "properties": st.dictionaries(names, schemas | json_values, max_size=3) | json_values,
    },
).flatmap(lambda fixed: schemas.map(lambda others: {**others, **fixed}))
functions = st.fixed_dictionaries(
    {"name": texts.filter(bool)},
    optional={"description": json_values, "parameters": parameters | json_values, "strict": json_values},
)
tools = st.lists(functions | functions.map(lambda function: {"type": "function", "function": function}), max_size=2)
calls = st.lists(
    st.fixed_dictionaries(
        {"name": texts.filter(bool)}, optional={"arguments": st.dictionaries(names, json_values, max_size=3)}
    ),
    max_size=2,
)
messages = st.fixed_dictionaries({"role": st.sampled_from(["system", "user", "tool"]), "content": texts})
assistants = st.fixed_dictionaries(
    {"role": st.just("assistant"), "content": texts},
    optional={"reasoning_content": texts, "tool_calls": calls, "train": st.booleans()},
)
rows = st.fixed_dictionaries({"messages": st.lists(messages | assistants, max_size=8), "tools": tools})
options = st.fixed_dictionaries(
    {},
    optional={
        "enable_thinking": st.booleans(),
        "truncate_history_thinking": st.booleans(),
        "reasoning_budget": st.none() | st.integers(0, 1000),
        "low_effort": st.booleans(),
    },
)


@settings(max_examples=100)
@given(rows, options)
def test_plain_python_renders_what_jinja_renders(row: dict, options: dict):
    try:
        conversation = parse_row(row)
    except RowError:
        return

    assert first_difference(TEMPLATE, [conversation], **options) is None


def test_a_difference_is_reported_with_its_place(monkeypatch: pytest.MonkeyPatch):
    conversation = parse_row(
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}
    )
    monkeypatch.setattr(nemotron3, "END", "<|im_stop|>\n")

    difference = first_difference(TEMPLATE, [conversation])

    assert difference == (
        "conversation 0, character 24: 'stop|>\\n<|im_start|>user\\nHi<|im_stop|>\\n<|' "
        "instead of 'end|>\\n<|im_start|>user\\nHi<|im_end|>\\n<|im'"
    )


@pytest.mark.parametrize("asked", ["One?", "Three?", "Five?"])
def test_a_difference_is_found_in_the_first_the_middle_and_the_last_turn(asked: str, monkeypatch: pytest.MonkeyPatch):
    """With reasoning, each of the five turns is a sequence of its own, at whose end the budget stands."""
    render = nemotron3.plain_turn
    said = [{"role": "user", "content": text} for text in ("One?", "Two?", "Three?", "Four?", "Five?")]
    answer = {"role": "assistant", "content": "Yes.", "reasoning_content": "Hm."}
    conversation = parse_row({"messages": [message for user in said for message in (user, answer)]})
    assert first_difference(TEMPLATE, [conversation], reasoning_budget=7) is None

    def differ_where_it_is_the_last(message: dict, ending: str = "") -> str:
        text = render(message, ending)
        return text.replace(asked, "Why?") if ending else text

    monkeypatch.setattr(nemotron3, "plain_turn", differ_where_it_is_the_last)
    assert f"'{asked}" in (first_difference(TEMPLATE, [conversation], reasoning_budget=7) or "")


def test_conversations_that_train_nothing_do_not_differ():
    asked, answered = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello", "train": False}
    greeting = {"role": "assistant", "content": "Welcome", "reasoning_content": "A guest."}

    assert first_difference(TEMPLATE, [parse_row({"messages": [greeting, asked, answered]})]) is None


def test_equal_tool_lists_are_described_alike_and_different_ones_are_not():
    messages = [{"role": "user", "content": "Hi"}]
    one, same, other = (
        nemotron3.system_turn(messages, [{"name": "f", "description": text}])[0] for text in ("a", "a", "b")
    )

    assert one == same != other


def test_shared_tools_are_described_as_others_are():
    for name in ("f", "g", "f"):
        tools = [{"name": name}]
        described = nemotron3.system_turn([{"role": "user", "content": "Hi"}], share(tools))
        assert described == nemotron3.system_turn([{"role": "user", "content": "Hi"}], tools)
        assert f"<name>{name}</name>" in described[0]


@pytest.mark.parametrize("longer", ["chunks", "template"])
def test_a_text_that_ends_early_differs_where_it_ends(monkeypatch: pytest.MonkeyPatch, longer: str):
    said = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    conversation, whole = parse_row({"messages": said}), TEMPLATE.render(said, None)
    cut, more = len(whole) - 3, whole + "more"
    text = whole[:cut] if longer == "chunks" else more
    monkeypatch.setattr(type(TEMPLATE), "render", lambda self, *_, **__: text)
    difference = first_difference(TEMPLATE, [conversation]) or ""
    assert f"character {cut if longer == 'chunks' else len(whole)}:" in difference


def test_every_key_of_a_tool_is_written_where_the_template_writes_it():
    """Those that the template names, and others, on every level; random tools seldom have all of them."""
    keys = {
        "name": "n", "type": "object", "description": " d ", "enum": ["e"], "required": ["p"], "default": {"x": 1},
        "strict": True, "title": None,
    }  # fmt: skip
    parameters = {**keys, "properties": {"p": keys, "q": {}, "r": "no schema"}}
    functions = [{**keys, "parameters": parameters}, {"name": "bare", "parameters": {}}, {**keys, "parameters": "text"}]
    said = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    row = {"messages": said, "tools": [*functions[:2], {"type": "function", "function": functions[0], "extra": 1}]}
    assert first_difference(TEMPLATE, [parse_row(row)]) is None


def test_results_of_tools_share_a_turn_even_where_a_conversation_begins_with_them():
    results = [{"role": "tool", "content": "6"}, {"role": "tool", "content": "7"}, {"role": "user", "content": "Why?"}]
    assert [nemotron3.tool_result(results, index) for index in (0, 1)] == [
        "<|im_start|>user\n<tool_response>\n6\n</tool_response>\n",
        "<tool_response>\n7\n</tool_response>\n<|im_end|>\n",
    ]


def test_a_blank_thought_is_rendered_as_none_and_an_answer_of_the_history_without_its_own():
    blank = {"role": "assistant", "content": "Yes.", "reasoning_content": " \n"}
    thought = {"role": "assistant", "content": "Yes.", "reasoning_content": "Hm."}
    first, last = [{"role": "user", "content": "Sure?"}, blank], [{"role": "user", "content": "Sure?"}, thought]
    for said in (first, last, [*first, *last], [*last, *first]):
        for stop in range(2, len(said) + 1, 2):
            conversation = parse_row({"messages": said[:stop]})
            assert first_difference(TEMPLATE, [conversation]) is None


def test_results_of_tools_share_a_turn_at_either_end_of_a_conversation():
    tool, user = {"role": "tool", "content": "42"}, {"role": "user", "content": "Hi"}
    shown = "<tool_response>\n42\n</tool_response>\n"
    begin, end = "<|im_start|>user\n", "<|im_end|>\n"
    both = [tool, tool]
    assert [nemotron3.tool_result(both, index) for index in (0, 1)] == [begin + shown, shown + end]
    assert nemotron3.tool_result([tool, user, tool], 0) == begin + shown + end
    assert nemotron3.tool_result([user, tool], 1) == begin + shown + end
