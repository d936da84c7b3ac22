"""What the checks of a blend find, counted."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from nemotron.data_prep.output.counting_checks import _lengths, count_checks, is_check
from nemotron.data_prep.output.metadata import CheckStats, NoteStats


def corpus(conversation: Sequence[int], length: Sequence[int], conversations: slice, sequences: slice) -> Any:
    return SimpleNamespace(
        of_dataset=lambda number: (conversations, sequences),
        conversation=np.array(conversation, int),
        length=np.array(length, int),
    )


def test_conversations_are_counted_by_their_longest_sequence_also_where_there_are_none() -> None:
    counted = _lengths(0, corpus([1, 2, 2, 3, 4], [99, 3, 11, 10, 21], slice(2, 5), slice(1, 5)), pack_size=80)
    assert [stats.conversations for stats in counted] == [1, 1, 1, 0, 0]
    assert [stats.share for stats in counted] == [1 / 3, 1 / 3, 1 / 3, 0, 0]
    assert [stats.found.split()[-2:] for stats in counted[:4]] == [[str(size), "tokens"] for size in (10, 20, 40, 80)]
    [only, *others] = _lengths(0, corpus([0], [7], slice(0, 1), slice(0, 1)), pack_size=80)
    assert (only.conversations, only.share, {stats.share for stats in others}) == (1, 1, {0})
    assert {stats.share for stats in _lengths(0, corpus([], [], slice(0, 0), slice(0, 0)), pack_size=80)} == {0}


def test_findings_are_shares_of_what_their_check_looked_at_the_most_frequent_first() -> None:
    notes = [
        NoteStats("language", "de", 1, []), NoteStats("language", "fr", 4, []), NoteStats("language", "en", 4, []),
        NoteStats("special_tokens", "<|im_end|>", 7, []), NoteStats("tool_use", "calls tools", 5, []),
    ]  # fmt: skip
    looked = corpus([0], [20], slice(0, 1), slice(0, 1))
    found = count_checks(["languages", "tool_calls"], notes, 0, looked, pack_size=80)
    assert found == [
        CheckStats("languages", "en", 4, 4 / 9), CheckStats("languages", "fr", 4, 4 / 9),
        CheckStats("languages", "de", 1, 1 / 9), CheckStats("tool_calls", "calls tools", 5, 1),
    ]  # fmt: skip
    assert count_checks(["lengths"], [], 0, looked, pack_size=80) == _lengths(0, looked, pack_size=80)


@pytest.mark.parametrize(("kind", "expected"), [("language", True), ("tool_use", True), ("special_tokens", False)])
def test_what_a_check_found_is_no_note(kind: str, expected: bool) -> None:
    assert is_check(NoteStats(kind, "x", 1, [])) is expected
