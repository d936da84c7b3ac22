"""Lay out a split: which sequences share a pack, and which packs a shard.

This is decided for the whole split before anything is written.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nemotron.data_prep.config import SPLITS, Algorithm
from nemotron.data_prep.packing.algorithms import pack
from nemotron.data_prep.packing.lengths import pad_length
from nemotron.data_prep.packing.shards import ShardWork, count_shards, receipt_of
from nemotron.data_prep.selection.corpus import Corpus
from nemotron.data_prep.selection.overlong import Cut
from nemotron.data_prep.selection.select import Selection


@dataclass(frozen=True)
class PackedSplit:
    """The packs of one split, in the order of writing."""

    split: int
    """Index into SPLITS."""
    sequences: np.ndarray
    """int32 [sequences in pack order]: index into the corpus's sequences; repeated if the blend repeats."""
    bounds: np.ndarray
    """int64 [packs + 1]: pack `p` is `sequences[bounds[p]:bounds[p + 1]]`."""
    lengths: np.ndarray
    """int32 [sequences in pack order]: tokens, padding included."""

    @property
    def packs(self) -> int:
        return len(self.bounds) - 1

    def pack_tokens(self) -> np.ndarray:
        """int64 [packs]: tokens in each, padding of sequences included."""
        so_far = np.concatenate([[0], np.cumsum(self.lengths)])
        return np.diff(so_far[self.bounds])


def pack_split(
    corpus: Corpus,
    cut: Cut,
    selection: Selection,
    split: int,
    *,
    pack_size: int,
    algorithm: Algorithm,
    seed: int,
    pad_to_multiple: int,
) -> PackedSplit:
    """Pack the conversations of a split (an index into SPLITS)."""
    copies = np.where(selection.split == split, selection.copies, 0).astype(np.int32)[corpus.conversation]
    copies[cut.length == 0] = 0
    # Round by round, so that copies of a conversation are not neighbours, even if packing keeps the order.
    rounds = range(copies.max(initial=1))
    members = np.concatenate([np.flatnonzero(copies > done).astype(np.int32) for done in rounds])
    lengths = pad_length(cut.length[members], pad_to_multiple)
    packs = pack(lengths, pack_size, algorithm, seed)
    return PackedSplit(split, members[packs.sequences], packs.bounds, lengths[packs.sequences])


def make_shard_works(
    run_dir: Path, corpus: Corpus, cut: Cut, splits: Sequence[PackedSplit], pack_size: int, most_shards: int
) -> list[list[ShardWork]]:
    """Divide the packs of every split among its shards, in order.

    `run_dir` is the folder of the run.
    """
    places, targets = corpus.find_places(), count_conversation_targets(corpus, cut)
    works: list[list[ShardWork]] = []
    for packed in splits:
        works.append([])
        for name, packs in _divide(packed, pack_size, most_shards):
            bounds = packed.bounds[packs.start : packs.stop + 1]
            chosen = packed.sequences[bounds[0] : bounds[-1]]
            path = run_dir / "splits" / f"{name}.parquet"
            work = ShardWork(
                path=path,
                receipt=receipt_of(path),
                part=corpus.part_numbers(chosen),
                start=places.start[chosen],
                history=places.history.of(chosen),
                length=cut.length[chosen],
                conversation_targets=targets[corpus.conversation[chosen]],
                pack_bounds=bounds - bounds[0],
            )
            works[-1].append(work)
    return works


def _divide(packed: PackedSplit, pack_size: int, most_shards: int) -> Iterator[tuple[str, slice]]:
    """Yield the name of each shard of a split, and its packs."""
    count = count_shards(packed.packs, pack_size, most_shards)
    for number, packs in enumerate(np.array_split(np.arange(packed.packs), count) if count else []):
        yield f"{SPLITS[packed.split]}/shard_{number:06d}", slice(packs[0], packs[-1] + 1)


def count_conversation_targets(corpus: Corpus, cut: Cut) -> np.ndarray:
    """Count the tokens that the trainer learns to predict, per conversation.

    int32 [conversations]; only what is kept of a conversation counts.
    """
    targets = np.zeros(corpus.conversations, np.int32)
    for part in corpus.each_part():
        numbers = corpus.conversation[part.sequences] - part.conversations.start
        counts = np.bincount(numbers, cut.targets[part.sequences])
        targets[part.conversations] = counts  # every conversation has a sequence
    return targets


def measure_fill(corpus: Corpus, splits: Sequence[PackedSplit], pack_size: int, datasets: int) -> np.ndarray:
    """Compute how full the packs with a dataset's tokens are.

    float [datasets]: the average over these tokens. Datasets share packs, so this does not depend on one dataset alone:
    it is low if a dataset's sequences leave room that no others fill. It is NaN for a dataset without tokens in the
    output.
    """
    full, tokens = np.zeros(datasets), np.zeros(datasets)
    for packed in splits:
        fill = packed.pack_tokens() / pack_size
        dataset = corpus.dataset[corpus.conversation[packed.sequences]]
        full += np.bincount(dataset, packed.lengths * np.repeat(fill, np.diff(packed.bounds)), datasets)
        tokens += np.bincount(dataset, packed.lengths, datasets)
    return np.divide(full, tokens, out=np.full(datasets, np.nan), where=tokens > 0)
