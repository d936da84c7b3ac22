"""Conversations as batches of rendered text: what is encoded at once.

A batch holds about BATCH_CHARACTERS of text, whatever the conversations are like. One with reasoning in many user turns
has as many sequences, each with all the history before it, which is quadratically much text: it goes on in the next
batch.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from nemotron.data_prep.chat.chunks import Chunk, each_sequence, first_difference
from nemotron.data_prep.chat.conversation import Conversation
from nemotron.data_prep.chat.reasoning import Turn
from nemotron.data_prep.chat.template import RenderOptions, Template
from nemotron.data_prep.drop_reasons import RowError
from nemotron.data_prep.reasoning_modes.mode import Mode
from nemotron.data_prep.tokenization.outcomes import Dropped
from nemotron.errors import UserError

BATCH_CHARACTERS = 4_000_000
"""Text encoded at once: enough to make the cost per call vanish, little enough to bound memory."""
CHECKED = 4
"""Conversations of each batch that are rendered by Jinja too, for comparison."""
CHECKED_CHARACTERS = 100_000
"""The most text of one of them, all its sequences together: a part of nothing but long ones would be rendered twice."""


class Candidate(NamedTuple):
    """A conversation that passed parsing and the filter."""

    line: int
    hash: bytes
    conversation: Conversation
    turns: list[Turn]
    """Its training sequences."""
    reasons: bool | None = None
    """Whether an answer has reasoning; None: not known."""
    own: tuple[Mode, RenderOptions] | None = None
    """The reasoning mode that its row says."""
    mode: Mode = Mode.NO_REASONING
    options: RenderOptions = {}  # noqa: RUF012 (never changed)
    """What the template gets in that mode."""


@dataclass
class Batch:
    """Conversations to encode together.

    `chunks` runs over all sequences of all conversations.
    """

    candidates: list[Candidate] = field(default_factory=list)
    sequence_counts: list[int] = field(default_factory=list)
    chunk_counts: list[int] = field(default_factory=list)
    chunks: list[Chunk] = field(default_factory=list)
    characters: list[int] = field(default_factory=list)
    """Of each conversation."""
    goes_on: bool = False
    """Whether further sequences of the last conversation are in the next batch, of which it is the first."""

    def begin(self, candidate: Candidate) -> None:
        """Add a conversation, without sequences."""
        self.candidates.append(candidate)
        self.sequence_counts.append(0)
        self.characters.append(0)

    def add(self, sequence: list[Chunk]) -> None:
        """Add a sequence of the last conversation."""
        self.sequence_counts[-1] += 1
        self.chunk_counts.append(len(sequence))
        self.chunks.extend(sequence)
        self.characters[-1] += sum(len(chunk.text) for chunk in sequence)


def render_batches(candidates: Iterable[Candidate], template: Template) -> Iterator[Batch | Dropped]:
    """Render conversations into batches; those that cannot be rendered are dropped."""
    batch, characters = Batch(), 0
    for candidate in candidates:
        rendered = each_sequence(candidate.conversation, template, candidate.turns, **candidate.options)
        try:
            sequence = next(rendered)  # here or never: what cannot be rendered fails at its first sequence
        except RowError as error:
            yield Dropped.because(candidate.line, error)
            continue
        before = characters
        batch.begin(candidate)
        batch.add(sequence)
        for sequence in rendered:
            if before + batch.characters[-1] >= BATCH_CHARACTERS:
                batch.goes_on = True
                yield batch
                batch, before = Batch(), 0
                batch.begin(candidate)
            batch.add(sequence)
        characters = before + batch.characters[-1]
        if characters >= BATCH_CHARACTERS:
            yield batch
            batch, characters = Batch(), 0
    if batch.candidates:
        yield batch


def check_batches(batches: Iterable[Batch], template: Template) -> Iterator[Batch]:
    """Hand batches on, checking a few conversations of each.

    Of the first at least one is checked (`check_rendering`).
    """
    for number, batch in enumerate(batches):
        check_rendering(batch, template, at_least=1 if number == 0 else 0)
        yield batch


def check_rendering(batch: Batch, template: Template, at_least: int) -> None:
    """Compare a few conversations of the batch with what Jinja renders.

    The bundled format is rendered without it.

    `at_least` so many, however long they are. Raises UserError at a difference: no data is better than data that
    inference will never look like.
    """
    if not template.is_nemotron3:
        return
    of_size = zip(batch.candidates, batch.characters, strict=True)
    few = [candidate for candidate, characters in of_size if characters <= CHECKED_CHARACTERS][:CHECKED]
    few = few if len(few) >= at_least else batch.candidates[:at_least]
    try:
        differences = (first_difference(template, [one.conversation], **one.options) for one in few)
        difference = next(filter(None, differences), None)
    except RowError as error:
        difference = str(error)
    if difference is not None:
        raise UserError(
            f"The chat template {template.name} renders differently from its fast form: {difference}.",
            "This is a fault of nemotron: please report it with this message.",
        )
