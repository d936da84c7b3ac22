"""The 0.4 line's dataset of packs, with what later lines added: shuffling, exact resuming, evaluation to the last pack.

Its sampler hands out rows in order, and after resuming starts every further epoch where the run was resumed; an
evaluation is a number of whole training batches. So what it gets here are datasets whose rows already are in the order
in which the 0.6 line takes them, one per pack of the whole run, or that are filled up with packs that train nothing.
Both lines then train on the same batches.
"""

from dataclasses import dataclass, fields
from typing import Any

import torch
from megatron.bridge.data.builders.finetuning_dataset import FinetuningDatasetBuilder
from megatron.bridge.training.config import (
    DataloaderConfig,
    DatasetBuildContext,
    DatasetProvider,
    FinetuningDatasetConfig,
)
from torch.utils.data import Dataset


@dataclass(kw_only=True)
class ShuffledPacks(FinetuningDatasetConfig, DatasetProvider):
    """FinetuningDatasetConfig that builds the datasets below. Megatron-Bridge asks a DatasetProvider to build itself.

    `dataset.*` of the YAML may set the fields of FinetuningDatasetConfig; the others follow from the run.
    """

    global_batch_size: int
    valid_packs: int = 0
    """Packs of the valid split."""
    valid_rows: int = 0
    """Rows of an evaluation."""

    def build_datasets(self, context: DatasetBuildContext) -> tuple[Any, Any, Any]:
        """The train split in order of training, the valid split as one evaluation, and no test split."""
        train, valid = self._packs(context.tokenizer)
        ordered = EpochOrder(train, context.train_samples, self.global_batch_size, self.seed)
        return ordered, None if valid is None else FilledUp(valid, self.valid_rows), None

    def evaluated(self, tokenizer: Any) -> "FilledUp":
        """The valid split as one evaluation."""
        return FilledUp(self._packs(tokenizer)[1], self.valid_rows)

    def _packs(self, tokenizer: Any) -> tuple[Any, Any]:
        ours = {field.name for field in fields(ShuffledPacks)} - {f.name for f in fields(FinetuningDatasetConfig)}
        not_the_builders = ours | {field.name for field in fields(DataloaderConfig)}
        settings = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in not_the_builders}
        train, valid, _ = FinetuningDatasetBuilder(tokenizer=tokenizer, **settings).build()
        return train, valid


class EpochOrder(Dataset):
    """`packs` in the order of training, epoch after epoch, `rows` rows in all.

    Each epoch is a permutation that follows from the seed and the epoch alone, without the packs that do not fill a
    batch, as MegatronPretrainingBatchSampler of the 0.6 line has it (megatron/bridge/data/samplers.py).
    """

    def __init__(self, packs: Any, rows: int, global_batch_size: int, seed: int) -> None:
        self.collate_fn = packs.collate_fn
        self._packs = packs
        self._rows = rows
        self._per_epoch = len(packs) // global_batch_size * global_batch_size
        self._seed = seed
        self._epoch, self._order = -1, torch.empty(0, dtype=torch.int64)

    def __len__(self) -> int:
        return self._rows

    def __getitem__(self, row: int) -> dict[str, Any]:
        epoch, place = divmod(row, self._per_epoch)
        if epoch != self._epoch:
            random = torch.Generator().manual_seed(self._seed + epoch)
            self._epoch, self._order = epoch, torch.randperm(len(self._packs), generator=random)
        return self._packs[int(self._order[place])]


class FilledUp(Dataset):
    """`packs` in order, cut or filled up to `rows` rows. What is filled in has an empty loss mask: it counts nowhere."""

    def __init__(self, packs: Any, rows: int) -> None:
        self.collate_fn = packs.collate_fn
        self._packs = packs
        self._rows = rows

    def __len__(self) -> int:
        return self._rows

    def __getitem__(self, row: int) -> dict[str, Any]:
        # Megatron-Bridge's datasets empty the loss mask of a negative row.
        return self._packs[row if row < len(self._packs) else -1]
