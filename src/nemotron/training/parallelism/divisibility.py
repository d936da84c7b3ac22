"""Read the parallel sizes, and check what they have to divide.

These are Megatron's own conditions, checked before anything is queued. Their sources in megatron/core:
`TransformerConfig.__post_init__` (attention heads, query groups), ssm/mamba_mixer.py and ssm/mamba_context_parallel.py
(Mamba), transformer/moe/moe_layer.py (experts, and that they need sequence parallelism), tensor_parallel/layers.py
(widths), models/hybrid/hybrid_layer_allocation.py (stages).
"""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from nemotron.errors import Problem
from nemotron.training.config import SftConfig
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
"""Megatron-Bridge's settings of the model, and their names in `ModelShape`."""


def parallel_sizes(config: SftConfig) -> dict[str, int]:
    """Return the sizes of tensor, pipeline, context, expert and expert_tensor."""
    keys = {
        "tensor": "tensor_model_parallel_size",
        "pipeline": "pipeline_model_parallel_size",
        "context": "context_parallel_size",
        "expert": "expert_model_parallel_size",
        "expert_tensor": "expert_tensor_parallel_size",
    }
    sizes = {name: config.model.get(key) for name, key in keys.items()}
    # Megatron's default for experts is the tensor parallelism of the other layers.
    return {name: size or (sizes["tensor"] or 1 if name == "expert_tensor" else 1) for name, size in sizes.items()}


def fewest_ranks(config: SftConfig) -> int:
    """Return the smallest number of ranks; all valid numbers are multiples of it."""
    sizes = parallel_sizes(config)
    return math.lcm(
        sizes["tensor"] * sizes["pipeline"] * sizes["context"],
        sizes["expert"] * sizes["expert_tensor"] * sizes["pipeline"],
    )


def find_faults(
    model: Mapping[str, Any], shape: ModelShape, sizes: Mapping[str, int], pack_size: int | None = None
) -> Iterator[Problem]:
    """Yield a problem for each size that does not divide the model or shared tokens.

    Args:
        model: The section `model` of the config. What it says of the model wins over `shape`; null is unknown.
        shape: The model.
        sizes: Tensor, pipeline, context, expert, expert_tensor: the parallel sizes.
        pack_size: Tokens of a pack of the data; None if it is not known.
    """
    faults = [*_divide_model(model, shape, sizes)]
    yield from faults or _divide_sequence(model, shape, sizes, pack_size)
    yield from _divide_layers(model, shape, sizes["pipeline"])


def find_pack_fault(context: int, pack_size: int) -> Iterator[Problem]:
    """Yield a problem if context-parallel ranks cannot share a pack."""
    if context > 1 and pack_size % (2 * context):
        yield Problem(
            f"Packs of {pack_size:,} tokens cannot be divided among {context} context-parallel ranks.",
            f"Choose a pack_size that is a multiple of {2 * context}.",
        )


def find_rank_faults(sizes: Mapping[str, int], ranks: int, batch: int) -> Iterator[Problem]:
    """Yield a problem if parallel sizes do not divide the ranks, or ranks the batch.

    Args:
        sizes: As in `find_faults`.
        ranks: Processes in all.
        batch: Packs of a global batch.
    """
    replica = sizes["tensor"] * sizes["pipeline"] * sizes["context"]
    experts = sizes["expert"] * sizes["expert_tensor"] * sizes["pipeline"]
    groups = {replica: "tensor x pipeline x context", experts: "expert x expert tensor x pipeline"}
    undivided = {divisor: names for divisor, names in groups.items() if ranks % divisor}
    for divisor, names in undivided.items():
        yield Problem(
            f"{ranks} ranks are not divisible by {divisor} ({names} parallel).",
            f"Start a multiple of {divisor} ranks, or lower model.*_parallel_size.",
        )
    if not undivided and batch % (data := ranks // replica):
        yield Problem(
            f"train.global_batch_size={batch} cannot be divided among {data} data-parallel ranks.",
            f"Use {math.ceil(batch / data) * data}.",
        )


def _divide_model(model: Mapping[str, Any], shape: ModelShape, sizes: Mapping[str, int]) -> Iterator[Problem]:
    """Yield a problem for each size that does not divide a count of the model.

    Values in `model` take precedence over `shape`; null is unknown.
    """
    counts = {name: model.get(name, getattr(shape, field)) for name, field in _OVERRIDES.items()}
    counts = {name: count for name, count in counts.items() if isinstance(count, int) and count > 0}
    if not shape.mamba_layers:
        counts = {name: count for name, count in counts.items() if not name.startswith("mamba_")}
    if not shape.moe_layers:
        counts = {name: count for name, count in counts.items() if "moe" not in name}
    tensor = [*_divide("model.tensor_model_parallel_size", sizes["tensor"], lambda size: _tensor(counts, size))]
    yield from tensor
    if not tensor:  # otherwise the same number is reported twice
        key, size = "model.context_parallel_size", sizes["context"]
        yield from _divide(key, size, lambda size: _context(counts, sizes["tensor"], size))
    key, size = "model.expert_model_parallel_size", sizes["expert"]
    yield from _divide(key, size, lambda size: _share(counts, {"num_moe_experts": size}))
    key, size = "model.expert_tensor_parallel_size", sizes["expert_tensor"]
    if not tensor or size != sizes["tensor"]:  # by default it is the tensor parallelism of the other layers
        yield from _divide(key, size, lambda size: _share(counts, {"moe_ffn_hidden_size": size}))


def _divide(key: str, size: int, fault: Callable[[int], str | None]) -> Iterator[Problem]:
    """Yield a problem if there is a fault with `size`. `fault(1)` is None."""
    if what := fault(size):
        smaller = [str(other) for other in range(1, size) if not fault(other)]
        yield Problem(f"{key} is {size}, but {what}.", f"Use {' or '.join(smaller)}.")


def _share(counts: Mapping[str, int], ranks: Mapping[str, int]) -> str | None:
    """Describe the first count that the ranks cannot share."""
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
    """Describe why ranks cannot exchange a pack's positions for Mamba heads.

    A group may be on several ranks.
    """
    if what := _share(counts, {"mamba_num_heads": tensor * size}):
        return f"{what}, tensor x context parallel" if tensor > 1 else what
    groups = counts.get("mamba_num_groups", tensor * size) // tensor
    if groups % size and size % groups:
        return f"the {groups} Mamba groups (mamba_num_groups) of a rank are neither a multiple nor a divisor of it"
    return None


def _divide_sequence(
    model: Mapping[str, Any], shape: ModelShape, sizes: Mapping[str, int], pack_size: int | None
) -> Iterator[Problem]:
    tensor, context = sizes["tensor"], sizes["context"]
    if tensor == 1:
        return
    if shape.moe_layers and model.get("sequence_parallel") is False:
        yield Problem(
            f"model.sequence_parallel is False, but with model.tensor_model_parallel_size={tensor} layers of experts "
            "need it.",
            "Set model.sequence_parallel=true.",
        )
    if model.get("sequence_parallel") and pack_size is not None and pack_size % (tensor * context):
        yield Problem(
            f"Packs of {pack_size:,} tokens cannot be divided among {tensor} tensor-parallel"
            + (f" x {context} context-parallel ranks." if context > 1 else " ranks."),
            f"Choose a pack_size that is a multiple of {tensor * context}.",
        )


def _divide_layers(model: Mapping[str, Any], shape: ModelShape, stages: int) -> Iterator[Problem]:
    """Yield a problem if stages are neither marked nor of equal length.

    Megatron also accepts a multiple of stages, for interleaved pipelines. Megatron-Bridge does not support these for
    this model (megatron/bridge/models/hybrid/hybrid_provider.py), and layers of the additional stages would be left
    out.
    """
    pattern = model.get("hybrid_layer_pattern")
    marked = len(pattern.split("/")[0].split("|")) if isinstance(pattern, str) else 1
    if marked > 1 and marked != stages:
        yield Problem(
            f"model.hybrid_layer_pattern is {pattern}, which has {marked} stages, but "
            f"model.pipeline_model_parallel_size is {stages}.",
            f"Set model.pipeline_model_parallel_size={marked}, or mark {stages} stages with |.",
        )
    uneven = ("num_layers_in_first_pipeline_stage", "num_layers_in_last_pipeline_stage")
    if marked > 1 or any(model.get(name) for name in uneven):
        return
    layers = shape.mamba_layers + shape.attention_layers + shape.moe_layers
    if layers % stages:
        yield Problem(
            f"model.pipeline_model_parallel_size is {stages}, but the model's {layers} layers cannot be divided by "
            f"{stages}.",
            "Mark where a stage begins with | in model.hybrid_layer_pattern (MEM*|EME has two), or use another size.",
        )
