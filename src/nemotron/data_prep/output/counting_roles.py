"""Count the tokens of each role in the output, per dataset."""

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
        copies: How often each sequence is used, [sequences].
        datasets: The number of datasets.

    Returns:
        For each dataset its roles, whose counts add up to its tokens.
    """
    counts = np.zeros((datasets, len(ROLES), 2))
    for part in corpus.each_part():
        index, its = corpus.read_index(part), part.sequences
        history_start, start = index.starts()
        sequences = _Sequences(
            start, index.lengths, history_start, index.shared_lengths, cut.length[its], cut.targets[its], copies[its]
        )
        counts[part.dataset] += _count_part(read_stretches(part.path), sequences)
    return [
        {str(role): RoleStats(int(own[code, 0]), int(own[code, 1])) for code, role in enumerate(ROLES) if own[code, 0]}
        for own in counts
    ]


class _Sequences(NamedTuple):
    """The arrays of PartIndex and Cut for the sequences of one part."""

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

    Only the beginning of a sequence may be used.
    """
    begin = begin - sequences.start[of] + sequences.shared[of]
    kept = np.clip(sequences.kept[of] - begin, 0, stretches.lengths)
    trained = np.where(kept == stretches.lengths, stretches.targets, 0)
    # At most one stretch of a sequence is cut. It has the targets that the other stretches do not have.
    is_cut = (kept > 0) & (kept < stretches.lengths)
    left = sequences.targets - np.bincount(of, trained, len(sequences.targets))
    trained = np.where(is_cut, left[of], trained)
    used = sequences.copies[of]
    return np.stack([np.bincount(stretches.roles, used * n, len(ROLES)) for n in (kept, trained)], axis=1)


def _count_history(stretches: Stretches, begin: np.ndarray, sequences: _Sequences) -> np.ndarray:
    """Count the tokens that sequences share, once for each sequence.

    A sequence is never cut inside its history, because nothing there trains. Each sequence of a conversation begins
    with at least as much history as the previous one.
    """
    so_far = np.concatenate([[0], np.cumsum(sequences.copies)])
    first = np.searchsorted(sequences.history_start + sequences.shared, begin, side="right")
    after = np.searchsorted(sequences.history_start, begin, side="right")
    tokens = np.bincount(stretches.roles, (so_far[after] - so_far[first]) * stretches.lengths, len(ROLES))
    return np.stack([tokens, np.zeros(len(ROLES))], axis=1)
