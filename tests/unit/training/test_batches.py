"""Which packs of a split are evaluated."""

from hypothesis import given
from hypothesis import strategies as st

from nemotron.training.batches import evaluation_batches

SMALL = st.integers(1, 50)


@given(packs=st.integers(0, 500), ranks=SMALL, largest=SMALL)
def test_only_what_the_ranks_cannot_share_is_left_out(packs, ranks, largest):
    batch, iterations = evaluation_batches(packs, ranks, largest)
    assert batch * iterations == packs - packs % ranks
    assert batch % ranks == 0
    assert batch <= max(largest, ranks)


def test_batches_are_as_large_as_possible():
    assert evaluation_batches(96, 4, 64) == (48, 2)
    assert evaluation_batches(7, 1, 4) == (1, 7)
    assert evaluation_batches(3, 4, 64) == (0, 0)
