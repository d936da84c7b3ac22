"""Select which conversations are used, and in which split.

This is decided once over the whole corpus, on small arrays.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nemotron.data_prep.chat.content_hash import sampling_rank
from nemotron.data_prep.config import SPLITS
from nemotron.data_prep.drop_reasons import LeftOut
from nemotron.data_prep.selection.corpus import Corpus
from nemotron.data_prep.selection.low_effort import mix_with_low_effort
from nemotron.data_prep.selection.mix import UnreachableMix
from nemotron.data_prep.selection.overlong import Cut
from nemotron.data_prep.selection.splits import assign_splits
from nemotron.data_prep.sources.blend import Dataset
from nemotron.errors import UserError

OUTCOMES: tuple[LeftOut | None, ...] = (
    None, LeftOut.OVERLONG, LeftOut.DUPLICATE, LeftOut.IN_ANOTHER_SPLIT, LeftOut.NOT_SAMPLED, LeftOut.BLEND_WEIGHT,
)  # fmt: skip
"""Reason for each outcome code; None means kept."""


@dataclass(frozen=True)
class Selection:
    """What happens to every conversation."""

    outcome: np.ndarray
    """int8 [conversations]: index into OUTCOMES."""
    split: np.ndarray
    """int8 [conversations]: index into SPLITS, for kept conversations."""
    duplicates: np.ndarray
    """bool [conversations]: an earlier conversation is identical, whether or not this one was dropped for it."""
    copies: np.ndarray
    """int32 [conversations]: how often it is used; 0 if dropped, more than 1 only if the blend repeats."""

    @property
    def kept(self) -> np.ndarray:
        """bool [conversations]."""
        return self.outcome == 0


def select(
    corpus: Corpus,
    cut: Cut,
    datasets: Sequence[Dataset],
    *,
    ratios: Sequence[float],
    dedupe: bool,
    sample: int | None,
    sample_seed: int,
    seed: int,
    samples: int | None = None,
    low_effort: float = 0.0,
) -> Selection:
    """Decide what happens to each conversation.

    The order is: over-long, duplicate, sample (equally many per dataset) or share of the blend, split. `samples` is the
    size of the mix (see mix.mix_counts), and `low_effort` the share of low-effort datasets in it.

    Raises:
        UserError: The mix needs more conversations of a dataset than there are.
    """
    count = corpus.conversations
    outcome = np.zeros(count, np.int8)
    any_sequence_left = np.zeros(count, bool)
    any_sequence_left[corpus.conversation[cut.length > 0]] = True
    outcome[~any_sequence_left] = OUTCOMES.index(LeftOut.OVERLONG)

    same_as = _find_first_alike(corpus.hash)
    duplicates = same_as != np.arange(count)
    goes_to = _find_listed_split(corpus, datasets)
    if goes_to is not None:
        outcome[(outcome == 0) & (goes_to < _find_highest_split(same_as, goes_to))] = OUTCOMES.index(
            LeftOut.IN_ANOTHER_SPLIT
        )
    if dedupe:
        kept = np.flatnonzero(outcome == 0)
        _, first = np.unique(same_as[kept], return_index=True)
        outcome[np.delete(kept, first)] = OUTCOMES.index(LeftOut.DUPLICATE)

    copies = np.ones(count, np.int32)
    occurrence = _count_before(same_as)
    if sample is not None:
        rank = sampling_rank(corpus.hash[:, 0], sample_seed, occurrence)
        for number in range(len(datasets)):
            _keep_first(outcome, corpus.of_dataset(number)[0], sample, rank, LeftOut.NOT_SAMPLED)
    else:
        rank = sampling_rank(corpus.hash[:, 0], seed, occurrence)
        _apply_weights(outcome, copies, corpus, datasets, rank, samples, low_effort)
    copies[outcome != 0] = 0

    split = goes_to if goes_to is not None else np.zeros(count, np.int8)
    if goes_to is None:
        split[outcome == 0] = assign_splits(corpus.hash[outcome == 0, 0], ratios)
    return Selection(outcome, split, duplicates, copies)


def _find_first_alike(hashes: np.ndarray) -> np.ndarray:
    """Return for each conversation the index of the first one with the same content."""
    order = np.lexsort((hashes[:, 1], hashes[:, 0])).astype(np.int32)  # stable: equal hashes stay in plan order
    is_new = np.zeros(len(order), bool)
    is_new[:1] = True
    for column in hashes.T:
        in_order = column[order]
        is_new[1:] |= in_order[1:] != in_order[:-1]
    same_as = np.empty(len(order), np.int32)
    same_as[order] = order[is_new][np.cumsum(is_new, dtype=np.int32) - 1]
    return same_as


def _count_before(same_as: np.ndarray) -> np.ndarray:
    """Return for each conversation how many with the same content come before it."""
    occurrence = np.zeros(len(same_as), np.int32)
    is_alike = np.zeros(len(same_as), bool)
    is_alike[same_as[same_as != np.arange(len(same_as))]] = True
    alike = np.flatnonzero(is_alike[same_as])  # usually few
    order = alike[np.argsort(same_as[alike], kind="stable")]
    positions = np.arange(len(order))
    starts = np.ones(len(order), bool)
    starts[1:] = same_as[order[1:]] != same_as[order[:-1]]
    occurrence[order] = positions - np.maximum.accumulate(np.where(starts, positions, 0))
    return occurrence


def _find_listed_split(corpus: Corpus, datasets: Sequence[Dataset]) -> np.ndarray | None:
    """Return the split that the blend lists for each conversation.

    int8 [conversations], or None if the blend does not list splits.
    """
    listed = [dataset.goes_to for dataset in datasets if dataset.goes_to is not None]
    return np.array([SPLITS.index(split) for split in listed], np.int8)[corpus.dataset] if listed else None


def _find_highest_split(same_as: np.ndarray, goes_to: np.ndarray) -> np.ndarray:
    """Return the split for identical conversations: test before valid before train."""
    highest = goes_to.copy()
    np.maximum.at(highest, same_as, goes_to)
    return highest[same_as]


def _keep_first(outcome: np.ndarray, among: slice, count: int, rank: np.ndarray, reason: LeftOut) -> np.ndarray:
    """Keep the first-ranked `count` of the kept conversations `among`.

    Returns:
        The conversations that are kept, by rank.
    """
    kept = np.flatnonzero(outcome[among] == 0) + among.start
    by_rank = kept[np.argsort(rank[kept], kind="stable")]
    outcome[by_rank[count:]] = OUTCOMES.index(reason)
    return by_rank[:count]


def _apply_weights(
    outcome: np.ndarray,
    copies: np.ndarray,
    corpus: Corpus,
    datasets: Sequence[Dataset],
    rank: np.ndarray,
    samples: int | None,
    low_effort: float,
) -> None:
    """Reduce or repeat the datasets to their shares of the blend.

    Datasets listed for the same split share that split.
    """
    for goes_to in dict.fromkeys(dataset.goes_to for dataset in datasets):
        members = [number for number, dataset in enumerate(datasets) if dataset.goes_to == goes_to]
        available = np.bincount(corpus.dataset[outcome == 0], minlength=len(datasets))[members].tolist()
        of_mix = [datasets[number] for number in members]
        counts = _mix(of_mix, available, samples if goes_to in (None, "train") else None, low_effort)
        for number, count in zip(members, counts, strict=True):
            used = _keep_first(outcome, corpus.of_dataset(number)[0], count, rank, LeftOut.BLEND_WEIGHT)
            if count > len(used):
                copies[used] = count // len(used)
                copies[used[: count % len(used)]] += 1


def _mix(datasets: Sequence[Dataset], available: Sequence[int], samples: int | None, low_effort: float) -> list[int]:
    weights, repeats = [dataset.weight for dataset in datasets], [dataset.repeat for dataset in datasets]
    try:
        is_low = [dataset.has_low_effort for dataset in datasets]
        return mix_with_low_effort(
            available, weights, repeats=repeats, is_low=is_low, share=low_effort, samples=samples
        )
    except UnreachableMix as error:
        name = datasets[error.number].name
        raise UserError(
            f'blend.samples={samples} needs {error.asked:,} conversations of the dataset "{name}", which has '
            f"only {available[error.number]:,}.",
            f'Let it repeat ("repeat": true in the blend file), or set blend.samples to at most {error.most:,}.',
        ) from None
