"""Describe the layout of a run: what ranks share, and the memory of a rank."""

from nemotron.training.config import SftConfig
from nemotron.training.parallelism.advise import advise
from nemotron.training.parallelism.divisibility import fewest_ranks, parallel_sizes
from nemotron.training.parallelism.memory import Memory, estimate, state_bytes
from nemotron.training.parallelism.model_shape import ModelShape, shape_in
from nemotron.training.parallelism.rank_parameters import Layout

WORTH_PLANNING = 1e9
"""Below this many bytes, memory is not a concern."""


def explain_layout(config: SftConfig, pack_size: int, ranks: int | None = None) -> list[tuple[str, str]]:
    """Describe the layout in lines of the plan: (what, value).

    The sizes must have passed checks/counts.py.

    Args:
        pack_size: Tokens of a pack.
        ranks: Processes in all. Without it, the fewest that the layout allows, and four times as many: weights and
            activations stay the same then, and the optimizer is divided among more.
    """
    sizes = parallel_sizes(config)
    shape = shape_in(config)
    fewest = fewest_ranks(config)
    layouts = [Layout(count, **sizes) for count in ([ranks] if ranks else [fewest, 4 * fewest])]
    rows = [("ranks share", _shares(sizes)), ("tokens per rank", _tokens(pack_size, sizes["context"]))]
    if ranks:
        rows.append(("data parallel", _data_parallel(config, layouts[0])))
    if shape is not None:
        memories = [(layout.ranks, _memory(config, shape, layout, pack_size)) for layout in layouts]
        if memories[0][1].total >= WORTH_PLANNING:
            rows += [(f"memory per rank, of {count}", _in_words(memory)) for count, memory in memories]
            rows += _too_much(config, *memories[-1], pack_size)
    return rows


def _too_much(config: SftConfig, ranks: int, memory: Memory, pack_size: int) -> list[tuple[str, str]]:
    """Explain that the estimate exceeds a GPU's memory, and what would reduce it."""
    limit = config.run.gpu_memory_gb - config.run.gpu_headroom_gb
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
    exceeds = (
        f"on {ranks} ranks, {memory.total / 1e9:.0f} GB are more than the {limit:.0f} GB available on a GPU "
        "(run.gpu_memory_gb minus run.gpu_headroom_gb)"
    )
    advice = advise(config, pack_size, ranks, most=1)
    instead = (
        f"{advice[0].command_line} ({advice[0].describe()})" if advice else f"nothing on {ranks} ranks; use more ranks"
    )
    return [
        ("does not fit", f"{exceeds}. Most of it is {largest.replace('_', ' ')}: {remedies[largest]}."),
        ("what fits", instead),
    ]


def _shares(sizes: dict[str, int]) -> str:
    divided = [f"{name.replace('_', ' ')} parallel {size}" for name, size in sizes.items() if size > 1]
    return ", ".join(divided) or "nothing: every rank has the whole model"


def _tokens(pack_size: int, context: int) -> str:
    if context == 1:
        return f"{pack_size:,}: a whole pack"
    return f"{pack_size // context:,}: two of the {2 * context} slices of each sequence, one early and one late"


def _data_parallel(config: SftConfig, layout: Layout) -> str:
    batch = config.train.get("global_batch_size") or 1
    return f"{layout.data} of {layout.ranks} ranks hold different packs, {batch // layout.data} per iteration each"


def _memory(config: SftConfig, shape: ModelShape, layout: Layout, pack_size: int) -> Memory:
    return estimate(
        shape,
        layout,
        pack_size,
        state=state_bytes(config),
        trains_adapters=config.peft is not None,
        recompute_all=config.model.get("recompute_granularity") == "full",
        pattern=config.model.get("hybrid_layer_pattern"),
    )


def _in_words(memory: Memory) -> str:
    parts = ("weights", "gradients", "optimizer", "activations", "mamba_states")
    named = ", ".join(f"{name.replace('_', ' ')} {getattr(memory, name) / 1e9:.0f}" for name in parts)
    where = f", on stage {memory.stage + 1}" if memory.stage else ""
    return f"about {memory.total / 1e9:.0f} GB plus the framework's own ({named}{where})"
