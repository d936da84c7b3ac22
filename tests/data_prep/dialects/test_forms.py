"""ShareGPT and prompt/completion rows mean what the same conversation means as OpenAI messages."""

import json
import re
from typing import Any

import pytest

from nemotron.data_prep.dialects.row import parse_row
from nemotron.data_prep.drop_reasons import DropReason, RowError

USER = {"role": "user", "content": "What is 6 times 7?"}
ASSISTANT = {"role": "assistant", "content": "42"}
CONTEXT = ASSISTANT | {"train": False}
CALL = {"type": "function", "function": {"name": "multiply", "arguments": {"a": 6, "b": 7}}}
HUMAN = {"from": "human", "value": "What is 6 times 7?"}
GPT = {"from": "gpt", "value": "42"}


def sharegpt(*turns: Any, **fields: Any) -> list[dict[str, Any]]:
    return parse_row({"conversations": list(turns), **fields}).messages


def pair(**row: Any) -> list[dict[str, Any]]:
    return parse_row(row).messages


@pytest.mark.parametrize("human", ["human", "user", "Human"])
@pytest.mark.parametrize("gpt", ["gpt", "assistant", "model", "chatgpt"])
def test_sharegpt_turns_are_parsed(human: str, gpt: str) -> None:
    assert sharegpt(HUMAN | {"from": human}, GPT | {"from": gpt}) == [USER, ASSISTANT]


def test_sharegpt_calls_and_their_results_are_parsed() -> None:
    for call in ('{"name": "multiply", "arguments": {"a": 6, "b": 7}}', [CALL["function"]]):
        turns = [HUMAN, {"from": "function_call", "value": call}, {"from": "observation", "value": "42"}, GPT]
        assert sharegpt(*turns) == [
            USER,
            {"role": "assistant", "content": "", "tool_calls": [CALL]},
            {"role": "tool", "content": "42"},
            ASSISTANT,
        ]


def test_sharegpt_system_stands_first_or_beside() -> None:
    system = {"role": "system", "content": "Be brief."}
    assert sharegpt({"from": "system", "value": "Be brief."}, HUMAN, GPT) == [system, USER, ASSISTANT]
    assert sharegpt(HUMAN, GPT, system="Be brief.") == [system, USER, ASSISTANT]
    assert sharegpt({"from": "system", "value": "Be brief."}, HUMAN, GPT, system="Be brief.")[0] == system
    assert sharegpt({"from": "system", "value": " "}, HUMAN, GPT, system="Be brief.")[0] == system
    with pytest.raises(RowError, match=r'ambiguous.*"Other\."'):
        sharegpt({"from": "system", "value": "Be brief."}, HUMAN, GPT, system="Other.")


def test_sharegpt_tools_are_json_text() -> None:
    row = {"conversations": [HUMAN, GPT], "tools": '[{"name": "multiply", "parameters": {}}]'}
    assert parse_row(row).tools == [{"name": "multiply", "parameters": {}}]


def test_a_list_of_openai_messages_may_be_called_conversations() -> None:
    assert sharegpt(USER, ASSISTANT) == [USER, ASSISTANT]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "What is 6 times 7?", "completion": "42"},
        {"prompt": [USER], "completion": [ASSISTANT]},
        {"instruction": "What is 6 times 7?", "output": "42"},
        {"instruction": "What is 6 times 7?", "input": "", "output": "42", "history": []},
    ],
)
def test_a_prompt_and_its_completion_make_a_conversation(row: dict[str, Any]) -> None:
    assert pair(**row) == [USER, ASSISTANT]


def test_earlier_turns_are_pairs_or_messages_and_train() -> None:
    row = {"instruction": "What is 6 times 7?", "output": "42", "system": "Be brief."}
    said = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    earlier = [*said, {"role": "assistant", "content": "Hello"}, USER, ASSISTANT]
    assert pair(**row, history=[["Hi", "Hello"]]) == earlier
    assert pair(**row, history=[earlier[1], earlier[2]]) == earlier


def test_the_input_follows_the_instruction() -> None:
    messages = pair(instruction="Translate.", input="Guten Tag", output="Good day", system="Be brief.")
    assert [message["content"] for message in messages] == ["Be brief.", "Translate.\n\nGuten Tag", "Good day"]
    assert pair(instruction="Translate.", input="Guten Tag", response="Good day") == messages[1:]


def test_answers_in_a_prompt_are_context() -> None:
    assert pair(prompt=[USER, ASSISTANT, USER], completion="42") == [USER, CONTEXT, USER, ASSISTANT]


@pytest.mark.parametrize("flag", [{"train": False}, {"weight": 0}])
def test_a_turn_may_be_context_only_in_every_format(flag: dict[str, Any]) -> None:
    assert sharegpt(HUMAN, GPT | flag, HUMAN, GPT) == [USER, CONTEXT, USER, ASSISTANT]
    assert pair(prompt="?", completion=[ASSISTANT | flag, USER, ASSISTANT])[1:] == [CONTEXT, USER, ASSISTANT]
    for row in ({"prompt": "?", "completion": "!", **flag}, {"instruction": "?", "output": "!", **flag}):
        with pytest.raises(RowError, match="no_trained_turn"):
            parse_row(row)


OPENAI = {"messages": [USER, ASSISTANT | {"content": "openai"}]}
SHAREGPT = {"conversations": [HUMAN, GPT | {"value": "sharegpt"}]}
PAIR = {"prompt": "?", "completion": "pair"}


@pytest.mark.parametrize(
    ("row", "answer"),
    [
        (OPENAI | SHAREGPT, "openai"),
        (OPENAI | PAIR, "openai"),
        ({"messages": SHAREGPT["conversations"]}, "sharegpt"),
        (SHAREGPT | PAIR, "sharegpt"),
        (SHAREGPT | {"messages": None}, "sharegpt"),
        (PAIR | {"messages": []}, "pair"),
        (PAIR | {"instruction": None, "output": None}, "pair"),
        ({"instruction": "?", "output": "alpaca"}, "alpaca"),
        ({"instruction": "?", "context": "Text.", "response": "dolly"}, "dolly"),
        ({"query": "?", "response": "swift"}, "swift"),
        ({"system_prompt": "s", "question": "?", "response": "orca"}, "orca"),
        ({"input": [USER], "output": "llama"}, "llama"),
        ({"messages": json.dumps(OPENAI["messages"])}, "openai"),
        ({"conversation": OPENAI["messages"]}, "openai"),
    ],
)
def test_the_format_is_told_from_the_filled_fields(row: dict[str, Any], answer: str) -> None:
    assert parse_row(row).messages[-1]["content"] == answer


@pytest.mark.parametrize(
    ("row", "named"),
    [
        (PAIR | {"instruction": "?", "output": "!"}, '"prompt", "instruction", "completion", "output"'),
        ({"prompt": "?", "answer": "4", "response": "!"}, '"prompt", "response", "answer"'),
        ({"chat": [USER, ASSISTANT]}, "messages_field=chat"),
        ({"text": "<|im_start|>user"}, '"text"'),
        ({}, "no fields"),
        ({"messages": 5}, '"messages" is a number'),
        ({"messages": None, "text": "x"}, '"messages" is null'),
        ({"messages": "[1"}, '"messages" is text, and its messages are broken JSON'),
        ({"messages": "said"}, '"messages" is text'),
    ],
)
def test_rows_of_which_it_is_not_clear_what_they_teach_are_refused(row: dict[str, Any], named: str) -> None:
    with pytest.raises(RowError, match=f"no_messages.*{re.escape(named)}"):
        parse_row(row)


@pytest.mark.parametrize("value", [[], [5], [{"text": "Hi"}], {"role": "user"}, "role"])
def test_only_what_looks_like_messages_is_proposed(value: object) -> None:
    with pytest.raises(RowError) as refused:
        parse_row({"chat": value})
    assert "messages_field" not in refused.value.detail


def test_one_input_follows_the_instruction_and_another_is_a_field_that_is_not_used() -> None:
    both = parse_row({"instruction": "Add.", "input": "6 and 7", "context": "", "output": "13"})
    assert both.messages[0]["content"] == "Add.\n\n6 and 7"
    assert parse_row({"instruction": "Add.", "input": None, "output": "13"}).messages[0]["content"] == "Add."
    with pytest.raises(RowError, match="bad_content"):
        pair(instruction=5, input="6 and 7", output="13")


def test_a_named_format_is_not_guessed() -> None:
    both = {"messages": [USER, ASSISTANT | {"content": "openai"}], "prompt": "?", "completion": "pair"}
    assert parse_row(both, format="openai").messages[1]["content"] == "openai"
    assert parse_row(both, format="prompt_completion").messages[1]["content"] == "pair"
    with pytest.raises(RowError, match="no_messages"):
        parse_row({"conversations": [HUMAN, GPT]}, format="openai")


def test_a_new_format_has_no_messages_until_they_are_found_for_it() -> None:
    """Faster ways past `find_messages` are for the formats of WITH_MESSAGES."""
    with pytest.raises(RowError, match="no_messages"):
        parse_row({"messages": [USER, ASSISTANT]}, format="new")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"conversations": [HUMAN, {"from": "critic", "value": "!"}]}, "bad_role"),
        ({"conversations": [HUMAN, {"from": 3, "value": "!"}]}, "bad_role"),
        ({"conversations": [HUMAN, GPT | {"value": 42}]}, "bad_content"),
        ({"conversations": [HUMAN, {"from": "gpt"}]}, "bad_content"),
        ({"conversations": [HUMAN, "42"]}, "bad_message"),
        ({"conversations": [HUMAN]}, "no_assistant_turn"),
        ({"conversations": "hello"}, "no_messages"),
        ({"conversations": [HUMAN, {"from": "function_call", "value": "multiply"}]}, "bad_tool_calls"),
        ({"conversations": [HUMAN, {"from": "function_call", "value": '{"name": "\\ud83d"}'}]}, "bad_tool_calls"),
        ({"conversations": [HUMAN, {"from": "function_call", "value": 42}]}, "bad_tool_calls"),
        ({"prompt": "?", "completion": {"text": "!"}}, "bad_content"),
        ({"prompt": {"text": "?"}, "completion": "!"}, "bad_content"),
        ({"prompt": ["?"], "completion": "!"}, "bad_message"),
        ({"instruction": "?", "input": 3, "output": "!"}, "bad_content"),
        ({"instruction": "?", "output": "!", "history": "a, b"}, "bad_message"),
        ({"instruction": "?", "output": "!", "history": [["a"]]}, "bad_message"),
        ({"instruction": "?", "output": "!", "history": [["a", 5]]}, "bad_message"),
        ({"instruction": "?", "output": "!", "history": ["ab"]}, "bad_message"),
        ({"prompt": "?", "completion": []}, "no_assistant_turn"),
    ],
)
def test_why_a_row_is_dropped(row: dict[str, Any], reason: str) -> None:
    with pytest.raises(RowError) as caught:
        parse_row(row)
    assert caught.value.reason == DropReason(reason)


def test_names_that_always_mean_a_pair_win_over_others() -> None:
    assert pair(prompt="?", completion="!", answer="4")[-1]["content"] == "!"
    assert pair(instruction="?", output="!", question="4")[0]["content"] == "?"


def test_null_is_no_part_of_a_pair() -> None:
    assert pair(question="?", answer="!", response=None, query=None) == pair(prompt="?", completion="!")
    assert pair(prompt="?", completion=None, output="!")[-1]["content"] == "!"


@pytest.mark.parametrize(
    ("row", "detail"),
    [
        ({"question": "?"}, 'the row has "question"'),
        ({"answer": "!"}, 'the row has "answer"'),
        ({"question": "?", "query": "?", "answer": "!"}, "which is the pair to learn?"),
        ({"instruction": "?", "output": "!", "history": "a, b"}, '"history" is text'),
        ({"instruction": "?", "output": "!", "history": [["a"]]}, "not a question and its answer"),
        ({"instruction": "?", "output": "!", "history": ["ab"]}, "not a question and its answer"),
    ],
)
def test_what_is_missing_of_a_pair_is_said(row: dict[str, Any], detail: str) -> None:
    with pytest.raises(RowError) as refused:
        parse_row(row)
    assert detail in refused.value.detail


def test_flags_of_answers_in_a_prompt_do_not_matter() -> None:
    flagged = [USER, ASSISTANT | {"weight": 1, "train": True}, USER]
    assert pair(prompt=flagged, completion="43") == [USER, CONTEXT, USER, ASSISTANT | {"content": "43"}]
