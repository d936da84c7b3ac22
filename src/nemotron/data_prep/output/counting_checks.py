"""Count the findings of a dataset's checks: languages, tool calls, lengths."""

from collections.abc import Sequence

import numpy as np

from nemotron.data_prep.domain_checks.look import FOUND_BY
from nemotron.data_prep.notes import NoteKind
from nemotron.data_prep.output.metadata import CheckStats, NoteStats
from nemotron.data_prep.selection.corpus import Corpus

FRACTIONS = (8, 4, 2, 1)
"""Lengths are counted up to the pack size divided by each of these."""


def count_checks(
    checks: Sequence[str], notes: Sequence[NoteStats], number: int, corpus: Corpus, pack_size: int
) -> list[CheckStats]:
    """Count what the checks of a dataset found, the most frequent finding first.

    Lengths are ordered from short to long.

    Args:
        checks: The checks that the blend asks for.
        notes: The notes on the dataset's rows.
        number: The dataset's position in the plan.
        corpus: Everything tokenized, uncut.
        pack_size: Tokens per pack.
    """
    stats: list[CheckStats] = []
    for kind, check in FOUND_BY.items():
        found = sorted((note for note in notes if note.kind == kind), key=lambda note: (-note.rows, note.name))
        whole = sum(note.rows for note in found)
        stats += [CheckStats(check, note.name, note.rows, note.rows / whole) for note in found]
    return stats + (_lengths(number, corpus, pack_size) if "lengths" in checks else [])


def is_check(note: NoteStats) -> bool:
    """Tell whether a note is the finding of a check."""
    return NoteKind(note.kind) in FOUND_BY


def _lengths(number: int, corpus: Corpus, pack_size: int) -> list[CheckStats]:
    """Count conversations by their longest sequence."""
    conversations, sequences = corpus.of_dataset(number)
    longest = np.zeros(conversations.stop - conversations.start, corpus.length.dtype)
    np.maximum.at(longest, corpus.conversation[sequences] - conversations.start, corpus.length[sequences])
    bounds = [pack_size // fraction for fraction in FRACTIONS]
    counts = np.bincount(np.searchsorted(bounds, longest), minlength=len(bounds) + 1).tolist()
    names = [f"at most {bound:,} tokens" for bound in bounds] + [f"more than the pack size of {pack_size:,}"]
    whole = max(len(longest), 1)
    return [CheckStats("lengths", name, count, count / whole) for name, count in zip(names, counts, strict=True)]
