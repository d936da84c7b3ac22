"""Batches of text as token ids, their loss mask, and their trained pieces."""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from nemotron.data_prep.drop_reasons import LeftOut, RowError
from nemotron.data_prep.notes import Note, NoteKind
from nemotron.data_prep.part_index import EMPTY_INDEX, PartIndex
from nemotron.data_prep.reasoning_modes.mode import MODES
from nemotron.data_prep.token_roles.marks import Marks
from nemotron.data_prep.token_roles.ones import Ones
from nemotron.data_prep.token_roles.stretches import Stretches, find_stretches
from nemotron.data_prep.tokenization.loss_mask import find_trained_targets, loss_mask
from nemotron.data_prep.tokenization.outcomes import Dropped, Noticed
from nemotron.data_prep.tokenization.safe_encoding import encode_safely
from nemotron.data_prep.tokenization.text_batches import Batch, Candidate
from nemotron.data_prep.tokenizer.encoders import Encoded
from nemotron.data_prep.tokenizer.tokenizer import Tokenizer

EMPTY_ANSWER = Note(NoteKind.EMPTY_ANSWER)


class EncodedBatch(NamedTuple):
    """The sequences of a batch that are kept, and who says their tokens."""

    ids: np.ndarray
    """int32 [tokens]: for each conversation the shared history, then the rest of each sequence."""
    mask: np.ndarray
    """uint8 [tokens], not yet rolled."""
    conversations: PartIndex
    """The conversations, and their sequences."""
    stretches: Stretches
    """Who says which tokens."""


class _Pieces(NamedTuple):
    """The consecutive pieces of a batch.

    For each conversation these are the history, usually empty, and its sequences.
    """

    is_history: np.ndarray
    """bool [pieces]."""
    lengths: np.ndarray
    """int64 [pieces], in tokens."""
    shared_lengths: np.ndarray
    """int64 [sequences]: tokens of the history that a sequence begins with."""


class _Sequences(NamedTuple):
    """Flat arrays over a batch's sequences and their trained turns; see PartIndex."""

    lengths: np.ndarray
    targets: np.ndarray
    turn_counts: np.ndarray
    turn_ends: np.ndarray
    turn_targets: np.ndarray


class _Conversations(NamedTuple):
    """Flat arrays over the conversations of a batch."""

    kept_counts: np.ndarray
    """Number of sequences in which something trains."""
    masked_counts: np.ndarray
    """Number of other sequences."""
    has_empty_answer: np.ndarray
    """Whether an answer is only its <|im_end|>."""


def encode_batches(
    batches: Iterable[Batch], tokenizer: Tokenizer, marks: Marks
) -> Iterator[EncodedBatch | Dropped | Noticed]:
    """Encode batches, leaving out the sequences in which nothing trains.

    Args:
        batches: Rendered conversations.
        tokenizer: What encodes them.
        marks: The tokens that separate messages.
    """
    for batch in batches:
        (ids, chunk_lengths), errors = _encode(batch, tokenizer)
        mask = loss_mask(ids, chunk_lengths, np.array(batch.supervised, bool), tokenizer.end_id)
        pieces = _find_pieces(batch, chunk_lengths)
        targets = _find_targets(ids, mask, pieces.lengths, tokenizer.eos_id)
        sequences = _measure(mask, pieces, targets)
        stretches = find_stretches(ids, pieces.lengths, chunk_lengths, batch.roles, targets, marks)
        conversations = _count(batch, sequences)
        yield from _outcomes(batch.candidates, conversations, errors)
        yield _select_trained(
            EncodedBatch(ids, mask, EMPTY_INDEX, stretches), batch.candidates, pieces, sequences, conversations
        )


def _find_pieces(batch: Batch, chunk_lengths: np.ndarray) -> _Pieces:
    """Find which chunks belong together, and how many tokens they are."""
    history_counts, sequence_counts = (np.array(counts) for counts in (batch.history_counts, batch.sequence_counts))
    is_history = np.zeros(len(history_counts) + len(batch.chunk_counts), bool)
    is_history[np.cumsum(sequence_counts + 1) - sequence_counts - 1] = True
    chunk_counts = np.empty(len(is_history), np.int64)
    chunk_counts[is_history], chunk_counts[~is_history] = history_counts, batch.chunk_counts
    so_far = np.concatenate([[0], np.cumsum(chunk_lengths)])
    ends = np.cumsum(chunk_counts)
    firsts = np.repeat((ends - chunk_counts)[is_history], sequence_counts)
    shared_lengths = so_far[firsts + np.array(batch.shared_counts, np.int64)] - so_far[firsts]
    return _Pieces(is_history, so_far[ends] - so_far[ends - chunk_counts], shared_lengths)


def _encode(batch: Batch, tokenizer: Tokenizer) -> tuple[Encoded, dict[int, RowError]]:
    """Encode the chunks of a batch.

    Returns:
        The chunks' ids; and by a conversation's position, why one of its texts cannot be encoded. Its chunks have no
        tokens then.
    """
    texts = batch.texts
    errors: dict[int, RowError] = {}
    try:
        return encode_safely(texts, batch.chunk_counts, tokenizer, may_be_cut=batch.may_be_cut), errors
    except RowError:  # from one of the conversations, so each is tried separately
        texts = [*texts]
        sequence = chunk = 0
        for position, (history, count) in enumerate(zip(batch.history_counts, batch.sequence_counts, strict=True)):
            chunk_counts = batch.chunk_counts[sequence : sequence + count]
            own = slice(chunk, chunk + history + sum(chunk_counts))
            try:
                encode_safely(texts[own], chunk_counts, tokenizer, may_be_cut=batch.may_be_cut)
            except RowError as error:
                errors[position] = error
                texts[own] = [""] * len(texts[own])
            sequence, chunk = sequence + count, own.stop
        return encode_safely(texts, batch.chunk_counts, tokenizer, may_be_cut=batch.may_be_cut), errors


def _find_targets(ids: np.ndarray, mask: np.ndarray, lengths: np.ndarray, eos_id: int) -> Ones:
    """Find the tokens that the trainer learns to predict."""
    starts = np.cumsum(lengths) - lengths
    return Ones(find_trained_targets(mask, ids, starts[lengths > 0], eos_id))


def _measure(mask: np.ndarray, pieces: _Pieces, targets: Ones) -> _Sequences:
    """Count the targets of every sequence, and find where its trained turns end.

    A turn ends where the mask falls from 1 to 0, and where its sequence ends. History has none.
    """
    is_own, lengths = ~pieces.is_history, pieces.lengths
    starts = np.cumsum(lengths) - lengths
    next_mask = np.zeros_like(mask)
    next_mask[:-1] = mask[1:]
    next_mask[(starts + lengths - 1)[lengths > 0]] = 0
    ends = np.flatnonzero(mask > next_mask) + 1
    of_piece = np.searchsorted(starts + lengths, ends, side="left")
    turn_counts = np.bincount(of_piece, minlength=len(starts))[is_own]
    before = targets.before(starts)
    return _Sequences(
        lengths[is_own] + pieces.shared_lengths,
        (targets.before(starts + lengths) - before)[is_own],
        turn_counts,
        ends - starts[of_piece] + np.repeat(pieces.shared_lengths, turn_counts),
        targets.before(ends) - before[of_piece],
    )


def _count(batch: Batch, sequences: _Sequences) -> _Conversations:
    """Count the sequences of every conversation."""
    sequence_counts = np.array(batch.sequence_counts, np.int64)
    kept = _sums(sequences.targets > 0, sequence_counts)
    return _Conversations(kept, sequence_counts - kept, _have_empty_answers(sequence_counts, sequences))


def _have_empty_answers(sequence_counts: np.ndarray, sequences: _Sequences) -> np.ndarray:
    """Find answers that consist only of their <|im_end|>.

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
    candidates: list[Candidate], conversations: _Conversations, errors: Mapping[int, RowError]
) -> Iterator[Dropped | Noticed]:
    for position in np.flatnonzero(conversations.has_empty_answer).tolist():
        yield Noticed(candidates[position].line, EMPTY_ANSWER)
    for position in np.flatnonzero(conversations.kept_counts == 0).tolist():
        why = RowError(LeftOut.NO_ASSISTANT_TOKENS, "no token of an assistant's turn would be trained")
        one = candidates[position]
        yield Dropped.because(one.line, errors.get(position, why), one.conversation.messages)


def _select_trained(
    batch: EncodedBatch,
    candidates: list[Candidate],
    pieces: _Pieces,
    sequences: _Sequences,
    conversations: _Conversations,
) -> EncodedBatch:
    """Leave out sequences in which nothing trains, and conversations without one."""
    trains, is_kept = sequences.targets > 0, conversations.kept_counts > 0
    of_training = np.repeat(trains, sequences.turn_counts)
    hashes = np.frombuffer(b"".join(candidate.hash for candidate in candidates), "<u8").reshape(-1, 2)
    lines = np.array([candidate.line for candidate in candidates], np.int64)
    modes = np.array([MODES.index(candidate.mode) for candidate in candidates], np.int64)
    index = PartIndex(
        lines[is_kept], hashes[is_kept], modes[is_kept], conversations.kept_counts[is_kept],
        conversations.masked_counts[is_kept], pieces.lengths[pieces.is_history][is_kept],
        sequences.lengths[trains], pieces.shared_lengths[trains], sequences.targets[trains],
        sequences.turn_counts[trains], sequences.turn_ends[of_training], sequences.turn_targets[of_training],
    )  # fmt: skip
    if trains.all():
        return batch._replace(conversations=index)
    stays = np.empty(len(pieces.is_history), bool)
    stays[pieces.is_history], stays[~pieces.is_history] = is_kept, trains
    tokens = np.repeat(stays, pieces.lengths)
    return EncodedBatch(batch.ids[tokens], batch.mask[tokens], index, batch.stretches.only(tokens))


def _sums(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Sums of consecutive groups: `counts[i]` values each, int64. Groups may be empty."""
    so_far = np.concatenate([[0], np.cumsum(values, dtype=np.int64)])
    ends = np.cumsum(counts)
    return so_far[ends] - so_far[ends - counts]
