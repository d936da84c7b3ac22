"""Find a finished run with the same hash, which need not be repeated."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace

from nemotron.data_prep.output.counting import name_inputs
from nemotron.data_prep.output.metadata import Metadata, read_metadata
from nemotron.data_prep.packing.shards import ShardReceipt, read_shard_receipt, receipt_of
from nemotron.data_prep.plan import PrepPlan
from nemotron.files.atomic_files import checksum, find_changes

SAMPLED_BYTES = 256 * 2**20
"""How much of each split is read to check that an earlier run's output has not changed."""


def read_finished(plan: PrepPlan) -> Metadata | None:
    """Read the metadata of a finished run with the same hash.

    It is None if there is no such run, or if its files are gone or have changed.
    """
    name = "metadata.json"
    metadata = None if any(find_changes(plan.run_dir, needed=name)) else read_metadata(plan.run_dir / name)
    if metadata is None:
        return None
    for split in metadata.splits:
        for shard in split.shards:
            path = plan.run_dir / split.path / shard.file
            if not path.is_file() or read_shard_receipt(path, receipt_of(path)) != shard:
                return None
    return None if _is_changed(plan, metadata) else replace(metadata, **name_inputs(plan))


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
