"""The short cut for messages in our own dialect gives what reading every field gives."""

from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nemotron.data_prep.dialects import messages as reading
from nemotron.data_prep.dialects import plain
from nemotron.data_prep.dialects.findings import Findings
from nemotron.data_prep.dialects.plain import is_exchange, read_plain
from nemotron.data_prep.drop_reasons import RowError

TEXTS = st.sampled_from(
    ["", " ", "\u00a0\n", "Hi", "<think>a</think>b", "</think>b", "<tool_call>{}", "<thinking>", "think>"]
)
ARGUMENTS = st.sampled_from([None, "", "{}", "null", '{"a": 1}', "[1]", "{", [], 3]) | st.dictionaries(TEXTS, TEXTS)
FUNCTIONS = st.fixed_dictionaries(
    {"name": st.sampled_from(["f", "", " ", "\u00a0", None, 5])},
    optional={"arguments": ARGUMENTS, "parameters": ARGUMENTS},
)
CALLS = st.fixed_dictionaries(
    {"function": FUNCTIONS | st.none()},
    optional={"id": st.sampled_from(["a", "", " ", None, 1]), "type": st.sampled_from(["function", "", 5])},
)
MESSAGES = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "user", "assistant", "tool", "Assistant", " ", None])},
    optional={
        "content": TEXTS | st.none() | st.just([]),
        "reasoning_content": TEXTS | st.none(),
        "tool_calls": st.lists(CALLS, max_size=2) | st.none() | st.just(""),
        "tool_call_id": st.sampled_from(["a", "", " ", None]),
        "name": st.sampled_from(["n", "", " ", None]),
        "train": st.booleans(),
    },
)


def outcome(raws: list[dict]) -> object:
    found = Findings()
    try:
        messages = reading.read_messages(raws, found)
        # Null content equals empty text, but templates may distinguish them.
        return messages, [type(message["content"]) for message in messages], found.notes
    except RowError as error:
        return error.reason, error.detail


@example([{"role": "tool", "content": "4", "tool_call_id": 5}])
@example([{"role": "user", "content": "Hi", "name": "n"}])
@given(st.lists(MESSAGES, max_size=3))
def test_the_short_cut_changes_nothing(raws: list[dict]) -> None:
    short = outcome(raws)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "read_plain", lambda raw, position, found: None)
        assert outcome(raws) == short


@pytest.mark.parametrize("name", ["", " ", "\u00a0"])
@pytest.mark.parametrize(
    "call",
    [
        lambda name: {"tool_calls": [{"function": {"name": name, "arguments": {}}}]},
        lambda name: {"tool_calls": [{"function": {"name": name, "arguments": {}}, "index": 0}]},
        lambda name: {"content": [{"type": "tool_use", "name": name, "input": {}}]},
    ],
)
def test_a_call_without_a_name_is_refused_however_it_is_written(call: Callable[[str], dict], name: str) -> None:
    reading.read_messages([{"role": "assistant", **call("f")}], Findings())
    with pytest.raises(RowError):
        reading.read_messages([{"role": "assistant", **call(name)}], Findings())


USER = {"role": "user", "content": "Hi"}
ANSWER = {"role": "assistant", "content": "Hello"}
CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": {"a": 1}}}
RESULT = {"role": "tool", "content": "4", "tool_call_id": "1", "name": "f"}


@pytest.mark.parametrize(
    ("raws", "exchange"),
    [
        ([USER, ANSWER], True),
        ([{"role": "system", "content": ""}, USER, ANSWER, {"role": "tool", "content": ""}, ANSWER, USER], True),
        ([USER], False),
        ([], False),
        ((USER, ANSWER), False),
        ([USER, ANSWER, ANSWER], False),
        ([USER, ANSWER | {"content": "</think>Hello"}], False),
        ([USER, ANSWER | {"content": "<tool_call>"}], False),
        ([USER | {"content": "</think>"}, ANSWER], True),
        ([USER | {"content": None}, ANSWER], False),
        ([USER | {"name": "n"}, ANSWER], False),
        ([{"role": "user"}, ANSWER], False),
        ([USER | {"role": "human"}, ANSWER], False),
        ([USER | {"role": ["user"]}, ANSWER], False),
        (["Hi", ANSWER], False),
    ],
)
def test_roles_and_texts_alone_need_no_reading(raws: object, exchange: bool) -> None:
    assert is_exchange(raws) is exchange


@pytest.mark.parametrize(
    "raw", [USER, ANSWER, {"role": "system", "content": ""}, {"role": "tool", "content": "4"}, RESULT]
)
def test_a_plain_message_stays_itself(raw: dict) -> None:
    assert read_plain(raw, 0, Findings()) is raw


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (ANSWER | {"content": None}, ANSWER | {"content": ""}),
        (ANSWER | {"reasoning_content": "", "tool_calls": []}, ANSWER),
        (ANSWER | {"reasoning_content": None, "tool_calls": None}, ANSWER),
        (ANSWER | {"reasoning_content": "Hm."}, ANSWER | {"reasoning_content": "Hm."}),
        (ANSWER | {"tool_calls": [CALL]}, ANSWER | {"tool_calls": [CALL]}),
        (
            ANSWER | {"tool_calls": [{"function": {"name": "f", "arguments": '{"a": 1}'}}]},
            ANSWER | {"tool_calls": [{"type": "function", "function": CALL["function"]}]},
        ),
    ],
)
def test_known_fields_of_an_answer_are_read_at_once(raw: dict, message: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain, "read_calls", None)  # what looks at every field of a call
    assert read_plain(raw, 0, Findings()) == message


@pytest.mark.parametrize(
    "raw",
    [
        "Hi",
        {"content": "Hi"},
        {"role": "human", "content": "Hi"},
        {"role": ["user"], "content": "Hi"},
        USER | {"content": ["Hi"]},
        USER | {"name": "n"},
        RESULT | {"tool_call_id": 1},
        RESULT | {"train": False},
        ANSWER | {"content": []},
        ANSWER | {"content": "<tool_call>"},
        {"role": "assistant"},
        ANSWER | {"train": False},
        ANSWER | {"reasoning_content": ["Hm."]},
        ANSWER | {"reasoning_content": "<think>"},
        ANSWER | {"tool_calls": CALL},
    ],
)
def test_any_other_message_is_read_field_by_field(raw: object) -> None:
    assert read_plain(raw, 0, Findings()) is None


def test_a_result_with_an_id_may_be_out_of_order() -> None:
    found = Findings()
    read_plain({"role": "tool", "content": "4", "name": "f"}, 0, found)
    assert found.has_result_ids is False
    read_plain(RESULT, 0, found)
    read_plain({"role": "tool", "content": "4", "name": "f"}, 0, found)
    assert found.has_result_ids is True
