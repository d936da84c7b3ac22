"""Estimate the time of an iteration, to rank layouts rather than predict seconds.

Floating-point operations after Narayanan et al. 2021 (arXiv 2104.04473, section 5.1): 2 per active parameter and token
forward, twice that backward, once more forward with full recomputation, plus attention scores. The bytes that ranks
exchange follow Megatron-Core: tensor parallelism gathers and scatters every layer's input (Korthikanti et al. 2022,
arXiv 2205.05198), experts get their tokens in the latent size and give them back, context parallelism exchanges
positions for heads in Mamba layers and passes keys and values around, data parallelism reduces gradients and gathers
weights. No overlap is assumed.
"""

from dataclasses import dataclass

from nemotron.training.parallelism.memory import StateBytes
from nemotron.training.parallelism.model_shape import ModelShape
from nemotron.training.parallelism.rank_parameters import Layout

FLOPS = 4e14
"""FLOP/s of a GPU: two fifths of an H100's bfloat16 peak, which large models reach."""
INSIDE, BETWEEN = 3e11, 4e10
"""Bytes per second and GPU inside a node (NVLink) and between nodes (400 Gbit/s InfiniBand, less its overhead)."""


@dataclass(frozen=True)
class Cost:
    """Estimated seconds of an iteration, by what takes them."""

    compute: float
    recompute: float
    pipeline_bubble: float
    tensor: float
    expert: float
    context: float
    data: float

    @property
    def total(self) -> float:
        return sum(vars(self).values())

    @property
    def communication(self) -> float:
        return self.tensor + self.expert + self.context + self.data


def crossing(layout: Layout, gpus_per_node: int) -> list[str]:
    """List the kinds of parallelism whose groups do not fit in one node.

    Ranks are numbered tensor first, then context or expert, then data, then pipeline (megatron/core/parallel_state.py).
    """
    groups = {
        "tensor": layout.tensor,
        "context": layout.tensor * layout.context if layout.context > 1 else 1,
        "expert": layout.expert * layout.expert_tensor if layout.expert > 1 else 1,
        "pipeline": layout.ranks if layout.pipeline > 1 else 1,
    }
    return [name for name, ranks in groups.items() if ranks > gpus_per_node]


def iteration_cost(
    shape: ModelShape,
    layout: Layout,
    pack_size: int,
    packs: int,
    *,
    state: StateBytes,
    recompute_all: bool,
    trains_adapters: bool,
    gpus_per_node: int,
) -> Cost:
    """Estimate an iteration.

    Args:
        shape: The model.
        layout: How it and the packs are divided.
        pack_size: Tokens of a pack.
        packs: Packs of the global batch.
        state: Bytes of gradients and of numbers that are sent.
        recompute_all: Whether every layer is computed a second time for its backward pass.
        trains_adapters: Whether only adapters have gradients that data-parallel ranks exchange.
        gpus_per_node: Ranks between which NVLink is.
    """
    crosses = crossing(layout, gpus_per_node)
    mine = packs / layout.data
    forward = _forward_flops(shape, pack_size) / (layout.tensor * layout.context * layout.pipeline)
    compute = mine * 3 * forward / FLOPS
    again = mine * forward / FLOPS if recompute_all else 0.0
    passes = 3 if recompute_all else 2  # in which layers exchange the same as in the forward pass
    tokens = pack_size / layout.context
    per_stage = {letter: shape.layers.count(letter) / layout.pipeline for letter in "M*E"}

    def seconds(kind: str, ranks: int, size: float) -> float:
        return mine * passes * size * (ranks - 1) / ranks / (BETWEEN if kind in crosses else INSIDE)

    hidden = state.number * tokens * shape.hidden_size
    routed = state.number * tokens / layout.tensor * shape.num_experts_per_tok * shape.moe_latent_size
    dispatched = 2 * routed * per_stage["E"]
    heads = state.number * tokens / layout.tensor * (shape.in_proj_width + shape.mamba_width)
    keys = state.number * pack_size / layout.tensor * 2 * shape.num_key_value_heads * shape.head_dim
    exchanged = per_stage["M"] * heads + per_stage["*"] * keys
    return Cost(
        compute=compute,
        recompute=again,
        pipeline_bubble=(compute + again) * (layout.pipeline - 1) / mine,
        tensor=seconds("tensor", layout.tensor, 2 * hidden * sum(per_stage.values())),
        # Ranks that share an expert's channels gather each other's tokens, and return the sums.
        expert=seconds("expert", layout.expert, dispatched)
        + seconds("expert tensor", layout.expert_tensor, layout.expert_tensor * dispatched),
        context=seconds("context", layout.context, exchanged),
        data=0.0 if trains_adapters else _data(shape, layout, state, gpus_per_node),
    )


def _forward_flops(shape: ModelShape, pack_size: int) -> float:
    """Count the FLOPs of a pack that is a single sequence, the most expensive kind.

    Each depth of MTP counts as one layer of each of its kinds.
    """
    scores = 2 * pack_size**2 * shape.num_attention_heads * shape.head_dim  # causal: half of all pairs, twice
    layers = shape.attention_layers + shape.mtp_depths
    return 2 * shape.active_parameters * pack_size + layers * scores


def _data(shape: ModelShape, layout: Layout, state: StateBytes, gpus_per_node: int) -> float:
    bandwidth = BETWEEN if layout.ranks > gpus_per_node else INSIDE
    per_parameter = state.gradient + state.number
    dense = shape.dense_parameters / (layout.tensor * layout.pipeline)
    experts = shape.expert_parameters / (layout.expert * layout.expert_tensor * layout.pipeline)
    exchanged = dense * (layout.data * layout.context > 1) + experts * (layout.expert_data > 1)
    return per_parameter * exchanged / bandwidth
