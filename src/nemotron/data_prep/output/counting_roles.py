"""Counting tokens by who says them, per dataset, as they are in the output."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from nemotron.data_prep.selection.corpus import Corpus
from nemotron.data_prep.selection.overlong import Cut
from nemotron.data_prep.token_roles.role import ROLES
from nemotron.data_prep.token_roles.stretches import Stretches
from nemotron.data_prep.tokenization.part_files import read_stretches


@dataclass(frozen=True)
class RoleStats:
    """The tokens of one role, without padding."""

    tokens: int
    """Tokens."""
    supervised_tokens: int
    """Tokens the trainer learns to predict."""


def count_roles(corpus: Corpus, cut: Cut, copies: np.ndarray, datasets: int) -> list[dict[str, RoleStats]]:
    """Count the tokens of each role, one part in memory at a time.

    Args:
        corpus: Everything tokenized, uncut.
        cut: How much of each sequence is kept.
        copies: [sequences]: how often each is used.
        datasets: How many there are.

    Returns:
        Of each dataset the roles that it has; they add up to its tokens.
    """
    counts = np.zeros((datasets, len(ROLES), 2))
    for number, part in enumerate(corpus.parts):
        first, after = np.searchsorted(corpus.part, [number, number + 1])
        if first == after:
            continue
        of_part = slice(first, after)
        dataset = corpus.dataset[corpus.conversation[first]]
        sequences = _Sequences(
            corpus.start[of_part], corpus.length[of_part], corpus.history_start[of_part], corpus.shared[of_part],
            cut.length[of_part], cut.targets[of_part], copies[of_part],
        )  # fmt: skip
        counts[dataset] += _count_part(read_stretches(part), sequences)
    return [
        {str(role): RoleStats(int(own[code, 0]), int(own[code, 1])) for code, role in enumerate(ROLES) if own[code, 0]}
        for own in counts
    ]


class _Sequences(NamedTuple):
    """Of the sequences of a part what Corpus and Cut have."""

    start: np.ndarray
    length: np.ndarray
    history_start: np.ndarray
    shared: np.ndarray
    kept: np.ndarray
    targets: np.ndarray
    copies: np.ndarray


def _count_part(stretches: Stretches, sequences: _Sequences) -> np.ndarray:
    """Count the tokens of a part.

    Returns:
        [roles, 2]: tokens, supervised tokens.
    """
    begin = stretches.starts()
    of = np.searchsorted(sequences.start, begin, side="right") - 1
    ends = sequences.start + sequences.length - sequences.shared
    is_own = (of >= 0) & (begin < ends[of])
    own, history = (Stretches(*(array[where] for array in stretches)) for where in (is_own, ~is_own))
    return _count_own(own, begin[is_own], of[is_own], sequences) + _count_history(history, begin[~is_own], sequences)


def _count_own(stretches: Stretches, begin: np.ndarray, of: np.ndarray, sequences: _Sequences) -> np.ndarray:
    """Count the tokens that belong to one sequence.

    Of a sequence only the beginning may be used.
    """
    begin = begin - sequences.start[of] + sequences.shared[of]
    kept = np.clip(sequences.kept[of] - begin, 0, stretches.lengths)
    trained = np.where(kept == stretches.lengths, stretches.targets, 0)
    # A cut goes through at most one stretch of a sequence, which has the targets that the others have not.
    is_cut = (kept > 0) & (kept < stretches.lengths)
    left = sequences.targets - np.bincount(of, trained, len(sequences.targets))
    trained = np.where(is_cut, left[of], trained)
    used = sequences.copies[of]
    return np.stack([np.bincount(stretches.roles, used * n, len(ROLES)) for n in (kept, trained)], axis=1)


def _count_history(stretches: Stretches, begin: np.ndarray, sequences: _Sequences) -> np.ndarray:
    """Count the tokens that sequences share, once for each that begins with them.

    What is kept of a sequence ends after its history, as nothing before that trains. Of a conversation, each sequence
    begins with at least as much of the history as the one before it.
    """
    so_far = np.concatenate([[0], np.cumsum(sequences.copies)])
    first = np.searchsorted(sequences.history_start + sequences.shared, begin, side="right")
    after = np.searchsorted(sequences.history_start, begin, side="right")
    tokens = np.bincount(stretches.roles, (so_far[after] - so_far[first]) * stretches.lengths, len(ROLES))
    return np.stack([tokens, np.zeros(len(ROLES))], axis=1)
