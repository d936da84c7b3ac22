"""Order datasets of packs, for samplers that take rows one after the other."""

from typing import Any

import torch
from torch.utils.data import Dataset


class EpochOrder(Dataset):
    """Packs in the order of training, epoch after epoch, `rows` rows in total.

    Each epoch is a permutation that depends only on the seed and the epoch, without the packs that do not fill a batch,
    as in MegatronPretrainingBatchSampler of the 0.6 line (megatron/bridge/data/samplers.py).
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
    """Packs in order, cut or filled up to `rows` rows.

    Filler rows have an empty loss mask.
    """

    def __init__(self, packs: Any, rows: int) -> None:
        self.collate_fn = packs.collate_fn
        self._packs = packs
        self._rows = rows

    def __len__(self) -> int:
        return self._rows

    def __getitem__(self, row: int) -> dict[str, Any]:
        # Megatron-Bridge's datasets empty the loss mask of a negative row.
        return self._packs[row if row < len(self._packs) else -1]
