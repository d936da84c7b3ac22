"""The layout of a run in words: which ranks share what, and what one of them will hold."""

import math

from nemotron.errors import UserError
from nemotron.training.checkpoints.hf_folder import model_config
from nemotron.training.config import SftConfig
from nemotron.training.parallelism.divisibility import check_divisible
from nemotron.training.parallelism.memory import Layout, Memory, StateBytes, estimate
from nemotron.training.parallelism.model_shape import KNOWN_SHAPES, ModelShape, shape_of

WORTH_PLANNING = 1e9
"""Bytes below which memory needs no thought."""
_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2, "uint8": 1}


def explain_layout(config: SftConfig, pack_size: int, ranks: int | None = None) -> list[tuple[str, str]]:
    """Lines of the plan: (what, value).

    Args:
        pack_size: tokens of a pack.
        ranks: processes in all. Without it, the fewest that the layout allows, and four times as many: weights and
            activations stay the same then, and the optimizer is divided among more.

    Raises:
        UserError: the ranks cannot be divided as configured, or the model, a pack or a batch cannot be divided among
            them.
    """
    sizes = _sizes(config)
    shape = _shape(config.recipe.hf_model)
    if shape is not None:
        check_divisible(config.model, shape, sizes, pack_size)
    fewest = fewest_ranks(config)
    layouts = [Layout(count, **sizes) for count in ([ranks] if ranks else [fewest, 4 * fewest])]
    rows = [("ranks share", _shares(sizes)), ("tokens per rank", _tokens(pack_size, sizes["context"]))]
    if ranks:
        rows.append(("data parallel", _data_parallel(config, layouts[0])))
    if shape is not None:
        memories = [(layout.ranks, _memory(config, shape, layout, pack_size)) for layout in layouts]
        if memories[0][1].total >= WORTH_PLANNING:
            rows += [(f"memory per rank, of {count}", _in_words(memory)) for count, memory in memories]
            rows += _too_much(config, *memories[-1])
    return rows


def fewest_ranks(config: SftConfig) -> int:
    """The smallest number of ranks that the parallel sizes can be laid out on; all others are multiples of it."""
    sizes = _sizes(config)
    return math.lcm(
        sizes["tensor"] * sizes["pipeline"] * sizes["context"],
        sizes["expert"] * sizes["expert_tensor"] * sizes["pipeline"],
    )


def state_bytes(config: SftConfig) -> StateBytes:
    """What weights, gradients and optimizer take per parameter, by the settings of Megatron-Core's OptimizerConfig."""
    precision = config.mixed_precision
    divided = config.ddp.get("use_distributed_optimizer", True)
    if precision is None:
        return StateBytes(number=4, gradient=4, optimizer=8, divided=divided)
    # A name stands for Megatron-Bridge's preset, with float32; a mapping changes the recipe's, which has bfloat16.
    in_float32 = precision.get("grad_reduce_in_fp32", False) if isinstance(precision, dict) else True
    types = ["float32"] * 3
    if config.optimizer.get("use_precision_aware_optimizer"):
        types = [config.optimizer.get(f"{part}_dtype") for part in ("main_params", "exp_avg", "exp_avg_sq")]
    return StateBytes(
        gradient=4 if in_float32 else 2,
        optimizer=sum(_BYTES.get(str(name).removeprefix("torch."), 4) for name in types),
        divided=divided,
    )


def _too_much(config: SftConfig, ranks: int, memory: Memory) -> list[tuple[str, str]]:
    """That the estimate exceeds a GPU's memory, and what would lower its largest part."""
    limit = config.run.gpu_memory_gb
    if memory.total <= limit * 1e9:
        return []
    divide = "divide the model: model.{tensor,pipeline,expert}_model_parallel_size"
    if config.peft is None:
        divide += ", or train adapters: -c lora"
    remedies = {
        "weights": divide,
        "gradients": divide,
        "optimizer": "use more ranks, or half the bytes (see optimizer in config/default.yaml)",
        "activations": "recompute them: model.recompute_granularity=full model.recompute_method=uniform "
        "model.recompute_num_layers=1, or divide packs: model.context_parallel_size",
        "mamba_states": "recompute them: model.recompute_granularity=full model.recompute_method=uniform "
        "model.recompute_num_layers=1, or divide packs: model.context_parallel_size",
    }
    largest = max(remedies, key=lambda part: getattr(memory, part))
    exceeds = f"on {ranks} ranks, {memory.total / 1e9:.0f} GB are more than a GPU's {limit:.0f} (run.gpu_memory_gb)"
    return [("does not fit", f"{exceeds}. Most of it is {largest.replace('_', ' ')}: {remedies[largest]}.")]


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
        state=state_bytes(config),
        trains_adapters=config.peft is not None,
        recompute_all=config.model.get("recompute_granularity") == "full",
    )


def _in_words(memory: Memory) -> str:
    parts = ("weights", "gradients", "optimizer", "activations", "mamba_states")
    named = ", ".join(f"{name.replace('_', ' ')} {getattr(memory, name) / 1e9:.0f}" for name in parts)
    return f"about {memory.total / 1e9:.0f} GB and what the framework adds ({named})"
