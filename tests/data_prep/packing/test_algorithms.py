"""Packing: every sequence once, no pack too full, the bins of the naive algorithm, the same for the same seed."""

from collections.abc import Callable, Iterator
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nemotron.data_prep.config import Algorithm
from nemotron.data_prep.packing.algorithms import _strategy, best_fit, first_fit, next_fit, pack

ALGORITHMS = get_args(Algorithm)
CAPACITY = 40
lengths_lists = st.lists(st.integers(1, CAPACITY), max_size=60)


def placed(algorithm: Callable[[np.ndarray, int], Iterator[int]], lengths: list[int], capacity: int) -> list[int]:
    return list(algorithm(np.array(lengths, np.int32), capacity))


@pytest.mark.parametrize("lengths", [[3, 0], [3, 7]])
def test_a_length_that_no_pack_has_is_refused(lengths: list[int]) -> None:
    assert len(pack(np.array([1, 6], np.int32), 6).bounds) == 3
    with pytest.raises(ValueError, match=r"1\.\.6"):
        pack(np.array(lengths, np.int32), 6)


def naive_first_fit(lengths: list[int], capacity: int) -> list[int]:
    free: list[int] = []
    placed = []
    for length in lengths:
        number = next((i for i, room in enumerate(free) if room >= length), len(free))
        if number == len(free):
            free.append(capacity)
        free[number] -= length
        placed.append(number)
    return placed


def naive_best_fit(lengths: list[int], capacity: int) -> list[int]:
    free: list[int] = []
    placed = []
    for length in lengths:
        number = min((i for i, room in enumerate(free) if room >= length), key=lambda i: free[i], default=len(free))
        if number == len(free):
            free.append(capacity)
        free[number] -= length
        placed.append(number)
    return placed


def naive_next_fit(lengths: list[int], capacity: int) -> list[int]:
    placed, used = [], [0]
    for length in lengths:
        if used[-1] + length > capacity:
            used.append(0)
        used[-1] += length
        placed.append(len(used) - 1)
    return placed


def test_first_fit_takes_the_first_pack_with_room() -> None:
    assert placed(first_fit, [6, 5, 4, 5, 1], 10) == [0, 1, 0, 1, 2]


def test_best_fit_takes_the_fullest_pack_with_room() -> None:
    assert placed(best_fit, [6, 7, 3, 4], 10) == [0, 1, 1, 0]


@pytest.mark.parametrize("algorithm", [first_fit, best_fit, next_fit])
def test_a_pack_is_filled_to_its_last_token(algorithm: Callable[[np.ndarray, int], Iterator[int]]) -> None:
    assert placed(algorithm, [6, 4, 10, 9, 1], 10) == [0, 0, 1, 2, 2]


def test_next_fit_never_returns_to_an_older_pack() -> None:
    assert placed(next_fit, [6, 5, 4, 5, 1], 10) == [0, 1, 1, 2, 2]


SMALL = 6
"""A pack that is often filled exactly, and often has room for one token."""
short_lengths = st.lists(st.integers(1, SMALL), max_size=30)


@given(short_lengths)
def test_small_packs_are_those_of_the_naive_search(lengths: list[int]) -> None:
    assert placed(first_fit, lengths, SMALL) == naive_first_fit(lengths, SMALL)
    assert placed(best_fit, lengths, SMALL) == naive_best_fit(lengths, SMALL)
    assert placed(next_fit, lengths, SMALL) == naive_next_fit(lengths, SMALL)


@given(lengths_lists)
def test_first_fit_equals_the_naive_search(lengths: list[int]) -> None:
    assert placed(first_fit, lengths, CAPACITY) == naive_first_fit(lengths, CAPACITY)


@given(lengths_lists)
def test_best_fit_equals_the_naive_search(lengths: list[int]) -> None:
    assert placed(best_fit, lengths, CAPACITY) == naive_best_fit(lengths, CAPACITY)


@given(st.lists(st.integers(1, 2000), max_size=60))
def test_best_fit_equals_the_naive_search_across_bitset_words(lengths: list[int]) -> None:
    assert placed(best_fit, lengths, 2000) == naive_best_fit(lengths, 2000)


@given(lengths_lists, st.sampled_from(ALGORITHMS), st.integers(0, 5))
def test_every_sequence_is_packed_once_and_no_pack_is_over_capacity(
    lengths: list[int], algorithm: Algorithm, seed: int
) -> None:
    packs = pack(np.array(lengths, dtype=np.int64), CAPACITY, algorithm, seed)
    assert sorted(packs.sequences.tolist()) == list(range(len(lengths)))
    sizes = [sum(lengths[i] for i in members) for members in packs]
    assert all(0 < size <= CAPACITY for size in sizes)
    assert len(sizes) == len(packs)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_seed_decides_the_order(algorithm: Algorithm) -> None:
    lengths = np.random.default_rng(0).integers(1, CAPACITY, 200)
    first, again, other = (pack(lengths, CAPACITY, algorithm, seed) for seed in (1, 1, 2))
    assert first.sequences.tolist() == again.sequences.tolist()
    assert first.bounds.tolist() == again.bounds.tolist()
    assert first.sequences.tolist() != other.sequences.tolist()


def test_a_pack_has_its_sequences_in_the_order_they_were_placed() -> None:
    packs = pack(np.ones(400, np.int64), CAPACITY, "concatenative")
    assert sorted(members.tolist() for members in packs) == np.arange(400).reshape(10, CAPACITY).tolist()


def test_sequences_of_equal_length_keep_their_shuffled_order() -> None:
    lengths = np.full(400, 10)
    shuffled = pack(lengths, CAPACITY, "first_fit_shuffle", seed=3)
    decreasing = pack(lengths, CAPACITY, "first_fit_decreasing", seed=3)
    assert shuffled.sequences.tolist() == decreasing.sequences.tolist()


def test_shuffling_mixes_datasets_inside_packs() -> None:
    lengths = np.full(400, 10)  # the first half from one dataset, the second from another
    packs = pack(lengths, 40, "first_fit_shuffle", seed=0)
    mixed = sum(0 < (members < 200).sum() < len(members) for members in packs)
    assert mixed > 0.7 * len(packs)  # 1 - 2 * 0.5**4 = 0.875 in expectation


@pytest.mark.parametrize(
    ("algorithm", "least_fill"), [("first_fit_shuffle", 0.99), ("first_fit_decreasing", 0.999), ("best_fit", 0.999)]
)
def test_packs_are_full(algorithm: Algorithm, least_fill: float) -> None:
    lengths = np.clip(np.random.default_rng(0).lognormal(6.4, 0.9, 20_000).astype(int), 16, 4096)
    packs = pack(lengths, 4096, algorithm, seed=0)
    assert lengths.sum() / (len(packs) * 4096) > least_fill


def test_nothing_to_pack_gives_no_packs() -> None:
    assert len(pack(np.zeros(0, np.int64), CAPACITY)) == 0


def test_a_sequence_longer_than_a_pack_is_refused() -> None:
    with pytest.raises(ValueError, match=r"1\.\.40, found 3\.\.41"):
        pack(np.array([3, 41]), CAPACITY)


@pytest.mark.parametrize(
    ("algorithm", "packs"),
    [
        ("first_fit_decreasing", [[1, 8], [5, 6]]),
        ("best_fit", [[1, 5, 6], [8]]),
        ("concatenative", [[1, 5, 6], [8]]),
    ],
)
def test_each_name_is_its_own_algorithm(algorithm: Algorithm, packs: list[list[int]]) -> None:
    lengths = np.array([8, 1, 6, 5] if algorithm != "concatenative" else [8, 6, 5, 1])
    assert sorted(sorted(lengths[members].tolist()) for members in pack(lengths, 12, algorithm)) == packs


def test_an_unknown_algorithm_is_refused() -> None:
    unknown: Any = "worst_fit"
    with pytest.raises(ValueError, match=r"worst_fit.*first_fit_shuffle"):
        pack(np.array([1]), CAPACITY, unknown)


def test_the_longest_come_first_and_equal_lengths_as_they_were_shuffled() -> None:
    lengths = np.tile([1, 2, 3], 100)
    shuffled, _ = _strategy("first_fit_shuffle", lengths, np.random.default_rng(0))
    decreasing, _ = _strategy("best_fit", lengths, np.random.default_rng(0))
    assert decreasing.tolist() == sorted(shuffled.tolist(), key=lambda sequence: -lengths[sequence])
