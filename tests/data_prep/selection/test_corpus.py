"""The arrays of a whole run, over parts on disk."""

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from nemotron.data_prep.part_index import PartIndex, SequencePlace
from nemotron.data_prep.selection.corpus import Corpus, load_corpus
from nemotron.data_prep.tokenization.part_files import PartReceipt, PartWriter, write_part


def write(part: Path, conversations: Sequence[Sequence[tuple[int, int]]], histories: Sequence[int] = ()) -> PartReceipt:
    """Write a part of conversations, each a list of sequences: (tokens, tokens of the shared history).

    A conversation's history has as many tokens as its longest sequence shares, if `histories` does not say more.
    """
    sequences = [sequence for conversation in conversations for sequence in conversation]
    lengths, shared = np.array(sequences, np.int32).reshape(-1, 2).T
    index = PartIndex(
        lines=10 * np.arange(len(conversations)),
        hashes=np.arange(2 * len(conversations), dtype=np.uint64).reshape(-1, 2),
        modes=np.full(len(conversations), 2),
        sequence_counts=np.array([len(conversation) for conversation in conversations], np.int32),
        masked_counts=np.zeros(len(conversations)),
        history_lengths=np.array(
            histories or [max(shared for _, shared in conversation) for conversation in conversations], np.int32
        ),
        lengths=lengths,
        shared_lengths=shared,
        targets=np.ones(len(lengths)),
        turn_counts=np.ones(len(lengths)),
        turn_ends=lengths,
        turn_targets=np.ones(len(lengths)),
    )

    def fill(writer: PartWriter) -> None:
        writer.append(np.zeros(0, np.int32), np.zeros(0, np.uint8), index)

    return write_part(part, fill)


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    """Three datasets of two, no and one conversation; the first is in two parts."""
    parts = [tmp_path / name for name in "abcd"]
    conversations = [[[(10, 0)]], [[(20, 4), (30, 6)]], [], [[(7, 0)]]]
    receipts = [write(part, its) for part, its in zip(parts, conversations, strict=True)]
    return load_corpus(parts, receipts, [0, 0, 1, 2])


def test_conversations_and_sequences_are_in_the_order_of_the_parts(corpus: Corpus) -> None:
    assert corpus.conversations == 3
    assert corpus.conversation.tolist() == [0, 1, 1, 2]
    assert corpus.length.tolist() == [10, 20, 30, 7]
    assert corpus.mode.tolist() == [2, 2, 2]
    assert corpus.dataset.tolist() == [0, 0, 2]


def test_a_dataset_is_a_slice_of_both(corpus: Corpus) -> None:
    assert corpus.of_dataset(0) == (slice(0, 2), slice(0, 3))
    assert corpus.of_dataset(1) == (slice(2, 2), slice(3, 3))
    assert corpus.of_dataset(2) == (slice(2, 3), slice(3, 4))


def test_an_empty_part_has_no_conversation(corpus: Corpus) -> None:
    assert [part.path.name for part in corpus.each_part()] == ["a", "b", "c", "d"]
    assert [corpus.part_of_conversation(number).path.name for number in range(3)] == ["a", "b", "d"]
    assert corpus.part_numbers(np.array([3, 0, 2, 1])).tolist() == [3, 0, 1, 1]


def test_lines_are_those_of_the_part(tmp_path: Path) -> None:
    parts = [tmp_path / "a", tmp_path / "b"]
    corpus = load_corpus(parts, [write(part, [[(5, 0)], [(6, 0)]]) for part in parts], [0, 0])
    assert [corpus.line_of(number) for number in range(4)] == [0, 10, 0, 10]


def test_a_sequence_stands_after_the_history_that_it_shares(corpus: Corpus) -> None:
    """Part b: 6 tokens of history, then the 16 and 24 tokens that the sequences do not share."""
    assert corpus.place_of(1) == SequencePlace(history_start=0, shared=4, start=6)
    assert corpus.place_of(2) == SequencePlace(history_start=0, shared=6, start=22)
    assert corpus.place_of(3) == SequencePlace(history_start=0, shared=0, start=0)


def test_the_places_of_all_are_those_of_each(corpus: Corpus) -> None:
    places = corpus.find_places()
    each = [corpus.place_of(number) for number in range(4)]
    assert places.start.tolist() == [place.start for place in each]
    assert places.history.sequence.tolist() == [1, 2]
    assert places.history.start.tolist() == [place.history_start for place in each if place.shared]
    assert places.history.length.tolist() == [place.shared for place in each if place.shared]


def test_a_conversation_takes_17_bytes_and_a_sequence_12(tmp_path: Path) -> None:
    """Everything else is read from the parts when it is needed: the first process holds millions of them."""
    receipt = write(tmp_path / "a", [[(5, 0), (6, 0)]] * 1000)
    corpus = load_corpus([tmp_path / "a"], [receipt], [0])
    arrays = [value for of in fields(corpus) if isinstance(value := getattr(corpus, of.name), np.ndarray)]
    assert sum(array.nbytes for array in arrays) - 36 == 1000 * 17 + 2000 * 12  # 36: of the part itself
