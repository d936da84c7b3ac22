"""Exclude padding from the experts' routing in the 0.6 line.

The experts' biases and the auxiliary loss then see only text. Megatron-Core 0.19 accepts a `padding_mask`, with three
gaps that are closed here: its expert biases cannot use the mask, it weights the auxiliary loss of tensor-parallel ranks
by the text on each rank, and its hybrid model does not pass the mask on to the layers of multi-token prediction.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

_MTP_MASK = "_nemotron_padding_mask"


class Remembering(Iterator[Any]):
    """An iterator over micro-batches that keeps the last one.

    `get_batch` drops keys that it does not know.
    """

    def __init__(self, micro_batches: Iterator[Mapping[str, Any]]) -> None:
        self._micro_batches = micro_batches
        self.last: Mapping[str, Any] = {}

    def __next__(self) -> Any:
        self.last = next(self._micro_batches)
        return self.last


def padding_mask(padding: "Tensor", packing: Mapping[str, Any], model: Any, config: Any, groups: Any) -> "Tensor":
    """Return this rank's part of a pack's padding, on its device.

    Args:
        padding: Bool [1, tokens] of the whole pack.
        packing: The pack's boundaries.
        model: The model chunk, whose MTP layers get the mask too.
        config: The config of the model.
        groups: Its process groups.

    Returns:
        Bool [1, tokens of this rank], true where a position is padding.
    """
    from megatron.bridge.training.utils.packed_seq_utils import get_thd_cp_partition_indices

    _patch_router()
    mask = padding.cuda(non_blocking=True)
    if groups.cp.size() > 1:
        ends: Any = packing["cu_seqlens_q"].squeeze()
        indices = get_thd_cp_partition_indices(ends, total_tokens=mask.size(1), cp_group=groups.cp, device=mask.device)
        mask = mask.index_select(1, indices)
    if config.sequence_parallel and groups.tp.size() > 1:
        mask = mask.chunk(groups.tp.size(), dim=1)[groups.tp.rank()]
    for layer in _mtp_expert_layers(model):
        setattr(layer, _MTP_MASK, mask)
    return mask


def _mtp_expert_layers(model: Any) -> list[Any]:
    """Find the MoE layers of MTP, and make each use the mask set on it.

    They are only on the last pipeline stage, where the backward pass of a micro-batch directly follows its forward
    pass. So a recomputation finds the mask of its own micro-batch.
    """
    known = getattr(model, "_nemotron_mtp_experts", None)
    if known is not None:
        return known
    from megatron.core.transformer.moe.moe_layer import MoELayer

    # By name, because the hybrid block does not mark the MoE layers of MTP (models/hybrid/hybrid_block.py).
    named = ((f".{name}.", module) for name, module in model.named_modules())
    layers = [module for name, module in named if ".mtp." in name and isinstance(module, MoELayer)]
    for layer in layers:
        layer.register_forward_pre_hook(_pass_mask, with_kwargs=True)
    # Not as an attribute that torch registers, because the layers are already registered in the model.
    object.__setattr__(model, "_nemotron_mtp_experts", layers)
    return layers


def _pass_mask(layer: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    return arguments, {**keywords, "padding_mask": getattr(layer, _MTP_MASK, None)}


@cache
def _patch_router() -> None:
    """Close two gaps of megatron/core/transformer/moe/router.py (0.19.2)."""
    from megatron.core.transformer.moe import router

    count_bias = router.TopKRouter._apply_expert_bias

    def apply_expert_bias(self: Any, routing_map: "Tensor", padding_mask: "Tensor | None" = None) -> None:
        """Mask rows, because a flat mask does not broadcast over [tokens, experts].

        This is Megatron-LM#6111.
        """
        if padding_mask is not None:
            routing_map = routing_map & ~padding_mask.reshape(-1, 1)
        count_bias(self, routing_map)

    count_tokens = router.get_tokens_per_expert_and_token_count

    def get_tokens_per_expert_and_token_count(*arguments: Any, **keywords: Any) -> tuple[Any, Any, Any]:
        """Return the mean count over the group, which Megatron multiplies by its size."""
        per_expert, mine, whole = count_tokens(*arguments, **keywords)
        if not keywords.get("with_padding_mask"):
            return per_expert, mine, whole
        group: Any = keywords.get("reduce_group", arguments[1] if len(arguments) > 1 else None)
        return per_expert, whole / group.size(), whole

    router.TopKRouter._apply_expert_bias = apply_expert_bias
    router.get_tokens_per_expert_and_token_count = get_tokens_per_expert_and_token_count
