"""The short cut for messages in our own dialect gives what reading every field gives."""

from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nemotron.data_prep.dialects import messages as reading
from nemotron.data_prep.dialects.findings import Findings
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
