"""What a rank will hold, estimated: weights, gradients, optimizer, activations, Mamba states.

An estimate to choose a layout by, before anything is queued. It leaves out what a framework adds (buffers of
collectives, kernels' workspaces, fragmentation: allow 10 to 20 GB) and takes routing to be balanced.

Weights, after Rajbhandari et al. 2020 (arXiv 1910.02054, section 3): bfloat16 weights (2 bytes) and gradients (4, in
float32) on every rank; the optimizer's copy of the weights and the two Adam moments (12, in float32) divided over the
data-parallel ranks by Megatron's distributed optimizer. Activations, after Korthikanti et al. 2022 (arXiv 2205.05198,
section 4): the bfloat16 tensors that each layer keeps for its backward pass, counted layer by layer for this
architecture, without recomputation. Without mixed precision, weights and activations are float32 and the optimizer
needs no copy of the weights.
"""

from dataclasses import dataclass

from nemotron.errors import UserError
from nemotron.training.parallelism.model_shape import ModelShape

BF16, FP32 = 2, 4
SCAN_CHUNK = 128
"""Positions between the states that the Mamba scan keeps (HybridModelProvider.mamba_chunk_size)."""


@dataclass(frozen=True)
class Layout:
    """How a model and its packs are divided over ranks."""

    ranks: int
    tensor: int = 1
    pipeline: int = 1
    context: int = 1
    expert: int = 1
    expert_tensor: int = 1

    def __post_init__(self) -> None:
        """Raises UserError when the ranks cannot be divided this way."""
        for divisor, names in (
            (self.tensor * self.pipeline * self.context, "tensor x pipeline x context"),
            (self.expert * self.expert_tensor * self.pipeline, "expert x expert tensor x pipeline"),
        ):
            if self.ranks % divisor:
                raise UserError(
                    f"{self.ranks} ranks cannot be divided by {divisor} ({names} parallel).",
                    f"Start a multiple of {divisor} ranks, or lower model.*_parallel_size.",
                )

    @property
    def data(self) -> int:
        """Ranks that hold different packs."""
        return self.ranks // (self.tensor * self.pipeline * self.context)

    @property
    def expert_data(self) -> int:
        """Ranks that hold the same experts."""
        return self.ranks // (self.expert * self.expert_tensor * self.pipeline)


@dataclass(frozen=True)
class StateBytes:
    """Bytes that training keeps per parameter, and per number of an activation."""

    number: int = BF16
    """A weight, or a number that a layer keeps for its backward pass."""
    gradient: int = FP32
    optimizer: int = 3 * FP32
    """The optimizer's own copy of the weight where that is no float32 itself, and Adam's two moments."""
    divided: bool = True
    """Whether data-parallel ranks share the optimizer's state (`ddp.use_distributed_optimizer`)."""


FULL_PRECISION = StateBytes()


@dataclass(frozen=True)
class Memory:
    """Bytes of the fullest kind of rank."""

    weights: int
    gradients: int
    optimizer: int
    activations: int
    mamba_states: int

    @property
    def total(self) -> int:
        return self.weights + self.gradients + self.optimizer + self.activations + self.mamba_states


def estimate(
    shape: ModelShape,
    layout: Layout,
    pack_size: int,
    *,
    state: StateBytes = FULL_PRECISION,
    trains_adapters: bool = False,
    recompute_all: bool = False,
) -> Memory:
    """Memory of one rank with one pack in flight per pipeline stage.

    Args:
        pack_size: tokens of a pack; a rank holds `pack_size / layout.context` of them.
        state: of weights, gradients and optimizer.
        trains_adapters: gradients and optimizer of the frozen weights are not there; those of adapters are too small
            to count.
        recompute_all: `model.recompute_granularity=full`: only the input of each layer is kept, and one layer's rest.
    """
    dense = shape.dense_parameters // (layout.tensor * layout.pipeline)
    experts = shape.expert_parameters // (layout.expert * layout.expert_tensor * layout.pipeline)
    trained = 0 if trains_adapters else 1
    tokens = pack_size // layout.context
    layers = [(count, state.number * size) for count, size in _layer_activations(shape, tokens, layout.tensor)]
    states = _mamba_states(shape, tokens, layout.tensor)
    # The first pipeline stage has as many packs in flight as there are stages, each through 1/stages of the layers.
    if recompute_all:
        inputs = state.number * tokens * shape.hidden_size // layout.tensor
        kept = inputs * sum(count for count, _ in layers) + max(size for _, size in layers)
        kept_states = states
    else:
        kept = sum(count * size for count, size in layers)
        kept_states = shape.mamba_layers * states
    sharers = (layout.data * layout.context, max(1, layout.expert_data)) if state.divided else (1, 1)
    return Memory(
        weights=state.number * (dense + experts),
        gradients=state.gradient * trained * (dense + experts),
        optimizer=state.optimizer * trained * (dense // sharers[0] + experts // sharers[1]),
        activations=kept + _logits(shape, tokens, layout.tensor, state.number),
        mamba_states=kept_states,
    )


def _layer_activations(shape: ModelShape, tokens: int, tensor: int) -> list[tuple[int, int]]:
    """(how many, numbers that each keeps) of every kind of layer, MTP's shared ones once per depth."""
    around = 2 * shape.hidden_size  # the layer's input and its norm
    mamba = around + shape.in_proj_width + shape.conv_width + 2 * shape.mamba_width
    attention = around + shape.qkv_width + 2 * shape.num_attention_heads * shape.head_dim
    per_expert = 2 * shape.moe_latent_size + 2 * shape.moe_intermediate_size
    moe = (
        around
        + 2 * shape.moe_latent_size
        + shape.num_experts_per_tok * per_expert
        + 2 * shape.moe_shared_expert_intermediate_size
        + 2 * shape.n_routed_experts  # the router's scores, float32 beside bfloat16
    )
    widths = (
        (shape.mamba_layers, mamba),
        (shape.attention_layers + shape.mtp_depths, attention),
        (shape.moe_layers + shape.mtp_depths, moe),
    )
    return [(count, tokens * width // tensor) for count, width in widths]


def _mamba_states(shape: ModelShape, tokens: int, tensor: int) -> int:
    """Bytes of one layer's float32 states at the ends of its chunks, kept for the backward pass of the scan."""
    chunks = -(-tokens // SCAN_CHUNK)
    return FP32 * chunks * shape.mamba_width * shape.ssm_state_size // tensor


def _logits(shape: ModelShape, tokens: int, tensor: int, number: int) -> int:
    """Bytes of the logits and their float32 softmax, of the main head and of one MTP depth after the other."""
    return (number + FP32) * tokens * shape.vocab_size * (1 + shape.mtp_depths) // tensor
