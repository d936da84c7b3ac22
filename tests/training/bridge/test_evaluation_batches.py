"""Which packs of a split are evaluated, and which batches a train split can be gone on with."""

from hypothesis import given
from hypothesis import strategies as st

from nemotron.training.bridge.evaluation_batches import evaluation_batches
from nemotron.training.checks.continuation import stuck_at

SMALL = st.integers(1, 50)


@given(packs=st.integers(1, 500), ranks=SMALL, largest=SMALL, asked=st.none() | st.integers(0, 20))
def test_the_whole_split_is_evaluated_unless_less_is_asked_for(packs, ranks, largest, asked):
    batch, iterations = evaluation_batches(packs, ranks, largest, asked)
    assert batch % ranks == 0
    assert batch <= max(largest, ranks)
    if asked is None or asked * batch >= packs:
        assert batch * (iterations - 1) < packs <= batch * iterations
        assert batch * iterations - packs < ranks * iterations  # no more is filled up than has to be
    else:
        assert iterations == asked


def test_batches_are_as_few_as_possible():
    assert evaluation_batches(96, 4, 64) == (48, 2)
    assert evaluation_batches(7, 1, 4) == (4, 2)
    assert evaluation_batches(3, 4, 64) == (4, 1)
    assert evaluation_batches(5, 2, 4, asked=1) == (4, 1)
    assert evaluation_batches(5, 1, 4, asked=2) == (3, 2)  # as many as are needed anyway
    assert evaluation_batches(0, 4, 64) == (0, 0)


@given(packs=SMALL, batch=SMALL, epochs=st.integers(0, 3), iterations=st.integers(1, 100))
def test_one_batch_size_throughout_never_gets_stuck(packs, batch, epochs, iterations):
    if batch <= packs:
        assert stuck_at(epochs * (packs // batch) * batch + batch, packs, batch, iterations) is None


def test_another_batch_size_can_get_stuck():
    assert stuck_at(76, packs=81, batch=8, iterations=11) == 76
    assert stuck_at(4, packs=81, batch=8, iterations=20) == 76
    assert stuck_at(4, packs=81, batch=8, iterations=9) is None
    assert stuck_at(40, packs=81, batch=8, iterations=99) is None
