"""The histories that sequences begin with."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nemotron.data_prep.part_index import Histories, PartIndex, bytes_of, compact, unpack


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


def index(sequence_counts: list[int], histories: list[int], lengths: list[int], shared: list[int]) -> PartIndex:
    conversations, sequences = len(sequence_counts), len(lengths)
    return PartIndex(
        lines=np.arange(conversations), hashes=np.arange(2 * conversations, dtype=np.uint64).reshape(-1, 2),
        modes=np.full(conversations, 3), sequence_counts=np.array(sequence_counts),
        masked_counts=np.zeros(conversations),
        history_lengths=np.array(histories), lengths=np.array(lengths), shared_lengths=np.array(shared),
        targets=np.ones(sequences), turn_counts=np.ones(sequences), turn_ends=np.array(lengths),
        turn_targets=np.ones(sequences),
    )  # fmt: skip


def test_tokens_stand_after_those_of_earlier_conversations_and_the_history_of_their_own() -> None:
    """5 tokens; then 4 of history, 3 and 2; then 7; then 6 of history, and 1."""
    found = index([1, 2, 1, 1], [0, 4, 0, 6], [5, 5, 6, 7, 7], [0, 2, 4, 0, 6])
    history, own = found.starts()
    assert history.tolist() == [0, 5, 5, 14, 21]
    assert own.tolist() == [0, 9, 12, 14, 27]


def test_an_index_is_read_back_as_it_was_written() -> None:
    written = compact(index([1, 2, 1, 1], [0, 4, 0, 6], [5, 5, 6, 7, 7], [0, 2, 4, 0, 6]))
    read = unpack(b"".join(map(bytes_of, written)), 4, 5, 5)
    for name, before, after in zip(PartIndex._fields, written, read, strict=True):
        assert (after.dtype, after.tolist()) == (before.dtype, before.tolist()), name
