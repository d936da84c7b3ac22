"""Render conversations to batches of text that are encoded at once.

A batch holds about BATCH_CHARACTERS of text, or one long conversation. A conversation with reasoning in many user turns
has as many sequences, each with all the history before it. With the bundled template, the batch has that history once.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from nemotron.data_prep.chat.chunks import describe_difference, first_difference, render
from nemotron.data_prep.chat.conversation import Conversation
from nemotron.data_prep.chat.reasoning import Turn
from nemotron.data_prep.chat.rendered import Rendered, Sequence
from nemotron.data_prep.chat.template import RenderOptions, Template
from nemotron.data_prep.drop_reasons import RowError
from nemotron.data_prep.reasoning_modes.mode import Mode
from nemotron.data_prep.tokenization.outcomes import Dropped
from nemotron.errors import UserError

BATCH_CHARACTERS = 4_000_000
"""Characters encoded at once: enough to make the cost per call negligible, and few enough to bound memory."""
CHECKED = 4
"""Conversations per BATCH_CHARACTERS of text that are also rendered by Jinja, for comparison."""
CHECKED_CHARACTERS = 100_000
"""The longest of them: without this limit, a part of only long conversations would be rendered twice."""


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
    """The reasoning mode that its row sets."""
    mode: Mode = Mode.NO_REASONING
    options: RenderOptions = {}  # noqa: RUF012 (never changed)
    """Options for the template in that mode."""
    is_cut: bool = False
    """Whether its texts have the marks of split control tokens."""
    texts: list[str] | None = None
    """The chunks of a plain row, which is rendered already (plain_rows/)."""


@dataclass
class Batch:
    """Conversations to encode together.

    The chunks of a conversation are the pieces of the history that its sequences share, then those of each sequence.
    """

    candidates: list[Candidate] = field(default_factory=list)
    history_counts: list[int] = field(default_factory=list)
    """[conversations]: number of pieces of history."""
    sequence_counts: list[int] = field(default_factory=list)
    """[conversations]: number of sequences."""
    characters: list[int] = field(default_factory=list)
    """[conversations]: characters of all texts."""
    shared_counts: list[int] = field(default_factory=list)
    """[sequences]: number of pieces of the history at its beginning."""
    chunk_counts: list[int] = field(default_factory=list)
    """[sequences]: number of its own chunks."""
    roles: list[str] = field(default_factory=list)
    """[chunks]: the role of the message."""
    texts: list[str] = field(default_factory=list)
    """[chunks]"""
    supervised: list[bool] = field(default_factory=list)
    """[chunks]: whether it trains."""
    may_be_cut: bool = False
    """Whether texts may have the marks of split control tokens, at which they are cut."""

    def add(self, candidate: Candidate, history: list[str], sequences: list[Sequence]) -> None:
        """Add a conversation."""
        first = len(self.texts)
        self.may_be_cut = self.may_be_cut or candidate.is_cut
        self.texts += history
        self.roles += ["system", *["user"] * len(history)][: len(history)]
        self.supervised += [False] * len(history)
        for shared, chunks in sequences:
            self.shared_counts.append(shared)
            self.chunk_counts.append(len(chunks))
            roles, texts, supervised = zip(*chunks, strict=True)
            self.roles += roles
            self.texts += texts
            self.supervised += supervised
        self.candidates.append(candidate)
        self.history_counts.append(len(history))
        self.sequence_counts.append(len(sequences))
        self.characters.append(sum(map(len, self.texts[first:])))

    def add_plain(self, candidate: Candidate, texts: list[str]) -> None:
        """Add a plain row."""
        turns = len(texts) // 2
        self.texts += texts
        self.roles += ["system"] + ["user", "assistant"] * turns
        self.supervised += [False] + [False, True] * turns
        self.candidates.append(candidate)
        self.history_counts.append(0)
        self.sequence_counts.append(1)
        self.shared_counts.append(0)
        self.chunk_counts.append(len(texts))
        self.characters.append(sum(map(len, texts)))


def render_batches(
    candidates: Iterable[Candidate], template: Template, *, may_share: bool
) -> Iterator[Batch | Dropped]:
    """Render conversations into batches; those that cannot be rendered are dropped.

    Args:
        candidates: The conversations.
        template: Renders them.
        may_share: Whether a text may be encoded in pieces that begin with a turn.
    """
    batch, characters = Batch(), 0
    for candidate in candidates:
        if candidate.texts is not None:
            batch.add_plain(candidate, candidate.texts)
        else:
            try:
                rendered = render(candidate.conversation, template, candidate.turns, **candidate.options)
            except RowError as error:
                yield Dropped.because(candidate.line, error)
                continue
            if rendered.history and not may_share:
                rendered = Rendered([], [Sequence(0, chunks) for chunks in rendered.whole()])
            batch.add(candidate, *rendered)
        characters += batch.characters[-1]
        if characters >= BATCH_CHARACTERS:
            yield batch
            batch, characters = Batch(), 0
    if batch.candidates:
        yield batch


class RenderingCheck:
    """Compares the renderings of some conversations with those of Jinja.

    The bundled format is rendered without Jinja. The first conversation is compared, however long it is, and then
    CHECKED per batch: a thousand small files are a few batches.
    """

    def __init__(self, template: Template) -> None:
        self._template = template
        self._due = 1.0
        """Conversations to compare."""
        self._has_compared = False

    def check(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Pass batches on, after comparing a few of their conversations.

        Raises:
            UserError: There is a difference. Data that inference never produces is worse than no data.
        """
        for batch in batches:
            if self._template.is_nemotron3:
                self._due += CHECKED * sum(batch.characters) / BATCH_CHARACTERS
                _compare(self._choose(batch), self._template)
            yield batch

    def _choose(self, batch: Batch) -> list[Candidate]:
        count, self._due = int(self._due), self._due % 1
        of_size = zip(batch.candidates, batch.characters, strict=True)
        few = [candidate for candidate, characters in of_size if characters <= CHECKED_CHARACTERS][:count]
        few = few if few or self._has_compared else batch.candidates[:1]
        self._has_compared = True
        return few


def _compare(few: list[Candidate], template: Template) -> None:
    try:
        difference = next(filter(None, (_find_difference(one, template) for one in few)), None)
    except RowError as error:
        difference = str(error)
    if difference is not None:
        raise UserError(
            f"The chat template {template.name} renders differently from its fast form: {difference}.",
            "This is a bug in nemotron; please report it with this message.",
        )


def _find_difference(one: Candidate, template: Template) -> str | None:
    if one.texts is None:
        return first_difference(template, [one.conversation], **one.options)
    return describe_difference("".join(one.texts), template.render(one.conversation.messages, None))
