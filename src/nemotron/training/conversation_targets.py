"""Read the column of the packs that counts conversations.

Megatron-Bridge ignores this column. The datasets of both lines are the same in what is used here
(data/packing/parquet.py in the 0.6 line, data/datasets/packed_parquet.py in the 0.4 line). Nothing here imports
Megatron.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from nemotron.errors import UserError
from nemotron.files.regular_files import open_parquet

if TYPE_CHECKING:
    from torch import Tensor

CONVERSATION_TARGETS = "conversation_targets"
"""The column of the Parquet, the field of a sample and of a batch: of each sequence of a pack, the supervised tokens of
its whole conversation."""


def read_conversation_targets(module: Any, wanted: bool) -> None:
    """Make Megatron-Bridge's datasets of packs read CONVERSATION_TARGETS, or not.

    Args:
        module: Where the line's GPTSFTPackedParquetDataset is looked up when one is built.
    """
    found: Any = module.GPTSFTPackedParquetDataset
    stock = getattr(found, "stock", found)
    targeted = type("PacksWithTargets", (ReadsConversationTargets, stock), {"stock": stock})
    module.GPTSFTPackedParquetDataset = targeted if wanted else stock


def _read_column(path: str) -> Any:
    """Read the column of a shard, as one array of chunks.

    Raises:
        UserError: The shard is damaged.
    """
    with name_damaged_shard(path):
        return open_parquet(path).read([CONVERSATION_TARGETS]).column(0)


@contextmanager
def name_damaged_shard(path: str) -> Iterator[None]:
    """Raise a UserError that names a shard, if it cannot be read in the `with` block."""
    import pyarrow as pa

    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise UserError(
            f"{path} is damaged: {str(error).rstrip('.')}.",
            "Prepare the data again, which replaces damaged shards; then the same command continues.",
        ) from error


class ConversationTargets:
    """The column of all packs, in the order of their rows."""

    def __init__(self, paths: list[str]) -> None:
        chunks = [chunk for path in paths for chunk in _read_column(path).chunks]
        lengths = [np.diff(chunk.offsets.to_numpy()) for chunk in chunks]
        self._values = np.concatenate([chunk.flatten().to_numpy() for chunk in chunks])
        self._bounds = np.concatenate([[0], np.cumsum(np.concatenate(lengths))])

    def __getitem__(self, row: int) -> np.ndarray:
        """Return a pack's targets, int32 [sequences]; negative rows count from the end."""
        row %= len(self._bounds) - 1
        return self._values[self._bounds[row] : self._bounds[row + 1]]


class ReadsConversationTargets:
    """A mix-in that adds the column to Megatron-Bridge's dataset of packs.

    It goes before Megatron-Bridge's class in the list of bases.
    """

    _parquet_paths: list[str]
    samples_mapping: Any

    def _load_dataset(self) -> None:
        super()._load_dataset()  # pyright: ignore[reportAttributeAccessIssue]
        self._conversation_targets = ConversationTargets(self._parquet_paths)

    def __getitem__(self, idx: int) -> dict[str, Any]:
        sample = super().__getitem__(idx)  # pyright: ignore[reportAttributeAccessIssue]
        row = idx if self.samples_mapping is None else self.samples_mapping[idx]
        targets = self._conversation_targets[int(row)]
        if len(targets) != len(sample["seq_boundaries"]) - 1:
            raise ValueError(
                f"Pack {row} has {len(sample['seq_boundaries']) - 1} sequences, but {len(targets)} values of "
                f"{CONVERSATION_TARGETS}."
            )
        return {**sample, CONVERSATION_TARGETS: targets}

    def collate_fn(self, batch: list[dict[str, Any]]) -> dict[str, Any]:
        collated = super().collate_fn(batch)  # pyright: ignore[reportAttributeAccessIssue]
        return {**collated, CONVERSATION_TARGETS: join_targets([sample[CONVERSATION_TARGETS] for sample in batch])}


def join_targets(rows: list[np.ndarray]) -> "Tensor":
    """Stack the targets of several packs, int32 [packs, most sequences], with zeros."""
    import torch

    joined = torch.zeros(len(rows), max(len(row) for row in rows), dtype=torch.int32)
    for number, row in enumerate(rows):
        joined[number, : len(row)] = torch.from_numpy(row.astype(np.int32))
    return joined
