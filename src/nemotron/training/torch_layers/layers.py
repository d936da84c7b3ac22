"""Replace the Transformer Engine layers for which Megatron has no torch version.

Their parameters have the names of Transformer Engine's, and the same attributes for Megatron's gradient reduction:
`sequence_parallel` (sum the gradient over tensor-parallel ranks, each of which saw part of the sequence) and
`allreduce` (reduce over data-parallel, not expert-data-parallel, ranks).
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from megatron.core.transformer import TransformerConfig
from megatron.core.transformer.utils import make_sharded_tensors_for_checkpoint
from torch import Tensor, nn


class RMSNorm(nn.Module):
    """Replaces TENorm for `normalization="RMSNorm"`."""

    def __init__(self, config: TransformerConfig, hidden_size: int, eps: float = 1e-5) -> None:
        super().__init__()
        if config.normalization != "RMSNorm" or config.layernorm_zero_centered_gamma:
            raise NotImplementedError("The torch layers have only RMSNorm with weights around one.")
        self.eps = eps
        self.weight = nn.Parameter(
            torch.ones(hidden_size, device=torch.cuda.current_device(), dtype=config.params_dtype)
        )
        _mark(self.weight, sequence_parallel=config.sequence_parallel)

    def forward(self, x: Tensor) -> Tensor:
        """Normalize x, [..., hidden_size]."""
        return F.rms_norm(x, self.weight.shape, self.weight, self.eps)


class ReplicatedLinear(nn.Module):
    """Replaces TELinear with `parallel_mode="duplicated"`: every rank has all of it.

    The MoE latent projections use it.
    """

    # Megatron-Bridge reads this from modules it does not know: the weight is copied to every rank, not split.
    tensor_model_parallel = False

    def __init__(
        self,
        input_size: int,
        output_size: int,
        *,
        config: TransformerConfig,
        init_method: Callable[[Tensor], Any],
        bias: bool,
        parallel_mode: str,
        skip_bias_add: bool = False,
        skip_weight_param_allocation: bool = False,
        is_expert: bool = False,
        name: str | None = None,
    ) -> None:
        super().__init__()
        if parallel_mode != "duplicated" or bias or skip_weight_param_allocation or is_expert:
            raise NotImplementedError(f"ReplicatedLinear {name or ''}: only a plain duplicated linear without bias.")
        self.weight = nn.Parameter(
            torch.empty(output_size, input_size, device=torch.cuda.current_device(), dtype=config.params_dtype)
        )
        if config.perform_initialization:
            init_method(self.weight)
        _mark(self.weight, allreduce=True, sequence_parallel=config.sequence_parallel)

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        """Map x, [..., input_size], to [..., output_size] and no bias."""
        return F.linear(x, self.weight), None

    def sharded_state_dict(self, prefix: str = "", sharded_offsets: tuple = (), metadata: dict | None = None) -> dict:
        """Return the checkpoint entry: one copy, however many ranks hold the layer."""
        return make_sharded_tensors_for_checkpoint(
            self.state_dict(prefix="", keep_vars=True), prefix, {}, sharded_offsets
        )


def _mark(parameter: nn.Parameter, **marks: bool) -> None:
    """Set the attributes that Megatron looks for on a parameter."""
    for name, value in marks.items():
        setattr(parameter, name, value)
