"""Find a finished run with the same hash, which need not be repeated."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import orjson

from nemotron.atomic_files import CHECKSUMS, checksum, is_as_written
from nemotron.data_prep.output.counting import name_inputs
from nemotron.data_prep.output.metadata import Metadata, read_metadata
from nemotron.data_prep.packing.shards import ShardReceipt, read_shard_receipt
from nemotron.data_prep.plan import PrepPlan
from nemotron.records.regular_files import read_bytes

SAMPLED_BYTES = 256 * 2**20
"""How much of each split is read to check that an earlier run's output has not changed."""


def read_finished(plan: PrepPlan) -> Metadata | None:
    """Read the metadata of a finished run with the same hash.

    It is None if there is no such run, or if its files are gone or have changed.
    """
    path = plan.run_dir / "metadata.json"
    metadata = read_metadata(path) if is_as_written(path) else None
    if metadata is None or not all(map(is_as_written, _list_small_files(plan.run_dir))):
        return None
    for split in metadata.splits:
        for shard in split.shards:
            path = plan.run_dir / split.path / shard.file
            receipt = plan.run_dir / "receipts" / split.name / f"{path.stem}.json"
            if not path.is_file() or read_shard_receipt(path, receipt) != shard:
                return None
    return None if _is_changed(plan, metadata) else replace(metadata, **name_inputs(plan))


def _list_small_files(run_dir: Path) -> list[Path]:
    """List the files of a run with checksums: plan, config, dropped rows, examples."""
    return [run_dir / name for name in orjson.loads(read_bytes(run_dir / CHECKSUMS))]


def _is_changed(plan: PrepPlan, metadata: Metadata) -> bool:
    """Tell whether any shard in a sample of each split has changed."""
    return any(
        checksum(plan.run_dir / split.path / shard.file) != shard.checksum
        for split in metadata.splits
        for shard in _sample_shards(split.shards)
    )


def _sample_shards(shards: Sequence[ShardReceipt]) -> Iterator[ShardReceipt]:
    """Choose shards at random: at least one, up to SAMPLED_BYTES.

    The choice differs each time, so eventually all shards are checked.
    """
    read = 0
    for number, shard in enumerate(random.SystemRandom().sample(shards, len(shards))):
        read += shard.bytes
        if number and read > SAMPLED_BYTES:
            return
        yield shard
