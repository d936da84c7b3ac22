"""Note what is worth knowing about rows, so that nothing is lost silently.

For each kind and name of a Note, the rows are counted and the first ones located: in the receipt of a part, then per
dataset in metadata.json, the report and the summary.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from nemotron.data_prep.drop_reasons import Described


class NoteKind(Described):
    """The kind of a note. metadata.json shows the value."""

    SPECIAL_TOKENS = "special_tokens", "a control token is written out in the text (special_tokens_in_content)"
    TEMPLATE_KWARGS = "template_kwargs", "a key of chat_template_kwargs that steers no reasoning is ignored"
    EMPTY_ANSWER = "empty_answer", "an answer is empty: the model learns to say nothing"
    UNUSED_ROW_FIELD = "unused_row_field", "a field of the row is not used (strict_fields refuses such rows)"
    UNUSED_MESSAGE_FIELD = "unused_message_field", "a field of a message is not used (strict_fields refuses such rows)"
    CONSECUTIVE_ANSWERS = "consecutive_answers", "assistant messages follow each other: each is a turn of its own"
    JOINED_TURN = "joined_turn", "an assistant's turn given in pieces is trained as one"
    REORDERED_RESULTS = "reordered_results", "results of tools are put in the order of their calls"
    FILLED_NULLS = "filled_nulls", "nulls that a table filled in count as absent"
    BLANK_THOUGHT = "blank_thought", "a thought without text is left out"
    OPENED_THOUGHT = "opened_thought", "a thought that only ends gets its <think>"
    UNCLOSED_THOUGHT = "unclosed_thought", "a thought begins and never ends: it trains as it is"
    REPEATED_THOUGHT = "repeated_thought", "a thought is given twice and trained once"
    TAGGED_REASONING = "tagged_reasoning", "reasoning carries think tags of its own, which are left out"
    THINK_TAG_IN_TEXT = "think_tag_in_text", "a think tag in the middle of an answer is left as it is"
    OTHER_THOUGHT_TAGS = "other_thought_tags", "a thought in the tags of another model trains as text"
    CALL_IN_TEXT = "call_in_text", "a tool call written out in the text, in another format, trains as text"
    LANGUAGE = "language", "the language, where the blend checks a dataset's languages"
    TOOL_USE = "tool_use", "whether tools are called, where the blend checks a dataset's tool_calls"
    REFUSAL_AS_CONTENT = "refusal_as_content", "a refusal next to an empty content is the answer"


OTHERS = "(others)"
"""Replaces the names of a kind that are not counted separately."""


class Note(NamedTuple):
    """Something noticed in a row; a row has at most one Note of each kind and name."""

    kind: NoteKind
    name: str = ""
    """Which token or field; empty if the kind says everything."""


def describe_kind(kind: str) -> str:
    """Explain a kind of note in one line."""
    return NoteKind(kind).description


EXAMPLES = 3
"""How many rows of a part, and of a dataset, are listed with their lines."""
MOST_NAMES = 100
"""The most names of one kind of note in a part: names come from the data, and could be as many as its rows."""


@dataclass
class NoteCount:
    """In how many rows of a part a note was made, dropped rows included."""

    kind: str
    name: str
    rows: int = 0
    lines: list[int] = field(default_factory=list)
    """Lines in the part of the first EXAMPLES."""


class NoteCounter:
    """Counts the notes of a part, by kind and name."""

    def __init__(self) -> None:
        self._counts: dict[Note, NoteCount] = {}
        self._names: Counter[str] = Counter()

    def add(self, line: int, note: Note) -> None:
        """Count a note about the row of a line."""
        if note not in self._counts:
            if self._names[note.kind] >= MOST_NAMES:
                note = Note(note.kind, OTHERS)
            self._names[note.kind] += 1
            self._counts.setdefault(note, NoteCount(str(note.kind), note.name))
        count = self._counts[note]
        count.rows += 1
        if len(count.lines) < EXAMPLES:
            count.lines.append(line)

    def counts(self) -> list[NoteCount]:
        """Return the notes so far, by kind and name."""
        return sorted(self._counts.values(), key=lambda count: (count.kind, count.name))
