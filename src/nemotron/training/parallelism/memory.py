"""Estimate the memory of a rank, to choose a layout before anything is queued.

The estimate covers weights, gradients, optimizer, activations and Mamba states. It excludes what a framework adds
(communication buffers, kernel workspaces, fragmentation; `run.gpu_headroom_gb` is kept free for these), and assumes
balanced routing.

Weights, after Rajbhandari et al. 2020 (arXiv 1910.02054, section 3): bfloat16 weights (2 bytes) and gradients (4, in
float32) on every rank; the optimizer's copy of the weights and the two Adam moments (12, in float32) divided over the
data-parallel ranks by Megatron's distributed optimizer. Activations, after Korthikanti et al. 2022 (arXiv 2205.05198,
section 4): the bfloat16 tensors that each layer keeps for its backward pass, counted layer by layer for this
architecture, without recomputation. Without mixed precision, weights and activations are float32 and the optimizer
needs no copy of the weights.
"""

from dataclasses import dataclass

from nemotron.training.config import SftConfig
from nemotron.training.parallelism.model_shape import ModelShape
from nemotron.training.parallelism.rank_parameters import Layout, RankParameters, rank_parameters, stage_layers

BF16, FP32 = 2, 4
SCAN_CHUNK = 128
"""Positions between the states that the Mamba scan keeps (HybridModelProvider.mamba_chunk_size)."""


@dataclass(frozen=True)
class StateBytes:
    """Bytes that training keeps per parameter, and per number of an activation."""

    number: int = BF16
    """A weight, or a number that a layer keeps for its backward pass."""
    gradient: int = FP32
    optimizer: int = 3 * FP32
    """The optimizer's copy of the weight, if that is not float32 itself, and Adam's two moments."""
    divided: bool = True
    """Whether data-parallel ranks share the optimizer's state (`ddp.use_distributed_optimizer`)."""


FULL_PRECISION = StateBytes()
_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2, "uint8": 1}


def state_bytes(config: SftConfig) -> StateBytes:
    """Read the bytes per parameter of weights, gradients and optimizer."""
    precision = config.mixed_precision
    divided = config.ddp.get("use_distributed_optimizer", True)
    if precision is None:
        return StateBytes(number=4, gradient=4, optimizer=8, divided=divided)
    # A name is Megatron-Bridge's preset, with float32; a mapping changes the recipe's, which has bfloat16.
    in_float32 = precision.get("grad_reduce_in_fp32", False) if isinstance(precision, dict) else True
    types = ["float32"] * 3
    if config.optimizer.get("use_precision_aware_optimizer"):
        types = [config.optimizer.get(f"{part}_dtype") for part in ("main_params", "exp_avg", "exp_avg_sq")]
    return StateBytes(
        gradient=4 if in_float32 else 2,
        optimizer=sum(_BYTES.get(str(name).removeprefix("torch."), 4) for name in types),
        divided=divided,
    )


@dataclass(frozen=True)
class Memory:
    """Bytes of a rank in the fullest pipeline stage."""

    weights: int
    gradients: int
    optimizer: int
    activations: int
    mamba_states: int
    stage: int = 0
    """The number of that stage, from 0."""

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
    pattern: str | None = None,
) -> Memory:
    """Estimate the memory of a rank in the fullest pipeline stage.

    Args:
        shape: The model.
        layout: How it and the packs are divided.
        pack_size: Tokens of a pack; a rank holds `pack_size / layout.context` of them.
        state: Bytes of weights, gradients and optimizer.
        trains_adapters: Frozen weights have no gradients and optimizer state; those of adapters are negligible.
        recompute_all: `model.recompute_granularity=full`: only the input of each layer is kept, and one layer's rest.
        pattern: `model.hybrid_layer_pattern`, whose | mark where stages begin.
    """
    stages = stage_layers(shape, layout.pipeline, pattern)
    memories = []
    for stage, layers in enumerate(stages):
        held = rank_parameters(shape, layout, layers, first=stage == 0, last=stage == len(stages) - 1)
        activations, states = _count_stored(shape, layout, pack_size, state, layers, stage, recompute_all)
        memories.append(_memory(held, layout, state, trains_adapters, activations, states, stage))
    return max(memories, key=lambda memory: memory.total)


def _memory(
    held: RankParameters,
    layout: Layout,
    state: StateBytes,
    trains_adapters: bool,
    activations: int,
    mamba_states: int,
    stage: int,
) -> Memory:
    trained = 0 if trains_adapters else 1
    sharers = (layout.data * layout.context, layout.expert_data) if state.divided else (1, 1)
    return Memory(
        weights=state.number * (held.dense + held.experts),
        gradients=state.gradient * trained * (held.dense + held.experts),
        optimizer=state.optimizer * trained * (held.dense // sharers[0] + held.experts // sharers[1]),
        activations=activations,
        mamba_states=mamba_states,
        stage=stage,
    )


def _count_stored(
    shape: ModelShape,
    layout: Layout,
    pack_size: int,
    state: StateBytes,
    layers: str,
    stage: int,
    recompute_all: bool,
) -> tuple[int, int]:
    """Count the bytes that a stage stores for its backward passes.

    These are activations and Mamba states.

    A stage has as many packs in flight as there are stages from it to the last (1F1B schedule).
    """
    tokens = pack_size // layout.context
    in_flight = layout.pipeline - stage
    is_last = stage == layout.pipeline - 1
    if is_last:
        layers = layers + "*E" * shape.mtp_depths
    sizes = {letter: state.number * size for letter, size in _layer_activations(shape, tokens, layout).items()}
    states = _mamba_states(shape, tokens, layout.tensor)
    logits = _logits(shape, tokens, layout.tensor, state.number) if is_last else 0
    if recompute_all:
        inputs = state.number * tokens * shape.hidden_size // layout.tensor
        again = max((sizes[letter] for letter in layers), default=0)
        return in_flight * inputs * len(layers) + again + logits, states if "M" in layers else 0
    kept = sum(sizes[letter] for letter in layers)
    return in_flight * kept + logits, in_flight * layers.count("M") * states


def _layer_activations(shape: ModelShape, tokens: int, layout: Layout) -> dict[str, int]:
    """Count the numbers that a layer stores for its backward pass, by its letter."""
    around = 2 * shape.hidden_size  # the layer's input and its norm
    mamba = around + shape.in_proj_width + shape.conv_width + 2 * shape.mamba_width
    attention = around + shape.qkv_width + 2 * shape.num_attention_heads * shape.head_dim
    # Ranks that share an expert's channels store each other's tokens.
    per_expert = 2 * shape.moe_latent_size * layout.expert_tensor + 2 * shape.moe_intermediate_size
    moe = (
        around
        + 2 * shape.moe_latent_size
        + shape.num_experts_per_tok * per_expert
        + 2 * shape.moe_shared_expert_intermediate_size
        + 2 * shape.n_routed_experts  # the router's scores, float32 next to bfloat16
    )
    return {letter: tokens * width // layout.tensor for letter, width in (("M", mamba), ("*", attention), ("E", moe))}


def _mamba_states(shape: ModelShape, tokens: int, tensor: int) -> int:
    """Count the bytes of the float32 states that a layer's scan stores per chunk."""
    chunks = -(-tokens // SCAN_CHUNK)
    return FP32 * chunks * shape.mamba_width * shape.ssm_state_size // tensor


def _logits(shape: ModelShape, tokens: int, tensor: int, number: int) -> int:
    """Count the bytes of logits and float32 softmax, for the main head and MTP."""
    return (number + FP32) * tokens * shape.vocab_size * (1 + shape.mtp_depths) // tensor
