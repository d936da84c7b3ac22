"""The histories that sequences begin with."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nemotron.data_prep.part_index import Histories


def histories(*entries: tuple[int, int, int]) -> Histories:
    """Entries of (sequence, start, length)."""
    return Histories(*np.array(entries, np.int64).reshape(-1, 3).T)


def entries_of(found: Histories) -> list[tuple[int, ...]]:
    return list(zip(*(array.tolist() for array in found), strict=True))


def test_those_of_chosen_sequences_are_numbered_by_where_they_were_chosen() -> None:
    found = histories((2, 100, 5), (7, 200, 6)).of(np.array([7, 1, 2, 7]))
    assert entries_of(found) == [(0, 200, 6), (2, 100, 5), (3, 200, 6)]


def test_those_among_members_are_numbered_from_the_first() -> None:
    found = histories((2, 100, 5), (3, 150, 1), (7, 200, 6)).among(slice(3, 7))
    assert entries_of(found) == [(0, 150, 1)]


@given(st.sets(st.integers(0, 30)), st.lists(st.integers(0, 30)))
def test_every_chosen_sequence_has_the_history_that_it_had(with_history: set[int], chosen: list[int]) -> None:
    found = histories(*((number, 10 * number, number + 1) for number in sorted(with_history)))
    expected = [(at, 10 * number, number + 1) for at, number in enumerate(chosen) if number in with_history]
    assert entries_of(found.of(np.array(chosen, np.int32))) == expected
