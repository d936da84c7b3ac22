"""What selecting and packing a whole corpus needs, in time and memory: the part of data prep that one process does.

    python benchmarks/selection.py --conversations 7e6

The conversations exist as indices only, with no token on disk, in parts as large as those of JSONL files. Lengths are
lognormal with a median of 490 tokens; on average a conversation has 1.4 sequences and a sequence two trained turns.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from nemotron.data_prep.config import SPLITS
from nemotron.data_prep.output.distributions import count_distributions
from nemotron.data_prep.packing.layout import make_shard_works, pack_split
from nemotron.data_prep.part_index import PartIndex
from nemotron.data_prep.selection.corpus import load_corpus
from nemotron.data_prep.selection.overlong import cut_overlong, find_limit_keeping
from nemotron.data_prep.selection.select import select
from nemotron.data_prep.sources.blend import Dataset
from nemotron.data_prep.tokenization.part_files import PartReceipt, PartWriter, write_part

CONVERSATIONS_PER_PART = 2860
PACK_SIZE = 4096
SHARDS = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--conversations", type=float, default=7e6)
    count = int(parser.parse_args().conversations)
    with tempfile.TemporaryDirectory() as folder:
        parts = [Path(folder) / f"part_{number:06d}" for number in range(max(1, count // CONVERSATIONS_PER_PART))]
        rng = np.random.default_rng(0)
        receipts = [_write(part, rng) for part in parts]
        _measure(parts, receipts)


def _write(part: Path, rng: np.random.Generator) -> PartReceipt:
    """Write a part without tokens."""
    sequence_counts = rng.choice([1, 1, 1, 1, 1, 2, 3], CONVERSATIONS_PER_PART)
    lengths = np.exp(rng.normal(6.2, 1.2, sequence_counts.sum())).astype(np.int32).clip(20, 262_144)
    turn_counts = rng.integers(1, 4, len(lengths))
    ends = [np.arange(1, turns + 1) * length // turns for turns, length in zip(turn_counts, lengths, strict=True)]
    index = PartIndex(
        lines=np.arange(CONVERSATIONS_PER_PART),
        hashes=rng.integers(0, 2**63, (CONVERSATIONS_PER_PART, 2)).astype(np.uint64),
        sequence_counts=sequence_counts,
        modes=np.zeros(CONVERSATIONS_PER_PART, np.int32),
        masked_counts=np.zeros(CONVERSATIONS_PER_PART, np.int32),
        history_lengths=np.zeros(CONVERSATIONS_PER_PART, np.int32),
        shared_lengths=np.zeros(len(lengths), np.int32),
        lengths=lengths,
        targets=lengths // 2,
        turn_counts=turn_counts,
        turn_ends=np.concatenate(ends),
        turn_targets=np.concatenate(ends) // 2,
    )

    def fill(writer: PartWriter) -> None:
        writer.append(np.zeros(0, np.int32), np.zeros(0, np.uint8), index)

    return write_part(part, fill)


def _measure(parts: list[Path], receipts: list[PartReceipt]) -> None:
    begin = _show("before", time.perf_counter())
    corpus = load_corpus(parts, receipts, [0] * len(parts))
    begin = _show("load", begin)
    cut = cut_overlong(corpus, PACK_SIZE, "split_turns", 5)
    begin = _show("cut", begin)
    selection = select(
        corpus, cut, [Dataset("all", "all.jsonl")], ratios=(0.98, 0.01, 0.01), dedupe=False, sample=None, sample_seed=0,
        seed=0,
    )  # fmt: skip
    begin = _show("select", begin)
    packed = [
        pack_split(
            corpus, cut, selection, split, pack_size=PACK_SIZE, algorithm="first_fit_shuffle", seed=0, pad_to_multiple=1
        )
        for split in range(len(SPLITS))
    ]
    begin = _show("pack", begin)
    works = make_shard_works(Path(), corpus, cut, packed, PACK_SIZE, SHARDS)
    begin = _show("shards", begin)
    del works
    find_limit_keeping(corpus, 0.99, np.ones(len(corpus.length), bool))
    count_distributions(corpus, cut, selection, packed, PACK_SIZE)
    _show("count", begin)
    packs = sum(split.packs for split in packed)
    print(f"{corpus.conversations:,} conversations, {len(corpus.length):,} sequences: "
          f"{int(corpus.length.sum(dtype=np.int64)) / 1e9:.1f}B tokens in {packs:,} packs")  # fmt: skip


def _show(name: str, begin: float) -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{name:8}{time.perf_counter() - begin:8.1f} s{peak:8.0f} MiB at most so far", flush=True)
    return time.perf_counter()


if __name__ == "__main__":
    main()
