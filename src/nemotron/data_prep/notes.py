"""What is worth knowing about a row that does not drop it: counted, never lost silently.

Whoever finds such a thing makes a Note of it. Of every kind and name the rows are counted, and the first are located:
in the receipt of a part, then per dataset in metadata.json, the report and the summary.
"""

from typing import NamedTuple

from nemotron.data_prep.drop_reasons import Described


class NoteKind(Described):
    """What kind of thing was noticed. The value is what metadata.json shows."""

    SPECIAL_TOKENS = "special_tokens", "a control token is written out in the text (special_tokens_in_content)"
    EMPTY_ANSWER = "empty_answer", "an answer is empty: the model learns to say nothing"


OTHERS = "(others)"
"""Stands for the names of a kind beyond those that are told apart."""


class Note(NamedTuple):
    """Something noticed in a row: at most one Note of a kind and name per row."""

    kind: NoteKind
    name: str = ""
    """Which one: the token, the field; empty where the kind says all."""


def describe_kind(kind: str) -> str:
    """Say in one line what a kind of note means."""
    return NoteKind(kind).description
