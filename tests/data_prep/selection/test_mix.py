"""How many conversations of each dataset are used."""

from nemotron.data_prep.selection.mix import mix_counts


def test_of_equal_remainders_the_first_datasets_get_the_rest() -> None:
    assert mix_counts([9] * 40, [1.0] * 40, samples=20) == [1] * 20 + [0] * 20
    assert mix_counts([9, 9, 9], [1, 1, 2], samples=10) == [3, 2, 5]


def test_without_weights_samples_are_divided_by_size() -> None:
    assert mix_counts([30, 10], [None, None], samples=8) == [6, 2]
    assert mix_counts([0, 10], [1, 1]) == [0, 10]  # an empty dataset limits nothing
