"""The first phase, for one part of one input file: rows -> conversations -> chunks -> tokens and mask.

A pure function of the part's content and the Tokenization settings; workers share nothing.
"""

import contextlib
import gc
import heapq
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nemotron.data_prep.chat.chunks import Chunk
from nemotron.data_prep.chat.content_hash import content_hash, sampling_rank
from nemotron.data_prep.chat.row_parser import Admission
from nemotron.data_prep.chat.special_tokens import pieces, without_forged_turns
from nemotron.data_prep.chat.template import Template
from nemotron.data_prep.config import SpecialTokensPolicy
from nemotron.data_prep.drop_reasons import LeftOut, RowError
from nemotron.data_prep.sources import Part, read_rows
from nemotron.data_prep.tokenization.encoders import Encoded
from nemotron.data_prep.tokenization.loss_mask import loss_mask, trained_targets
from nemotron.data_prep.tokenization.part_files import PartIndex, PartReceipt, PartWriter, read_receipt, write_part
from nemotron.data_prep.tokenization.text_batches import Batch, Candidate, batches, check_rendering
from nemotron.data_prep.tokenization.tokenizer import Tokenizer


@dataclass(frozen=True)
class Tokenization:
    """What all parts of a run are tokenized with. Sent to each worker once."""

    tokenizer: Tokenizer
    template: Template
    special_tokens: SpecialTokensPolicy

    def __reduce__(self) -> tuple[Any, ...]:  # a compiled template cannot be pickled: the worker compiles its own
        return _tokenization, (self.tokenizer, self.template.name, self.template.source, self.special_tokens)


def _tokenization(
    tokenizer: Tokenizer, template_name: str, template_source: str, special_tokens: SpecialTokensPolicy
) -> Tokenization:
    template = Template(template_name, template_source, tokenizer.special_tokens_map)
    return Tokenization(tokenizer, template, special_tokens)


@dataclass(frozen=True)
class TokenizeWork:
    """One part to tokenize."""

    part: Part
    output: Path
    """Path of the tokenized part, without suffix."""
    admission: Admission
    sample: int | None
    """Tokenize only so many conversations, those ranked first by `sample_seed`; more than will be needed."""
    sample_seed: int

    def is_done(self) -> bool:
        """Whether the output is there, and made from as many conversations."""
        receipt = read_receipt(self.output)
        return receipt is not None and receipt.sample == self.sample


def tokenize_part(how: Tokenization, work: TokenizeWork) -> PartReceipt:
    """Tokenize one part and write it. Raises UserError when the input cannot be read."""

    def fill(writer: PartWriter) -> None:
        candidates = _candidates(work, writer)
        if work.sample is not None:
            candidates = _sampled(candidates, work.sample, work.sample_seed, writer)
        candidates = _without_forged_turns(candidates, how, writer)
        unfinished = Unfinished()
        for number, batch in enumerate(batches(candidates, how.template, writer)):
            check_rendering(batch, how.template, at_least=1 if number == 0 else 0)
            unfinished = _append_encoded(batch, how, writer, unfinished)

    with _rare_collection():
        return write_part(work.output, fill, work.sample)


@contextlib.contextmanager
def _rare_collection() -> Iterator[None]:
    """Let Python look for reference cycles rarely: rows have none, and walking all their objects costs a twentieth."""
    before = gc.get_threshold()
    gc.set_threshold(500_000, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _candidates(work: TokenizeWork, writer: PartWriter) -> Iterator[Candidate]:
    """The conversations of a part, in order. Every other row is recorded as dropped."""
    for row in read_rows(work.part):
        writer.lines += 1
        if row.is_blank:
            continue
        writer.rows += 1
        try:
            conversation = work.admission.conversation(row)
        except RowError as error:
            writer.drop(row.line, error.reason, error.detail)
        else:
            yield Candidate(row.line, content_hash(conversation), conversation)


def _sampled(candidates: Iterable[Candidate], count: int, seed: int, writer: PartWriter) -> list[Candidate]:
    """The `count` candidates that rank first, in input order; the others are recorded as not sampled."""
    first: list[tuple[int, int, Candidate]] = []  # a heap with the last-ranked on top
    seen: Counter[bytes] = Counter()
    for candidate in candidates:
        hash = np.frombuffer(candidate.hash[:8], "<u8")
        entry = (-int(sampling_rank(hash, seed, seen[candidate.hash])[0]), -candidate.line, candidate)
        seen[candidate.hash] += 1
        lost = heapq.heappushpop(first, entry) if len(first) == count else heapq.heappush(first, entry)
        if lost is not None:
            writer.drop(lost[2].line, LeftOut.NOT_SAMPLED, f"not among the first {count} by sample_seed")
    return sorted(candidate for _, _, candidate in first)


def _without_forged_turns(
    candidates: Iterable[Candidate], how: Tokenization, writer: PartWriter
) -> Iterator[Candidate]:
    """Report control tokens written out in conversations, and treat these as the policy says."""
    for candidate in candidates:
        special_tokens = how.tokenizer.special_tokens
        token = special_tokens.first_in(candidate.conversation)
        if token is not None:
            writer.special_tokens.add(candidate.line, token)
        try:
            treated = without_forged_turns(candidate.conversation, token, special_tokens, how.special_tokens)
        except RowError as error:
            writer.drop(candidate.line, error.reason, error.detail)
        else:
            yield candidate._replace(conversation=treated)


class Unfinished(NamedTuple):
    """What earlier batches held of the conversation that a batch begins with."""

    kept: int = 0
    masked: int = 0
    """Sequences, as in PartIndex."""
    has_empty_answer: bool = False


def _append_encoded(batch: Batch, how: Tokenization, writer: PartWriter, unfinished: Unfinished) -> Unfinished:
    """Encode a batch, leave out sequences in which nothing trains, and append the rest."""
    tokenizer = how.tokenizer
    ids, chunk_lengths = _encoded(batch.chunks, how)
    supervised = np.fromiter((chunk.supervised for chunk in batch.chunks), bool, len(batch.chunks))
    mask = loss_mask(ids, chunk_lengths, supervised, tokenizer.end_id)

    lengths = _sums(chunk_lengths, np.array(batch.chunk_counts, np.int64))
    starts = np.cumsum(lengths) - lengths
    is_target = trained_targets(mask, ids, starts[lengths > 0], tokenizer.eos_id)
    targets_so_far = np.concatenate([[0], np.cumsum(is_target, dtype=np.int64)])
    targets = targets_so_far[starts + lengths] - targets_so_far[starts]
    trains = targets > 0
    turn_counts, turn_ends, turn_targets = _turns(mask, targets_so_far, starts, lengths)
    # From sequences to conversations: those left without a sequence are dropped.
    sequence_counts = np.array(batch.sequence_counts, np.int64)
    kept_counts = _sums(trains, sequence_counts)
    masked_counts = sequence_counts - kept_counts
    has_empty_answer = _have_empty_answers(batch, turn_counts, turn_targets)
    kept_counts[0] += unfinished.kept
    masked_counts[0] += unfinished.masked
    has_empty_answer[0] |= unfinished.has_empty_answer
    complete = batch.candidates[: len(batch.candidates) - batch.goes_on]
    for candidate, kept_count, has_empty in zip(complete, kept_counts, has_empty_answer, strict=False):
        if has_empty:
            writer.empty_answers.add(candidate.line, "")
        if kept_count == 0:
            why = "no token of an assistant's turn would be trained"
            writer.drop(candidate.line, LeftOut.NO_ASSISTANT_TOKENS, why)
    kept = np.flatnonzero(kept_counts[: len(complete)])
    hashes = np.frombuffer(b"".join(candidate.hash for candidate in batch.candidates), "<u8").reshape(-1, 2)
    lines = np.array([candidate.line for candidate in batch.candidates], np.int64)
    of_training = np.repeat(trains, turn_counts)
    index = PartIndex(
        lines[kept], hashes[kept], kept_counts[kept], masked_counts[kept],
        lengths[trains], targets[trains], turn_counts[trains], turn_ends[of_training], turn_targets[of_training],
    )  # fmt: skip
    if not trains.all():
        tokens_kept = np.repeat(trains, lengths)
        ids, mask = ids[tokens_kept], mask[tokens_kept]
    writer.append(ids, mask, index)
    if not batch.goes_on:
        return Unfinished()
    return Unfinished(int(kept_counts[-1]), int(masked_counts[-1]), bool(has_empty_answer[-1]))


def _encoded(chunks: Sequence[Chunk], how: Tokenization) -> Encoded:
    """The ids of all chunks, and how many each has."""
    texts = [chunk.text for chunk in chunks]
    if how.special_tokens != "split":
        return how.tokenizer.encode(texts)
    cut = [pieces(text) for text in texts]
    ids, piece_lengths = how.tokenizer.encode(list(itertools.chain.from_iterable(cut)))
    return Encoded(ids, _sums(piece_lengths, np.fromiter(map(len, cut), np.int64, len(cut))))


def _have_empty_answers(batch: Batch, turn_counts: np.ndarray, turn_targets: np.ndarray) -> np.ndarray:
    """bool [conversations]: whether an answer is nothing but its <|im_end|>: the model learns to say nothing."""
    before = np.concatenate([[0], turn_targets[:-1]])
    is_first = np.zeros(len(turn_targets), bool)
    firsts = (np.cumsum(turn_counts) - turn_counts)[turn_counts > 0]
    is_first[firsts] = True
    of_turn = np.where(is_first, turn_targets, turn_targets - before)
    empty = np.bincount(np.repeat(np.arange(len(turn_counts)), turn_counts), of_turn == 1, len(turn_counts)) > 0
    of_conversation = np.repeat(np.arange(len(batch.candidates)), batch.sequence_counts)
    return np.bincount(of_conversation[empty], minlength=len(batch.candidates)) > 0


def _turns(
    mask: np.ndarray, targets_so_far: np.ndarray, starts: np.ndarray, lengths: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where the trained turns end: turns per sequence, and per turn its end and the targets of the sequence so far.

    A turn ends where the mask falls from 1 to 0, and where its sequence ends.
    """
    next_mask = np.zeros_like(mask)
    next_mask[:-1] = mask[1:]
    next_mask[(starts + lengths - 1)[lengths > 0]] = 0
    ends = np.flatnonzero(mask > next_mask) + 1
    of_sequence = np.searchsorted(starts + lengths, ends, side="left")
    counts = np.bincount(of_sequence, minlength=len(starts))
    return counts, ends - starts[of_sequence], targets_so_far[ends] - targets_so_far[starts[of_sequence]]


def _sums(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Sums of consecutive groups: `counts[i]` values each, int64. Groups may be empty."""
    so_far = np.concatenate([[0], np.cumsum(values, dtype=np.int64)])
    ends = np.cumsum(counts)
    return so_far[ends] - so_far[ends - counts]
