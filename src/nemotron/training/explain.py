"""The layout of a run in words: which ranks share what, and what one of them will hold."""

import math

from nemotron.errors import UserError
from nemotron.training.checks import model_config
from nemotron.training.config import SftConfig
from nemotron.training.memory import Layout, Memory, estimate
from nemotron.training.shape import KNOWN_SHAPES, ModelShape, shape_of

WORTH_PLANNING = 1e9
"""Bytes below which memory needs no thought."""


def explain_layout(config: SftConfig, pack_size: int, ranks: int | None = None) -> list[tuple[str, str]]:
    """Lines of the plan: (what, value).

    Args:
        pack_size: tokens of a pack.
        ranks: processes in all. Without it, the fewest that the layout allows, and four times as many: weights and
            activations stay the same then, and the optimizer is divided among more.

    Raises:
        UserError: the ranks cannot be divided as configured, or a pack or batch cannot be divided among them.
    """
    sizes = _sizes(config)
    fewest = math.lcm(
        sizes["tensor"] * sizes["pipeline"] * sizes["context"],
        sizes["expert"] * sizes["expert_tensor"] * sizes["pipeline"],
    )
    layouts = [Layout(count, **sizes) for count in ([ranks] if ranks else [fewest, 4 * fewest])]
    rows = [("ranks share", _shares(sizes)), ("tokens per rank", _tokens(pack_size, sizes["context"]))]
    if ranks:
        rows.append(("data parallel", _data_parallel(config, layouts[0])))
    shape = _shape(config.recipe.hf_model)
    if shape is not None:
        memories = [(layout.ranks, _memory(config, shape, layout, pack_size)) for layout in layouts]
        if memories[0][1].total >= WORTH_PLANNING:
            rows += [(f"memory per rank, of {count}", _in_words(memory)) for count, memory in memories]
    return rows


def _sizes(config: SftConfig) -> dict[str, int]:
    keys = {
        "tensor": "tensor_model_parallel_size",
        "pipeline": "pipeline_model_parallel_size",
        "context": "context_parallel_size",
        "expert": "expert_model_parallel_size",
        "expert_tensor": "expert_tensor_parallel_size",
    }
    sizes = {name: config.model.get(key) for name, key in keys.items()}
    # Megatron's default for experts is the tensor parallelism of the rest.
    return {name: size or (sizes["tensor"] or 1 if name == "expert_tensor" else 1) for name, size in sizes.items()}


def _shares(sizes: dict[str, int]) -> str:
    divided = [f"{name.replace('_', ' ')} parallel {size}" for name, size in sizes.items() if size > 1]
    return ", ".join(divided) or "nothing of the model: every rank holds all of it"


def _tokens(pack_size: int, context: int) -> str:
    if context == 1:
        return f"{pack_size:,}: a whole pack"
    if pack_size % (2 * context):
        raise UserError(
            f"Packs of {pack_size:,} tokens cannot be divided among {context} context-parallel ranks.",
            f"Choose a pack_size that is a multiple of {2 * context}.",
        )
    return f"{pack_size // context:,}: of each conversation's {2 * context} slices, one early and one late"


def _data_parallel(config: SftConfig, layout: Layout) -> str:
    batch = config.train.get("global_batch_size") or 1
    if batch % layout.data:
        raise UserError(
            f"train.global_batch_size={batch} does not divide among {layout.data} data-parallel ranks.",
            f"Use {math.ceil(batch / layout.data) * layout.data}.",
        )
    return f"{layout.data} of {layout.ranks} ranks hold different packs, {batch // layout.data} per iteration each"


def _shape(hf_model: str) -> ModelShape | None:
    """The model's shape where it can be known without a network and without Megatron."""
    described = model_config(hf_model)
    try:
        return KNOWN_SHAPES.get(hf_model) if described is None else shape_of(described)
    except KeyError:
        return None


def _memory(config: SftConfig, shape: ModelShape, layout: Layout, pack_size: int) -> Memory:
    return estimate(
        shape,
        layout,
        pack_size,
        trains_adapters=config.peft is not None,
        recompute_all=config.model.get("recompute_granularity") == "full",
    )


def _in_words(memory: Memory) -> str:
    parts = ("weights", "gradients", "optimizer", "activations", "mamba_states")
    named = ", ".join(f"{name.replace('_', ' ')} {getattr(memory, name) / 1e9:.0f}" for name in parts)
    return f"about {memory.total / 1e9:.0f} GB and what the framework adds ({named})"
