"""Ones are counted as by adding up all that come before."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nemotron.data_prep.token_roles.ones import Ones


@given(st.lists(st.sampled_from([0, 1]), max_size=70))
def test_ones_before_every_place(mask: list[int]) -> None:
    counted = Ones(np.array(mask, np.uint8)).before(np.arange(len(mask) + 1))
    assert counted.dtype == np.int64
    assert counted.tolist() == [sum(mask[:place]) for place in range(len(mask) + 1)]
