"""The share of low-effort datasets in the mix."""

import pytest

from nemotron.data_prep.selection.low_effort import mix_with_low_effort
from nemotron.data_prep.selection.mix import UnreachableMix


def mix(available, weights=None, low=(1,), share=0.25, samples=None, repeated=()):
    kinds, repeats = ([number in those for number in range(len(available))] for those in (low, repeated))
    return mix_with_low_effort(
        available, weights or [None] * len(available), repeats=repeats, is_low=kinds, share=share, samples=samples
    )


def test_the_share_is_of_the_whole_mix_and_the_others_are_used_whole():
    assert mix([90, 40]) == [90, 30]
    assert mix([90, 20]) == [90, 20]  # fewer than that
    assert mix([60, 30, 40], weights=[3, 1, 5], low=(2,)) == [60, 20, 27]


def test_a_number_of_samples_is_divided_by_the_share():
    assert mix([90, 40], samples=40) == [30, 10]
    assert mix([90, 5], samples=40) == [35, 5]
    assert mix([90, 40], samples=1) == [1, 0]


def test_what_may_repeat_does_not_run_out():
    assert mix([90, 20], repeated=(1,)) == [90, 30]
    assert mix([30, 20], repeated=(0,), samples=80) == [60, 20]


def test_of_the_others_there_must_be_enough():
    with pytest.raises(UnreachableMix) as error:
        mix([40, 20], low=(0,), samples=40)
    assert (error.value.number, error.value.asked, error.value.most) == (1, 30, 20)


def test_without_a_share_or_one_of_the_kinds_only_the_weights_decide():
    assert mix([90, 40], share=0.0) == [90, 40]
    assert mix([90, 40], low=()) == [90, 40]
    assert mix([90, 40], low=(0, 1)) == [90, 40]
    assert mix([90, 0]) == [90, 0]
    assert mix([0, 40]) == [0, 40]
