"""The roll: position j carries the mask of the token it predicts, never across a conversation's end."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nemotron.data_prep.tokenization.loss_mask import find_trained_targets, roll

EOS = 9


def test_each_position_carries_the_mask_of_the_next_token() -> None:
    mask = np.array([0, 1, 1, 0, 0, 1, 1], np.uint8)
    starts = np.array([0, 4])  # [0 1 1 0] and [0 1 1]
    assert roll(mask, starts).tolist() == [1, 1, 0, 0, 1, 1, 0]


def test_the_first_token_of_the_next_conversation_is_never_a_target() -> None:
    assert roll(np.array([0, 1, 1], np.uint8), np.array([0, 2])).tolist() == [1, 0, 0]


@given(st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=8), min_size=1, max_size=8))
def test_rolling_a_pack_equals_rolling_each_conversation(conversations: list[list[int]]) -> None:
    starts = np.cumsum([0] + [len(c) for c in conversations[:-1]])
    rolled = roll(np.concatenate([np.array(c, np.uint8) for c in conversations]), starts)
    assert rolled.tolist() == [bit for c in conversations for bit in [*c[1:], 0]]


def test_a_target_after_eos_is_lost_to_the_collator() -> None:
    ids = np.array([1, 2, EOS, 3, 4], np.int32)
    targets = find_trained_targets(np.array([0, 1, 1, 1, 1], np.uint8), ids, np.array([0]), EOS)
    assert targets.tolist() == [0, 1, 1, 0, 1]


@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from([1, 2, EOS]), st.integers(0, 1)), min_size=1, max_size=8),
        min_size=1,
        max_size=6,
    )
)
def test_targets_are_what_a_trainer_that_reads_the_rolled_mask_counts(pack: list[list[tuple[int, int]]]) -> None:
    ids = np.array([token for c in pack for token, _ in c], np.int32)
    mask = np.array([bit for c in pack for _, bit in c], np.uint8)
    starts = np.cumsum([0] + [len(c) for c in pack[:-1]])
    ends = [*starts[1:].tolist(), len(ids)]
    rolled = roll(mask, starts)
    # The collator, spelled out: inputs are ids[s:e-1], the loss of an eos input is zeroed.
    counted = sum(int(rolled[j]) for s, e in zip(starts, ends, strict=True) for j in range(s, e - 1) if ids[j] != EOS)
    assert find_trained_targets(mask, ids, starts, EOS).sum() == counted
