"""The short cut for messages in our own dialect gives what reading every field gives."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nemotron.data_prep.dialects import messages as reading
from nemotron.data_prep.dialects.findings import Findings
from nemotron.data_prep.drop_reasons import RowError

TEXTS = st.sampled_from(["", " ", "Hi", "<think>a</think>b", "</think>b", "<tool_call>{}", "<thinking>", "think>"])
ARGUMENTS = st.sampled_from([None, "", "{}", "null", '{"a": 1}', "[1]", "{", [], 3]) | st.dictionaries(TEXTS, TEXTS)
FUNCTIONS = st.fixed_dictionaries(
    {"name": st.sampled_from(["f", "", None])}, optional={"arguments": ARGUMENTS, "parameters": ARGUMENTS}
)
CALLS = st.fixed_dictionaries(
    {"function": FUNCTIONS | st.none()}, optional={"id": st.sampled_from(["a", None, 1]), "type": st.just("function")}
)
MESSAGES = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "user", "assistant", "tool"])},
    optional={
        "content": TEXTS | st.none() | st.just([]),
        "reasoning_content": TEXTS | st.none(),
        "tool_calls": st.lists(CALLS, max_size=2) | st.none() | st.just(""),
        "tool_call_id": st.sampled_from(["a", None]),
        "name": st.sampled_from(["n", None]),
        "train": st.booleans(),
    },
)


def outcome(raws: list[dict]) -> object:
    found = Findings()
    try:
        return reading.read_messages(raws, found), found.notes
    except RowError as error:
        return error.reason, error.detail


@given(st.lists(MESSAGES, max_size=3))
def test_the_short_cut_changes_nothing(raws: list[dict]) -> None:
    short = outcome(raws)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "read_plain", lambda raw, position, found: None)
        assert outcome(raws) == short
