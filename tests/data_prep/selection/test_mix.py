"""How many conversations of each dataset are used."""

import pytest

from nemotron.data_prep.selection.mix import UnreachableMix, mix_counts


def test_of_equal_remainders_the_first_datasets_get_the_rest() -> None:
    assert mix_counts([9] * 999, [1.0] * 999, samples=500) == [1] * 500 + [0] * 499
    assert mix_counts([9, 9, 9], [1, 1, 2], samples=10) == [3, 2, 5]


def test_the_rest_goes_to_the_largest_remainder() -> None:
    assert mix_counts([9, 9], [1, 5], samples=7) == [1, 6]  # of 1.17 and 5.83
    assert mix_counts([9, 9], [1, 5], samples=4) == [1, 3]  # of 0.67 and 3.33


def test_empty_datasets_give_nothing() -> None:
    assert mix_counts([0, 0], [1, 1]) == [0, 0]
    assert mix_counts([0, 10], [None, None], samples=5) == [0, 5]


def test_without_weights_samples_are_divided_by_size() -> None:
    assert mix_counts([30, 10], [None, None], samples=8) == [6, 2]
    assert mix_counts([0, 10], [1, 1]) == [0, 10]  # an empty dataset limits nothing


def test_the_shares_are_exact_though_weights_are_floats() -> None:
    assert mix_counts([3, 1], [0.3, 0.1]) == [3, 1]
    assert mix_counts([30, 10], [0.7, 0.1], samples=8) == [7, 1]
    assert mix_counts([30, 10], [1e308, 1.5e308]) == [6, 10]
    assert mix_counts([30, 0, 10], [1e308, 1, 1.5e308], samples=5) == [2, 0, 3]


def test_if_all_may_repeat_each_is_used_at_least_once() -> None:
    assert mix_counts([10, 30], [1, 1], repeats=[True, True]) == [30, 30]
    assert mix_counts([10, 30], [1, 1], repeats=[True, False]) == [30, 30]
    assert mix_counts([10, 30], [1, 1], repeats=[False, True]) == [10, 10]


def test_what_a_mix_may_have_at_most_is_said() -> None:
    with pytest.raises(UnreachableMix) as error:
        mix_counts([6, 90, 7], [1, 8, 1], repeats=[False, True, False], samples=66)
    assert (error.value.number, error.value.asked, error.value.most) == (0, 7, 60)
    assert mix_counts([6, 9, 7], [1, 8, 1], repeats=[False, True, False], samples=60) == [6, 48, 6]
