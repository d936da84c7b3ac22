"""Which share of a split each dataset should have."""

import pytest

from nemotron.data_prep.output.counting_shares import asked_shares
from nemotron.data_prep.sources.blend import Dataset


def dataset(weight: float | None, effort: str | None = None, goes_to: str | None = None) -> Dataset:
    reasoning = None if effort is None else {"effort": effort}
    return Dataset("d", "d.jsonl", weight=weight, reasoning=reasoning, goes_to=goes_to)


def test_shares_follow_from_weights_and_without_one_of_them_there_are_none() -> None:
    assert asked_shares([dataset(3), dataset(1)], 0.0) == [0.75, 0.25]
    assert asked_shares([dataset(3), dataset(None)], 0.0) == [None, None]


def test_each_split_is_divided_by_itself() -> None:
    given = [dataset(3, goes_to="train"), dataset(None, goes_to="valid"), dataset(1, goes_to="train")]
    assert asked_shares(given, 0.0) == [0.75, None, 0.25]


def test_short_thoughts_divide_their_own_share_where_there_are_others() -> None:
    low, other = [dataset(1, "low"), dataset(3, "low")], [dataset(5), dataset(5, "high")]
    assert asked_shares([*low, *other], 0.2) == pytest.approx([0.05, 0.15, 0.4, 0.4])
    assert asked_shares(low, 0.2) == [0.25, 0.75]
    assert asked_shares(other, 0.2) == [0.5, 0.5]
    assert asked_shares([low[0], other[0]], 0.0) == pytest.approx([1 / 6, 5 / 6])
