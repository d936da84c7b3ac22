"""Between Megatron's sharded model and whole tensors, by the map that Megatron's own checkpoints use."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Shard:
    """A rank's part of a parameter or buffer."""

    name: str
    whole_shape: tuple[int, ...]
    offset: tuple[int, ...]
    """Where in the whole tensor it begins."""
    data: Tensor
    """The part itself, sharing memory with the model. An expert lacks the dimension that counts experts."""

    @property
    def region(self) -> tuple[slice, ...]:
        """What the part covers of the whole tensor."""
        extent = (1,) * (len(self.offset) - self.data.dim()) + tuple(self.data.shape)
        return tuple(slice(start, start + size) for start, size in zip(self.offset, extent, strict=True))


def shards_of(chunks: list[Any]) -> list[Shard]:
    """Every shard that this rank holds of a model given as its (DDP-wrapped) pipeline chunks."""
    from megatron.core.dist_checkpointing.dict_utils import nested_values
    from megatron.core.dist_checkpointing.mapping import ShardedTensor, apply_factories
    from megatron.core.utils import unwrap_model

    found = []
    for chunk in unwrap_model(chunks):
        entries = chunk.sharded_state_dict()
        apply_factories(entries)
        for entry in nested_values(entries):
            if isinstance(entry, ShardedTensor) and entry.data is not None:
                found.append(Shard(entry.key, tuple(entry.global_shape), tuple(entry.global_offset), entry.data))
    return found


@contextmanager
def gradients_in_place_of_weights(chunks: list[Any]) -> Iterator[None]:
    """Inside, every trained parameter holds its accumulated gradient (`main_grad`), so `shards_of` finds those."""
    parameters = [p for chunk in chunks for p in chunk.parameters() if p.requires_grad]
    weights = [p.data for p in parameters]
    for parameter in parameters:
        parameter.data = parameter.main_grad.view(parameter.shape)
    try:
        yield
    finally:
        for parameter, weight in zip(parameters, weights, strict=True):
            parameter.data = weight


def assemble(parts: list[Shard]) -> tuple[dict[str, Tensor], float]:
    """Whole tensors from the shards of all ranks.

    Returns the tensors, and by how much replicas of the same region differ at most, relative to the largest value of
    their tensor. Raises ValueError when something of a tensor is on no rank.
    """
    whole: dict[str, Tensor] = {}
    difference = 0.0
    for part in parts:
        tensor = whole.setdefault(part.name, torch.full(part.whole_shape, torch.nan))
        value = part.data.reshape(tensor[part.region].shape)
        seen = tensor[part.region]
        if not seen.isnan().any():
            scale = max(value.abs().max().item(), 1e-30)
            difference = max(difference, (seen - value).abs().max().item() / scale)
        tensor[part.region] = value
    missing = [name for name, tensor in whole.items() if tensor.isnan().any()]
    if missing:
        raise ValueError(f"No rank holds all of {', '.join(missing)}.")
    return whole, difference
