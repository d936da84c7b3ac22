"""Batches of text as token ids, their loss mask, and their trained stretches."""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from nemotron.data_prep.drop_reasons import LeftOut, RowError
from nemotron.data_prep.notes import Note, NoteKind
from nemotron.data_prep.reasoning_modes.mode import MODES
from nemotron.data_prep.token_roles.marks import Marks
from nemotron.data_prep.token_roles.stretches import Stretches, find_stretches
from nemotron.data_prep.tokenization.encoders import Encoded
from nemotron.data_prep.tokenization.loss_mask import find_trained_targets, loss_mask
from nemotron.data_prep.tokenization.outcomes import Dropped, Noticed
from nemotron.data_prep.tokenization.part_files import PartIndex
from nemotron.data_prep.tokenization.safe_encoding import encode_safely
from nemotron.data_prep.tokenization.text_batches import Batch, Candidate
from nemotron.data_prep.tokenization.tokenizer import Tokenizer

EMPTY_ANSWER = Note(NoteKind.EMPTY_ANSWER)


class EncodedBatch(NamedTuple):
    """The sequences of a batch that are kept, and whose they are."""

    ids: np.ndarray
    """int32 [tokens]: all sequences back to back."""
    mask: np.ndarray
    """uint8 [tokens], not yet rolled."""
    conversations: PartIndex
    """The conversations that end in the batch, and their sequences."""
    stretches: Stretches
    """Of the same sequences."""


class _Sequences(NamedTuple):
    """Flat arrays over a batch's sequences, and over their trained turns.

    See PartIndex.
    """

    lengths: np.ndarray
    targets: np.ndarray
    turn_counts: np.ndarray
    turn_ends: np.ndarray
    turn_targets: np.ndarray


class _Conversations(NamedTuple):
    """Flat arrays over the conversations of a batch."""

    kept_counts: np.ndarray
    """Sequences in which something trains."""
    masked_counts: np.ndarray
    """The other sequences."""
    has_empty_answer: np.ndarray
    """Whether an answer is nothing but its <|im_end|>."""


def encode_batches(
    batches: Iterable[Batch], tokenizer: Tokenizer, marks: Marks, *, may_be_cut: bool
) -> Iterator[EncodedBatch | Dropped | Noticed]:
    """Encode batches, leaving out the sequences in which nothing trains.

    Args:
        batches: Rendered conversations.
        tokenizer: What encodes them.
        marks: By which messages are told apart.
        may_be_cut: Whether texts may have the marks of split control tokens, at which they are cut.
    """
    unfinished: _Conversations | None = None
    for batch in batches:
        (ids, chunk_lengths), errors = _encode(batch, tokenizer, may_be_cut)
        supervised = np.fromiter((chunk.supervised for chunk in batch.chunks), bool, len(batch.chunks))
        mask = loss_mask(ids, chunk_lengths, supervised, tokenizer.end_id)
        lengths = _sums(chunk_lengths, np.array(batch.chunk_counts, np.int64))
        targets_so_far = _count_targets(ids, mask, lengths, tokenizer.eos_id)
        sequences = _measure(mask, lengths, targets_so_far)
        roles = [chunk.role for chunk in batch.chunks]
        stretches = find_stretches(ids, lengths, chunk_lengths, roles, targets_so_far, marks)
        conversations = _count(batch, sequences, unfinished)
        complete = batch.candidates[: len(batch.candidates) - batch.goes_on]
        yield from _outcomes(complete, conversations, errors)
        yield _select_trained(ids, mask, complete, sequences, stretches, conversations)
        unfinished = _Conversations(*(array[-1:] for array in conversations)) if batch.goes_on else None


def _encode(batch: Batch, tokenizer: Tokenizer, may_be_cut: bool) -> tuple[Encoded, dict[int, RowError]]:
    """Encode the chunks of a batch.

    Returns:
        The chunks' ids; and why, by position, a text of a conversation cannot be encoded: its chunks have no tokens.
    """
    texts = [chunk.text for chunk in batch.chunks]
    errors: dict[int, RowError] = {}
    try:
        return encode_safely(texts, batch.chunk_counts, tokenizer, may_be_cut=may_be_cut), errors
    except RowError:  # of some conversation: each is tried
        sequence = chunk = 0
        for position, count in enumerate(batch.sequence_counts):
            chunk_counts = batch.chunk_counts[sequence : sequence + count]
            own = slice(chunk, chunk + sum(chunk_counts))
            try:
                encode_safely(texts[own], chunk_counts, tokenizer, may_be_cut=may_be_cut)
            except RowError as error:
                errors[position] = error
                texts[own] = [""] * len(texts[own])
            sequence, chunk = sequence + count, own.stop
        return encode_safely(texts, batch.chunk_counts, tokenizer, may_be_cut=may_be_cut), errors


def _count_targets(ids: np.ndarray, mask: np.ndarray, lengths: np.ndarray, eos_id: int) -> np.ndarray:
    """Count the targets before every token, and all of them.

    int64 [tokens + 1].
    """
    starts = np.cumsum(lengths) - lengths
    is_target = find_trained_targets(mask, ids, starts[lengths > 0], eos_id)
    return np.concatenate([[0], np.cumsum(is_target, dtype=np.int64)])


def _measure(mask: np.ndarray, lengths: np.ndarray, targets_so_far: np.ndarray) -> _Sequences:
    """Count the targets of every sequence, and find where its trained turns end.

    A turn ends where the mask falls from 1 to 0, and where its sequence ends.
    """
    starts = np.cumsum(lengths) - lengths
    next_mask = np.zeros_like(mask)
    next_mask[:-1] = mask[1:]
    next_mask[(starts + lengths - 1)[lengths > 0]] = 0
    ends = np.flatnonzero(mask > next_mask) + 1
    of_sequence = np.searchsorted(starts + lengths, ends, side="left")
    return _Sequences(
        lengths,
        targets_so_far[starts + lengths] - targets_so_far[starts],
        np.bincount(of_sequence, minlength=len(starts)),
        ends - starts[of_sequence],
        targets_so_far[ends] - targets_so_far[starts[of_sequence]],
    )


def _count(batch: Batch, sequences: _Sequences, unfinished: _Conversations | None) -> _Conversations:
    """Count the sequences of every conversation.

    `unfinished` is what earlier batches held of the first one.
    """
    sequence_counts = np.array(batch.sequence_counts, np.int64)
    kept = _sums(sequences.targets > 0, sequence_counts)
    counted = _Conversations(kept, sequence_counts - kept, _have_empty_answers(sequence_counts, sequences))
    if unfinished is not None:
        for array, before in zip(counted, unfinished, strict=True):
            array[:1] += before  # of bool: or
    return counted


def _have_empty_answers(sequence_counts: np.ndarray, sequences: _Sequences) -> np.ndarray:
    """Find answers that are nothing but their <|im_end|>.

    bool [conversations]. From these, the model learns to say nothing.
    """
    counts, so_far = sequences.turn_counts, sequences.turn_targets
    before = np.concatenate([[0], so_far[:-1]])
    is_first = np.zeros(len(so_far), bool)
    firsts = (np.cumsum(counts) - counts)[counts > 0]
    is_first[firsts] = True
    of_turn = np.where(is_first, so_far, so_far - before)
    empty = np.bincount(np.repeat(np.arange(len(counts)), counts), of_turn == 1, len(counts)) > 0
    of_conversation = np.repeat(np.arange(len(sequence_counts)), sequence_counts)
    return np.bincount(of_conversation[empty], minlength=len(sequence_counts)) > 0


def _outcomes(
    complete: list[Candidate], conversations: _Conversations, errors: Mapping[int, RowError]
) -> Iterator[Dropped | Noticed]:
    for position in np.flatnonzero(conversations.has_empty_answer[: len(complete)]).tolist():
        yield Noticed(complete[position].line, EMPTY_ANSWER)
    for position in np.flatnonzero(conversations.kept_counts[: len(complete)] == 0).tolist():
        why = RowError(LeftOut.NO_ASSISTANT_TOKENS, "no token of an assistant's turn would be trained")
        one = complete[position]
        yield Dropped.because(one.line, errors.get(position, why), one.conversation.messages)


def _select_trained(
    ids: np.ndarray,
    mask: np.ndarray,
    complete: list[Candidate],
    sequences: _Sequences,
    stretches: Stretches,
    conversations: _Conversations,
) -> EncodedBatch:
    """Leave out sequences in which nothing trains, and conversations without one."""
    trains = sequences.targets > 0
    of_training = np.repeat(trains, sequences.turn_counts)
    kept = np.flatnonzero(conversations.kept_counts[: len(complete)])
    hashes = np.frombuffer(b"".join(candidate.hash for candidate in complete), "<u8").reshape(-1, 2)
    lines = np.array([candidate.line for candidate in complete], np.int64)
    modes = np.array([MODES.index(candidate.mode) for candidate in complete], np.int64)
    index = PartIndex(
        lines[kept], hashes[kept], modes[kept], conversations.kept_counts[kept], conversations.masked_counts[kept],
        sequences.lengths[trains], sequences.targets[trains], sequences.turn_counts[trains],
        sequences.turn_ends[of_training], sequences.turn_targets[of_training],
    )  # fmt: skip
    if not trains.all():
        tokens_kept = np.repeat(trains, sequences.lengths)
        ids, mask, stretches = ids[tokens_kept], mask[tokens_kept], stretches.only(trains)
    return EncodedBatch(ids, mask, index, stretches)


def _sums(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Sums of consecutive groups: `counts[i]` values each, int64. Groups may be empty."""
    so_far = np.concatenate([[0], np.cumsum(values, dtype=np.int64)])
    ends = np.cumsum(counts)
    return so_far[ends] - so_far[ends - counts]
