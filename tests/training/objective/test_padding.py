"""Which positions of a pack are padding."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from nemotron.training.objective.padding import padding_positions

END, PAD = 5, 3


def positions(tokens, mask, boundaries, filled, *, pads_conversations, pad_ids=(END,)):
    found = padding_positions(
        torch.tensor(tokens), torch.tensor(mask), torch.tensor(boundaries), filled, pad_ids,
        pads_conversations=pads_conversations,
    )  # fmt: skip
    return found.int().tolist()


def test_what_follows_the_last_conversation_is_padding_whatever_stands_there():
    """An end-of-turn token inside a conversation is text, even as its last input."""
    tokens = [7, 8, END, 9, END, END, END]
    mask = [0, 1, 0, 1, 0, 0, 0]
    assert positions(tokens, mask, [0, 3, 5, 7], 5, pads_conversations=False) == [0, 0, 0, 0, 0, 1, 1]


def test_a_padded_conversation_keeps_the_end_of_turn_that_it_was_trained_to_say():
    """Two conversations padded to 4 with the end-of-turn token itself; the first of each run was written."""
    tokens = [7, 8, END, END, 9, END, END, END]
    mask = [0, 1, 0, 0, 1, 0, 0, 0]
    assert positions(tokens, mask, [0, 4, 8], 8, pads_conversations=True) == [0, 0, 0, 1, 0, 0, 1, 1]


def test_a_pad_token_of_its_own_is_padding_from_the_first_on():
    tokens = [7, END, 10, PAD, 9, 9, 9, 9]
    mask = [1, 0, 0, 0, 0, 0, 0, 0]
    both = (END, PAD)
    assert positions(tokens, mask, [0, 4, 8], 8, pads_conversations=True, pad_ids=both) == [0, 0, 0, 1, 0, 0, 0, 0]


def test_only_data_that_was_padded_has_padding_inside_conversations():
    """A turn that is not trained ends in the token that also pads."""
    assert positions([7, END], [0, 0], [0, 2], 2, pads_conversations=False) == [0, 0]
    assert positions([7, END], [0, 0], [0, 2], 2, pads_conversations=True) == [0, 1]


def test_boundaries_need_not_reach_the_end_of_the_pack():
    assert positions([7, 8, PAD, 9, 9], [0] * 5, [0, 3], 3, pads_conversations=True, pad_ids=(PAD,)) == [0, 0, 1, 1, 1]


def test_padding_is_found_where_the_batch_is(names_devices):
    tokens, mask, boundaries = (torch.tensor(of) for of in ([7, PAD], [0, 0], [0, 2]))
    with names_devices:
        padding_positions(tokens, mask, boundaries, 2, {PAD}, pads_conversations=True)


def test_padding_tokens_before_the_end_are_text():
    tokens = [PAD, 7, PAD, 8, PAD, PAD]
    assert positions(tokens, [0] * 6, [0, 6], 6, pads_conversations=True, pad_ids=(PAD,)) == [0, 0, 0, 0, 1, 1]


@given(st.lists(st.tuples(st.integers(1, 6), st.integers(0, 3)), min_size=1, max_size=6), st.integers(0, 5))
def test_exactly_what_was_added_is_found(conversations, tail):
    """Conversations of text (never a padding token) with `added` padding each, then the pack's own padding."""
    tokens, expected, boundaries = [], [], [0]
    for length, added in conversations:
        tokens += [9] * length + [PAD] * added
        expected += [0] * length + [1] * added
        boundaries.append(len(tokens))
    filled = len(tokens)
    tokens += [END] * tail
    expected += [1] * tail
    boundaries.append(len(tokens))
    mask = [0] * len(tokens)
    found = positions(tokens, mask, boundaries, filled, pads_conversations=True, pad_ids=(END, PAD))
    assert found == expected
