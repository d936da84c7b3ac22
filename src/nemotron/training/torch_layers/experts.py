"""Compute all experts of a layer in two grouped matrix products.

The weights stay one parameter per expert.
"""

import functools
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

ALIGNMENT = 16
"""The rows of a grouped product's operands must be a multiple of this many bytes."""

Forward = Callable[[Any, Tensor, Tensor, Tensor], tuple[Tensor, None]]


def group_where_possible(one_by_one: Forward) -> Forward:
    """Wrap `SequentialMLP.forward` to compute in two products where a GPU allows it.

    Expert by expert, the GPU waits for the launches of hundreds of small kernels. The original method still computes
    experts with adapters or biases, and types other than bfloat16.

    Args:
        one_by_one: The method of megatron/core/transformer/moe/experts.py.
    """

    @functools.wraps(one_by_one)
    def forward(
        self: Any, permuted_local_hidden_states: Tensor, tokens_per_expert: Tensor, permuted_probs: Tensor
    ) -> tuple[Tensor, None]:
        tokens = permuted_local_hidden_states
        if not (tokens.is_cuda and tokens.dtype == torch.bfloat16 and len(tokens)):
            return one_by_one(self, tokens, tokens_per_expert, permuted_probs)
        if "_can_be_grouped" not in vars(self):
            # Checked once, since it visits every expert; adapters are added before the first pass.
            self._can_be_grouped = can_be_grouped(self)
        if not self._can_be_grouped:
            return one_by_one(self, tokens, tokens_per_expert, permuted_probs)
        return apply_grouped(self, tokens, tokens_per_expert, permuted_probs), None

    return forward


def can_be_grouped(experts: Any) -> bool:
    """Tell whether each expert is just two linear layers with an activation between.

    An adapted layer does not qualify: Megatron-Bridge's LoRALinear wraps the linear layer (`to_wrap`) and computes the
    adapter separately.
    """
    config = experts.config
    layers = [layer for expert in experts.local_experts for layer in (expert.linear_fc1, expert.linear_fc2)]
    return (
        not config.add_bias_linear
        and not config.gated_linear_unit
        and not config.moe_apply_probs_on_input
        and not config.bias_activation_fusion
        and not any(hasattr(layer, "to_wrap") for layer in layers)
        and all(layer.weight.shape[-1] * layer.weight.element_size() % ALIGNMENT == 0 for layer in layers[:2])
    )


def apply_grouped(experts: Any, tokens: Tensor, tokens_per_expert: Tensor, probs: Tensor) -> Tensor:
    """Apply the experts to their tokens: `probs * (activation(tokens W1^T) W2^T)`.

    Args:
        experts: A SequentialMLP for which `can_be_grouped`.
        tokens: [n, hidden], ordered by expert.
        tokens_per_expert: Int [experts]; they sum to n.
        probs: [n], the router's weights.

    Returns:
        [n, hidden].

    Source: MLP.forward of megatron/core/transformer/mlp.py, with `per_token_scale`.
    """
    ends = tokens_per_expert.to(tokens.device).cumsum(0).to(torch.int32)
    hidden = _product(tokens, [expert.linear_fc1.weight for expert in experts.local_experts], ends)
    hidden = (experts.config.activation_func(hidden) * probs.unsqueeze(-1)).to(tokens.dtype)
    return _product(hidden, [expert.linear_fc2.weight for expert in experts.local_experts], ends)


def _product(rows: Tensor, weights: list[Tensor], ends: Tensor) -> Tensor:
    """Multiply each group of rows by the transposed weight of the group.

    The weights are stacked here because checkpoints, adapters and conversion need them one by one. The copy costs
    little compared with reading them. Keeping it for the backward pass would hold the experts of every layer twice, so
    the backward pass stacks them again.

    Args:
        rows: [n, in], ordered by group.
        weights: [out, in] for each group.
        ends: Int [groups], the row after the last one of each group.
    """
    stacked = torch.stack(weights)
    place = stacked.untyped_storage().data_ptr()

    def pack(saved: Tensor) -> Tensor | None:
        return None if saved.untyped_storage().data_ptr() == place else saved

    def unpack(kept: Tensor | None) -> Tensor:
        return torch.stack(weights).transpose(1, 2) if kept is None else kept

    with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
        return F.grouped_mm(rows, stacked.transpose(1, 2), offs=ends)
