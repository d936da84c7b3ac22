"""Counting tokens by who says them, per dataset, as they are in the output."""

from dataclasses import dataclass

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
        counts[dataset] += _count_part(
            read_stretches(part), corpus.start[of_part], cut.length[of_part], cut.targets[of_part], copies[of_part]
        )
    return [
        {str(role): RoleStats(int(own[code, 0]), int(own[code, 1])) for code, role in enumerate(ROLES) if own[code, 0]}
        for own in counts
    ]


def _count_part(
    stretches: Stretches, start: np.ndarray, length: np.ndarray, targets: np.ndarray, copies: np.ndarray
) -> np.ndarray:
    """Count the tokens of a part.

    Of a sequence only the beginning may be used.

    Returns:
        [roles, 2]: tokens, supervised tokens.
    """
    of = np.repeat(np.arange(len(stretches.counts)), stretches.counts)
    begin = np.cumsum(stretches.lengths, dtype=np.int64) - stretches.lengths - start[of]
    kept = np.clip(length[of] - begin, 0, stretches.lengths)
    trained = np.where(kept == stretches.lengths, stretches.targets, 0)
    # A cut goes through at most one stretch of a sequence, which has the targets that the others have not.
    is_cut = (kept > 0) & (kept < stretches.lengths)
    left = targets - np.bincount(of, trained, len(targets))
    trained = np.where(is_cut, left[of], trained)
    used = copies[of]
    return np.stack([np.bincount(stretches.roles, used * n, len(ROLES)) for n in (kept, trained)], axis=1)
