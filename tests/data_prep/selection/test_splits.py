"""Splits: by content alone, in the asked ratios, none empty when there is enough."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nemotron.data_prep.selection.splits import assign_splits

RATIOS = (0.98, 0.01, 0.01)
hash_lists = st.lists(st.integers(0, 2**64 - 1), max_size=300)


def hashes(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**64, count, dtype=np.uint64, endpoint=False)


def test_a_hash_is_read_as_a_fraction() -> None:
    quarter = 2**62
    assert assign_splits(np.array([0, quarter, 2 * quarter, 3 * quarter], np.uint64), (0.5, 0.25, 0.25)).tolist() == [
        0, 0, 1, 2,
    ]  # fmt: skip


def test_ratios_hold_in_expectation() -> None:
    counts = np.bincount(assign_splits(hashes(100_000), RATIOS), minlength=3)
    # Four standard deviations of a binomial with p = 0.01.
    assert counts[1:] == pytest.approx([1000, 1000], abs=4 * (100_000 * 0.01 * 0.99) ** 0.5)


@given(hash_lists, st.randoms(use_true_random=False))
def test_order_does_not_matter(values: list[int], random) -> None:
    shuffled = random.sample(values, len(values))
    split_of = dict(zip(values, assign_splits(np.array(values, np.uint64), RATIOS).tolist(), strict=True))
    again = dict(zip(shuffled, assign_splits(np.array(shuffled, np.uint64), RATIOS).tolist(), strict=True))
    assert split_of == again


@settings(max_examples=40)  # making so many numbers takes longer than the test
@given(st.lists(st.integers(0, 2**64 - 1), min_size=100, max_size=200, unique=True))
def test_valid_and_test_are_never_empty_from_100_conversations_on(values: list[int]) -> None:
    assert set(assign_splits(np.array(values, np.uint64), RATIOS).tolist()) == {0, 1, 2}


def test_duplicates_move_together() -> None:
    values = np.array([7] * 50 + list(range(100, 150)), np.uint64)  # all tiny: everything hashes into train
    assigned = assign_splits(values, RATIOS)
    assert len(set(assigned[:50].tolist())) == 1
    assert set(assigned.tolist()) == {0, 1, 2}


def test_a_few_conversations_may_leave_valid_and_test_empty() -> None:
    assert assign_splits(np.array([1, 2, 3], np.uint64), RATIOS).tolist() == [0, 0, 0]


def test_a_ratio_of_zero_gives_an_empty_split() -> None:
    assigned = assign_splits(hashes(5000), (0.9, 0.1, 0.0))
    assert set(assigned.tolist()) == {0, 1}


def at(*fractions: float) -> list[int]:
    """Hashes that are these fractions of all that there are."""
    return [int(fraction * 2**64) for fraction in fractions]


def test_the_nearest_to_the_middle_of_an_empty_split_moves_there() -> None:
    """Valid is 0.5 to 0.7 and has none; the middle is 0.6, and 0.75 is nearer than 0.42."""
    values = np.array([*at(0.42, 0.8, 0.75), *range(97)], np.uint64)
    assert assign_splits(values, (0.5, 0.2, 0.3))[:3].tolist() == [0, 2, 1]
    assert assign_splits(values[:99], (0.5, 0.2, 0.3))[:3].tolist() == [0, 2, 2]  # too few for every split


def test_the_last_of_a_split_stays_there() -> None:
    """The nearest to valid is all that test has, twice: what is in train moves instead."""
    values = np.array([*at(0.42, 0.75, 0.75), *range(97)], np.uint64)
    assert assign_splits(values, (0.5, 0.2, 0.3))[:3].tolist() == [1, 2, 2]
