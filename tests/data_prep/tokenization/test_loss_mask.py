"""The loss mask, on token ids one can read: 9 ends a turn, 10 is the newline after it."""

import numpy as np

from nemotron.data_prep.tokenization.loss_mask import loss_mask

END, NEWLINE = 9, 10


def mask_of(chunks: list[tuple[list[int], bool]]) -> list[int]:
    ids = np.array([token for tokens, _ in chunks for token in tokens], np.int32)
    lengths = np.array([len(tokens) for tokens, _ in chunks], np.int64)
    return loss_mask(ids, lengths, np.array([supervised for _, supervised in chunks], bool), END).tolist()


def test_only_supervised_chunks_train() -> None:
    assert mask_of([([1, 2, END], False), ([3, 4, END], True)]) == [0, 0, 0, 1, 1, 1]


def test_the_end_of_turn_trains_and_the_newline_after_it_does_not() -> None:
    chunks = [([1], False), ([3, END, NEWLINE], True), ([1], False), ([5, 6, END, NEWLINE], True)]
    assert mask_of(chunks) == [0, 1, 1, 0, 0, 1, 1, 1, 0]


def test_of_an_empty_answer_the_end_of_turn_trains_and_the_newline_does_not() -> None:
    assert mask_of([([1], False), ([END, NEWLINE], True)]) == [0, 1, 0]
    assert mask_of([([1], False), ([END, NEWLINE], True), ([END, NEWLINE], True), ([END], True)]) == [0, 1, 0, 1, 0, 1]


def test_an_end_of_turn_written_inside_the_content_does_not_end_the_mask() -> None:
    assert mask_of([([3, END, 4, END, NEWLINE], True)]) == [1, 1, 1, 1, 0]


def test_a_turn_without_end_of_turn_trains_to_its_end() -> None:
    assert mask_of([([1, END], False), ([3, 4], True), ([1, END, NEWLINE], False)]) == [0, 0, 1, 1, 0, 0, 0]


def test_chunks_without_tokens_change_nothing() -> None:
    assert mask_of([([], True), ([1, END], False), ([], True), ([2, END], True), ([], False)]) == [0, 0, 1, 1]
