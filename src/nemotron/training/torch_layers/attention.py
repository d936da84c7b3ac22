"""Compute core attention over packed sequences with torch's own kernel."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from megatron.core.packed_seq_params import PackedSeqParams
from megatron.core.process_groups_config import ProcessGroupCollection
from megatron.core.transformer import TransformerConfig
from megatron.core.transformer.enums import AttnMaskType
from torch import Tensor, nn


class PackedAttention(nn.Module):
    """Replaces TEDotProductAttention for causal self-attention.

    It has no parameters, and takes plain batches (sbhd) and packs (thd).

    Each sequence of a pack is attended separately. The cost is the sum of the squared sequence lengths instead of the
    squared pack length, and no mask of that size is ever allocated.
    """

    def __init__(
        self,
        config: TransformerConfig,
        layer_number: int,
        attn_mask_type: AttnMaskType,
        attention_type: str,
        attention_dropout: float | None = None,
        softmax_scale: float | None = None,
        cp_comm_type: str | None = None,
        pg_collection: ProcessGroupCollection | None = None,
    ) -> None:
        super().__init__()
        unsupported = {
            "context_parallel_size": config.context_parallel_size != 1,
            "window_size": config.window_size is not None,
            "softmax_type": config.softmax_type != "vanilla",
            "apply_query_key_layer_scaling": config.apply_query_key_layer_scaling,
            "attn_mask_type": attn_mask_type != AttnMaskType.causal,
        }
        if any(unsupported.values()):
            names = ", ".join(name for name, bad in unsupported.items() if bad)
            raise NotImplementedError(
                f"Attention without Transformer Engine does not support this setting of: {names}."
            )
        self.scale = softmax_scale  # None: 1 / sqrt(head size)
        self.dropout = config.attention_dropout if attention_dropout is None else attention_dropout

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None,
        attn_mask_type: AttnMaskType | None = None,
        attention_bias: Tensor | None = None,
        packed_seq_params: PackedSeqParams | None = None,
    ) -> Tensor:
        """Compute causal attention.

        Key and value may have fewer heads than query (grouped-query attention). As in Transformer Engine, a causal mask
        means that `attention_mask` is not read.

        Args:
            query, key, value: [tokens, batch, heads, head size]; of a pack [tokens, heads, head size].
            packed_seq_params: The boundaries of a pack; None for a plain batch.

        Returns:
            [tokens, batch, heads * head size], or [tokens, heads * head size] for a pack.
        """
        if packed_seq_params is None:
            return self._attend(*(t.transpose(0, 1) for t in (query, key, value))).transpose(0, 1).flatten(-2)
        lengths = segment_lengths(packed_seq_params, query.shape[0])
        segments = zip(query.split(lengths), key.split(lengths), value.split(lengths), strict=True)
        return torch.cat([self._attend(*(t.unsqueeze(0) for t in qkv)).squeeze(0) for qkv in segments]).flatten(-2)

    def _attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attend plain sequences; all tensors are [batch, tokens, heads, head size]."""
        output = F.scaled_dot_product_attention(
            *(t.transpose(1, 2) for t in (query, key, value)),
            is_causal=True,
            dropout_p=self.dropout if self.training else 0.0,
            scale=self.scale,
            enable_gqa=query.shape[2] != key.shape[2],
        )
        return output.transpose(1, 2)


def segment_lengths(packed: PackedSeqParams, tokens: int) -> list[int]:
    """Return the lengths of a pack's sequences, in order; they sum to `tokens`.

    The boundaries are positions in memory (`cu_seqlens_q_padded` where sequences are padded), as for `seq_idx` in
    PackedSeqParams. Tokens after the last boundary are padding and form a sequence of their own. Repeated boundaries,
    which the collator uses as filler, hold no tokens.
    """
    known: dict[int, list[int]] = vars(packed).setdefault("_segment_lengths", {})
    if tokens not in known:  # once per pack: reading the boundaries on a GPU waits for its whole queue
        padded = packed.cu_seqlens_q_padded
        boundaries = [*(packed.cu_seqlens_q if padded is None else padded).flatten().tolist(), tokens]
        known[tokens] = [end - start for start, end in pairwise(boundaries) if end > start]
    return known[tokens]
