"""Whether the parallel sizes divide the model: what Megatron asks for when it builds the layers, asked in the plan.

Where each rule stands, in megatron/core: `TransformerConfig.__post_init__` (attention heads, query groups),
ssm/mamba_mixer.py and ssm/mamba_context_parallel.py (Mamba), transformer/moe/moe_layer.py (experts, and that they need
sequence parallelism), tensor_parallel/layers.py (widths), models/hybrid/hybrid_layer_allocation.py (stages).
"""

from collections.abc import Callable, Mapping
from typing import Any

from nemotron.errors import UserError
from nemotron.training.parallelism.model_shape import ModelShape

_OVERRIDES = {
    "num_attention_heads": "num_attention_heads",
    "num_query_groups": "num_key_value_heads",
    "mamba_num_heads": "mamba_num_heads",
    "mamba_num_groups": "n_groups",
    "num_moe_experts": "n_routed_experts",
    "moe_ffn_hidden_size": "moe_intermediate_size",
    "moe_shared_expert_intermediate_size": "moe_shared_expert_intermediate_size",
}
"""Megatron-Bridge's settings of the model, and what they are in `ModelShape`."""


def check_divisible(model: Mapping[str, Any], shape: ModelShape, sizes: Mapping[str, int], pack_size: int) -> None:
    """Refuse parallel sizes that cannot divide the model, or the tokens that its ranks share.

    Args:
        model: the section `model` of the config. What it says of the model wins over `shape`; null is unknown.
        sizes: tensor, pipeline, context, expert, expert_tensor: the parallel sizes.
        pack_size: of the data.

    Raises:
        UserError: naming the size, what it does not divide, and the sizes that would.
    """
    counts = {name: model.get(name, getattr(shape, field)) for name, field in _OVERRIDES.items()}
    counts = {name: count for name, count in counts.items() if isinstance(count, int) and count > 0}
    if not shape.mamba_layers:
        counts = {name: count for name, count in counts.items() if not name.startswith("mamba_")}
    if not shape.moe_layers:
        counts = {name: count for name, count in counts.items() if "moe" not in name}
    problems = {
        "tensor_model": lambda size: _tensor(counts, size),
        "context": lambda size: _context(counts, sizes["tensor"], size),
        "expert_model": lambda size: _share(counts, {"num_moe_experts": size}),
        "expert_tensor": lambda size: _share(counts, {"moe_ffn_hidden_size": size}),
    }
    for kind, problem in problems.items():
        _refuse(f"model.{kind}_parallel_size", sizes[kind.removesuffix("_model")], problem)
    _check_sequence(model, shape, sizes, pack_size)
    _check_stages(model, shape, sizes["pipeline"])


def _refuse(key: str, size: int, problem: Callable[[int], str | None]) -> None:
    """Refuse `size` if there is a problem with it. `problem(1)` is none."""
    if what := problem(size):
        smaller = [str(other) for other in range(1, size) if not problem(other)]
        raise UserError(f"{key} is {size}, but {what}.", f"Use {' or '.join(smaller)}.")


def _share(counts: Mapping[str, int], ranks: Mapping[str, int]) -> str | None:
    """The first count that so many ranks cannot share, in words."""
    words = {
        "num_attention_heads": "attention heads",
        "mamba_num_heads": "Mamba heads",
        "mamba_num_groups": "Mamba groups",
        "num_moe_experts": "experts",
        "moe_ffn_hidden_size": "channels of an expert",
        "moe_shared_expert_intermediate_size": "channels of a shared expert",
    }
    for name, divisor in ranks.items():
        if counts.get(name, 0) % divisor:
            return f"the model's {counts[name]:,} {words[name]} ({name}) cannot be divided by {divisor}"
    return None


def _tensor(counts: Mapping[str, int], size: int) -> str | None:
    divided = ("num_attention_heads", "mamba_num_heads", "mamba_num_groups", "moe_shared_expert_intermediate_size")
    if what := _share(counts, dict.fromkeys(divided, size)):
        return what
    groups = counts.get("num_query_groups", size)
    if groups % size and size % groups:
        return f"the model's {groups} query groups (num_query_groups) are neither a multiple nor a divisor of it"
    return None


def _context(counts: Mapping[str, int], tensor: int, size: int) -> str | None:
    """Ranks that share a pack exchange its positions for heads in a Mamba layer; a group may be on several of them."""
    if what := _share(counts, {"mamba_num_heads": tensor * size}):
        return f"{what}, tensor x context parallel" if tensor > 1 else what
    groups = counts.get("mamba_num_groups", tensor * size) // tensor
    if groups % size and size % groups:
        return f"the {groups} Mamba groups (mamba_num_groups) of a rank are neither a multiple nor a divisor of it"
    return None


def _check_sequence(model: Mapping[str, Any], shape: ModelShape, sizes: Mapping[str, int], pack_size: int) -> None:
    tensor = sizes["tensor"]
    if tensor == 1:
        return
    if shape.moe_layers and model.get("sequence_parallel") is False:
        raise UserError(
            f"model.sequence_parallel is False, but with model.tensor_model_parallel_size={tensor} layers of experts "
            "need it.",
            "Set model.sequence_parallel=true.",
        )
    if model.get("sequence_parallel") and pack_size % (tensor * sizes["context"]):
        raise UserError(
            f"Packs of {pack_size:,} tokens cannot be divided among {tensor} tensor-parallel"
            + (f" x {sizes['context']} context-parallel ranks." if sizes["context"] > 1 else " ranks."),
            f"Choose a pack_size that is a multiple of {tensor * sizes['context']}.",
        )


def _check_stages(model: Mapping[str, Any], shape: ModelShape, stages: int) -> None:
    """Stages are marked in the pattern of the layers, or are of equal length.

    Megatron would also take a multiple of stages, for interleaved pipelines. Megatron-Bridge has none for this model
    (megatron/bridge/models/hybrid/hybrid_provider.py), and the layers of the others would be left out.
    """
    pattern = model.get("hybrid_layer_pattern")
    marked = len(pattern.split("/")[0].split("|")) if isinstance(pattern, str) else 1
    if marked > 1 and marked != stages:
        raise UserError(
            f"model.hybrid_layer_pattern is {pattern}, which has {marked} stages, but "
            f"model.pipeline_model_parallel_size is {stages}.",
            f"Set model.pipeline_model_parallel_size={marked}, or mark {stages} stages with |.",
        )
    uneven = ("num_layers_in_first_pipeline_stage", "num_layers_in_last_pipeline_stage")
    if marked > 1 or any(model.get(name) for name in uneven):
        return
    layers = shape.mamba_layers + shape.attention_layers + shape.moe_layers
    if layers % stages:
        raise UserError(
            f"model.pipeline_model_parallel_size is {stages}, but the model's {layers} layers cannot be divided by "
            f"{stages}.",
            "Mark where a stage begins with | in model.hybrid_layer_pattern (MEM*|EME has two), or use another size.",
        )
