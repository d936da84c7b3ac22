"""Tokenize one part of an input file, from rows to tokens and mask.

The result depends only on the part's content and the settings; workers share nothing.
"""

import contextlib
import heapq
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from nemotron.data_prep.chat.content_hash import content_hash, sampling_rank
from nemotron.data_prep.chat.reasoning import any_reasoning, turns_of, turns_to_train
from nemotron.data_prep.chat.special_tokens import SpecialTokens, apply_policy
from nemotron.data_prep.chat.template import Template
from nemotron.data_prep.collector import collect_rarely
from nemotron.data_prep.config import SpecialTokensPolicy
from nemotron.data_prep.dialects.admission import Admission
from nemotron.data_prep.drop_reasons import LeftOut, RowError
from nemotron.data_prep.notes import Note, NoteKind
from nemotron.data_prep.plain_rows.read import PlainRows
from nemotron.data_prep.reasoning_modes.choice import ReasoningControl, steer
from nemotron.data_prep.reasoning_modes.row import list_unknown_kwargs, read_own_mode
from nemotron.data_prep.reasoning_modes.thoughts import TokenBorders
from nemotron.data_prep.sources import Part, Row, read_rows
from nemotron.data_prep.token_roles.marks import Marks, find_marks
from nemotron.data_prep.tokenization.encoded_batches import encode_batches
from nemotron.data_prep.tokenization.outcomes import Dropped, Noticed
from nemotron.data_prep.tokenization.part_files import PartReceipt, PartWriter, read_receipt, write_part
from nemotron.data_prep.tokenization.safe_encoding import failures_cost_their_row
from nemotron.data_prep.tokenization.text_batches import Candidate, RenderingCheck, render_batches
from nemotron.data_prep.tokenizer.token_borders import DefinedBorders
from nemotron.data_prep.tokenizer.tokenizer import Tokenizer

NOTHING_TO_GUARD = contextlib.nullcontext()


@dataclass(frozen=True)
class Tokenization:
    """What all parts of a run are tokenized with. It is sent to each worker once."""

    tokenizer: Tokenizer
    template: Template
    special_tokens: SpecialTokensPolicy

    @cached_property
    def rendering_check(self) -> RenderingCheck:
        """Compares renderings with those of Jinja; one for all parts of a process."""
        return RenderingCheck(self.template)

    @cached_property
    def marks(self) -> Marks:
        """The tokens that separate messages; every process finds them once."""
        return find_marks(self.tokenizer.encode_chunks, self.tokenizer.vocab_size, self.template.source)


@dataclass(frozen=True)
class TokenizeWork:
    """What is tokenized together: one part of a file, or several small files."""

    parts: tuple[Part, ...]
    output: Path
    """Path of the tokenized part, without suffix."""
    admission: Admission
    sample: int | None
    """Tokenize only this many conversations, ranked by `sample_seed`; more than will be needed."""
    sample_seed: int
    control: ReasoningControl = ReasoningControl()  # noqa: RUF009 (frozen)
    """The reasoning settings of its conversations."""

    @property
    def bytes(self) -> int:
        """Estimate how many bytes there are to read."""
        return sum(part.bytes for part in self.parts)

    def find_receipt(self) -> PartReceipt | None:
        """Return the receipt of the output.

        It is None if it is missing, or was made from another number of conversations.
        """
        receipt = read_receipt(self.output)
        return receipt if receipt is not None and receipt.sample == self.sample else None


def tokenize_part(how: Tokenization, work: TokenizeWork) -> PartReceipt:
    """Tokenize parts, and write them as one.

    Each step takes what the step before kept, and the writer counts what a step drops or notices.

    Raises:
        UserError: The input cannot be read.
    """

    def fill(writer: PartWriter) -> None:
        plain = PlainRows(work.admission, work.control, how.template, how.tokenizer.special_tokens)
        candidates = writer.kept(admit(writer.rows_of(map(read_rows, work.parts)), work.admission, plain))
        if work.sample is not None:
            candidates = writer.kept(take_first(candidates, work.sample, work.sample_seed))
        candidates = writer.kept(treat_special_tokens(candidates, how.tokenizer.special_tokens, how.special_tokens))
        borders = DefinedBorders(how.tokenizer.definition, budget.cut) if (budget := work.control.budget) else None
        candidates = writer.kept(choose_modes(candidates, work.control, borders))
        rendered = writer.kept(render_batches(candidates, how.template, may_share=how.tokenizer.is_cut_before_turns))
        checked = how.rendering_check.check(rendered)
        for batch in writer.kept(encode_batches(checked, how.tokenizer, how.marks)):
            writer.append(*batch)

    with collect_rarely():
        return write_part(work.output, fill, work.sample)


def admit(
    rows: Iterable[Row], admission: Admission, plain_rows: PlainRows | None = None
) -> Iterator[Candidate | Dropped | Noticed]:
    """Parse rows into conversations, in order; plain ones are rendered at once."""
    for row in rows:
        if plain_rows is not None and (plain := plain_rows.read(row)) is not None:
            yield Candidate(row.line, plain.hash, plain.conversation, plain.turns, mode=plain.mode, texts=plain.texts)
            continue
        try:
            conversation = admission.conversation(row)
            own = read_own_mode(row.value)
        except RowError as error:
            yield Dropped.because(row.line, error)
            continue
        for note in conversation.notes:
            yield Noticed(row.line, note)
        for key in list_unknown_kwargs(row.value):
            yield Noticed(row.line, Note(NoteKind.TEMPLATE_KWARGS, key))
        reasons = any_reasoning(conversation.messages)
        turns = turns_of(conversation.messages, per_user=reasons)
        yield Candidate(row.line, content_hash(conversation, turns), conversation, turns, reasons, own)


def take_first(candidates: Iterable[Candidate], count: int, seed: int) -> Iterator[Candidate | Dropped]:
    """Keep the `count` candidates that rank first under `seed`, in input order."""
    first: list[tuple[int, int, Candidate]] = []  # a heap with the last-ranked on top
    seen: Counter[bytes] = Counter()
    for candidate in candidates:
        hash = np.frombuffer(candidate.hash[:8], "<u8")
        entry = (-int(sampling_rank(hash, seed, seen[candidate.hash])[0]), -candidate.line, candidate)
        seen[candidate.hash] += 1
        lost = heapq.heappushpop(first, entry) if len(first) == count else heapq.heappush(first, entry)
        if lost is not None:
            yield Dropped(lost[2].line, LeftOut.NOT_SAMPLED, f"not among the first {count} by sample_seed")
    yield from sorted((candidate for _, _, candidate in first), key=lambda candidate: candidate.line)


def treat_special_tokens(
    candidates: Iterable[Candidate], special_tokens: SpecialTokens, policy: SpecialTokensPolicy
) -> Iterator[Candidate | Dropped | Noticed]:
    """Apply the policy for control tokens that are written out in conversations."""
    for candidate in candidates:
        if candidate.texts is not None:
            yield candidate  # it has none
            continue
        token = special_tokens.first_in(candidate.conversation)
        if token is None:
            yield candidate
            continue
        yield Noticed(candidate.line, Note(NoteKind.SPECIAL_TOKENS, token))
        try:
            treated = apply_policy(candidate.conversation, token, special_tokens, policy)
        except RowError as error:
            yield Dropped.because(candidate.line, error)
        else:
            if treated is not candidate.conversation:
                candidate = candidate._replace(
                    conversation=treated, turns=turns_to_train(treated.messages), reasons=None, is_cut=True
                )
            yield candidate


def choose_modes(
    candidates: Iterable[Candidate], control: ReasoningControl, borders: TokenBorders | None
) -> Iterator[Candidate | Dropped]:
    """Choose the reasoning mode of every conversation, and change it accordingly."""
    for candidate in candidates:
        is_settled = candidate.reasons is False and candidate.own is None and not control.low_effort
        if is_settled or candidate.texts is not None:
            yield candidate  # there is nothing to choose
            continue
        try:
            # Without a budget nothing is encoded here, and a context for each row takes time.
            with NOTHING_TO_GUARD if borders is None else failures_cost_their_row():
                steered = steer(
                    candidate.conversation, candidate.hash, candidate.own, control, borders, candidate.reasons
                )
        except RowError as error:
            yield Dropped.because(candidate.line, error)
            continue
        if steered.conversation is not candidate.conversation or steered.options:
            keep_history = not steered.options.get("truncate_history_thinking", True)
            turns = turns_to_train(steered.conversation.messages, keep_history)
            candidate = candidate._replace(conversation=steered.conversation, turns=turns, options=steered.options)
        yield candidate if steered.mode is candidate.mode else candidate._replace(mode=steered.mode)
