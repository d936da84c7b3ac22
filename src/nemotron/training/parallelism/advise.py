"""Find layouts that fit: parallel sizes, recomputation and precisions."""

import itertools
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from nemotron.training.config import SftConfig
from nemotron.training.parallelism.cost import Cost, crossing, iteration_cost
from nemotron.training.parallelism.divisibility import find_faults, parallel_sizes
from nemotron.training.parallelism.memory import Memory, StateBytes, estimate, state_bytes
from nemotron.training.parallelism.model_shape import ModelShape, shape_in
from nemotron.training.parallelism.rank_parameters import Layout

GPUS_PER_NODE = 8
A_KIND_MORE, OTHER_DATA = 1.04, 1.1
"""Penalties on the estimated time: for each kind of parallelism in use, and if the data must be prepared again."""
_KEYS = {
    "tensor": "model.tensor_model_parallel_size",
    "pipeline": "model.pipeline_model_parallel_size",
    "context": "model.context_parallel_size",
    "expert": "model.expert_model_parallel_size",
    "expert_tensor": "model.expert_tensor_parallel_size",
}
_RECOMPUTE = ("model.recompute_granularity=full", "model.recompute_method=uniform", "model.recompute_num_layers=1")
_SMALL_OPTIMIZER = (
    "optimizer.use_precision_aware_optimizer=true",
    "optimizer.main_params_dtype=float16",
    "optimizer.exp_avg_dtype=bfloat16",
    "optimizer.exp_avg_sq_dtype=bfloat16",
)
_SMALL_GRADIENTS = ("mixed_precision={grad_reduce_in_fp32: false}",)


@dataclass(frozen=True)
class Advice:
    """A layout that fits, and what it costs."""

    layout: Layout
    memory: Memory
    cost: Cost
    overrides: tuple[str, ...]
    """What changes in the config, as `key=value`."""
    pad_to_multiple: int
    """The multiple that data prep must pad sequences to: 2 x context parallel, or 1."""
    crosses: tuple[str, ...]
    """Kinds of parallelism whose groups span several nodes."""
    precision: int
    """0: as configured; 1: half the bytes for the optimizer's state; 2: and for the gradients."""

    @property
    def command_line(self) -> str:
        """Return the overrides as a user types them."""
        return shlex.join(self.overrides)

    def describe(self) -> str:
        """Describe the memory of a rank and the time of an iteration in one line."""
        cost = self.cost
        parts = [f"about {self.memory.total / 1e9:.0f} GB per rank"]
        parts += [f"communication {cost.communication / cost.total:.0%} of the time"]
        if cost.recompute:
            parts.append(f"recomputation {cost.recompute / cost.total:.0%}")
        if cost.pipeline_bubble:
            parts.append(f"pipeline bubble {cost.pipeline_bubble / cost.total:.0%}")
        parts.append(
            f"across nodes: {', '.join(self.crosses)}" if self.crosses else "only data parallelism across nodes"
        )
        if self.pad_to_multiple > 1:
            parts.append(f"data prep with pad_to_multiple={self.pad_to_multiple}")
        return ", ".join(parts)


def advise(
    config: SftConfig,
    pack_size: int,
    ranks: int,
    *,
    pad_to_multiple: int = 1,
    gpus_per_node: int = GPUS_PER_NODE,
    most: int = 5,
) -> list[Advice]:
    """Search for layouts that fit in the memory of a GPU, the best first.

    A layout is better if it keeps the configured precisions, then if it keeps experts inside a node, then if its
    estimated iteration is shorter (cost.py). All returned layouts obey the rules of divisibility.

    Args:
        config: The training config; only its parallel sizes and recomputation change.
        pack_size: Tokens of a pack.
        ranks: Processes in all.
        pad_to_multiple: The setting of the data; context parallelism wants a multiple of twice its size.
        gpus_per_node: How many of them share a node.
        most: How many to return.

    Returns:
        At most `most` layouts, of which no two differ only in recomputation; [] if nothing fits or the model's shape is
        not
            known.
    """
    shape = shape_in(config)
    if shape is None:
        return []
    spare = 1e9 * (config.run.gpu_memory_gb - config.run.gpu_headroom_gb)
    found: list[Advice] = []
    for precision, state, changes in _precisions(config):
        for layout in _layouts(config, shape, pack_size, ranks):
            for recompute in (False, True):
                made = _advice(config, shape, pack_size, layout, state, recompute, gpus_per_node)
                if made.memory.total <= spare:
                    overrides = (*made.overrides, *changes)
                    found.append(replace(made, overrides=overrides, precision=precision))
                    break
        if len(found) >= most:
            break
    return sorted(found, key=lambda advice: _rank(advice, pad_to_multiple))[:most]


def _rank(advice: Advice, pad_to_multiple: int) -> tuple[int, bool, float]:
    """Return a key that sorts the better layout first.

    Each further kind of parallelism, and other data, must be worth the effort.
    """
    kinds = sum(getattr(advice.layout, kind) > 1 for kind in _KEYS)
    trouble = A_KIND_MORE**kinds * (OTHER_DATA if pad_to_multiple % advice.pad_to_multiple else 1.0)
    return advice.precision, "expert" in advice.crosses, advice.cost.total * trouble


def _precisions(config: SftConfig) -> Iterator[tuple[int, StateBytes, tuple[str, ...]]]:
    """Yield the precisions: the configured one, then those with fewer bytes."""
    state = state_bytes(config)
    yield 0, state, ()
    if config.peft is not None or config.mixed_precision is None:
        return
    small = replace(state, optimizer=min(state.optimizer, 6))
    changes = _SMALL_OPTIMIZER if small != state else ()
    if changes:
        yield 1, small, changes
    if state.gradient > 2:
        yield 2, replace(small, gradient=2), (*changes, *_SMALL_GRADIENTS)


def _layouts(config: SftConfig, shape: ModelShape, pack_size: int, ranks: int) -> Iterator[Layout]:
    """Yield every layout of the ranks that divides the model, the packs and the batch."""
    batch = config.train.get("global_batch_size") or 1
    contexts = _divisors(ranks) if config.run.backend in ("auto", "production") else [1]
    stages = [size for size in _divisors(len(shape.layers)) if ranks % size == 0 and size <= 16]
    for tensor, pipeline, context in itertools.product(_divisors(ranks, 16), stages, contexts):
        if ranks % (tensor * pipeline * context) or batch % (ranks // (tensor * pipeline * context)):
            continue
        # Adapters on divided experts are refused (checks/settings.py).
        experts_divided = sorted({1, tensor} if config.peft is None else {1})
        for expert, expert_tensor in itertools.product(_divisors(ranks), experts_divided):
            if ranks % (expert * expert_tensor * pipeline):
                continue
            sizes = {"tensor": tensor, "pipeline": pipeline, "context": context, "expert": expert,
                     "expert_tensor": expert_tensor}  # fmt: skip
            if _divides(config.model, shape, sizes, pack_size):
                yield Layout(ranks, **sizes)


def _divides(model: Mapping[str, Any], shape: ModelShape, sizes: Mapping[str, int], pack_size: int) -> bool:
    if pack_size % (2 * sizes["context"] if sizes["context"] > 1 else 1):
        return False
    settings = {**model, "sequence_parallel": True, "hybrid_layer_pattern": None}
    return not any(find_faults(settings, shape, sizes, pack_size))


def _divisors(number: int, most: int | None = None) -> list[int]:
    return [size for size in range(1, min(number, most or number) + 1) if number % size == 0]


def _advice(
    config: SftConfig,
    shape: ModelShape,
    pack_size: int,
    layout: Layout,
    state: StateBytes,
    recompute: bool,
    gpus_per_node: int,
) -> Advice:
    adapters = config.peft is not None
    memory = estimate(shape, layout, pack_size, state=state, trains_adapters=adapters, recompute_all=recompute)
    cost = iteration_cost(
        shape, layout, pack_size, config.train.get("global_batch_size") or 1, state=state, recompute_all=recompute,
        trains_adapters=adapters, gpus_per_node=gpus_per_node,
    )  # fmt: skip
    now = parallel_sizes(config)
    overrides = [f"{_KEYS[kind]}={getattr(layout, kind)}" for kind in _KEYS if getattr(layout, kind) != now[kind]]
    if layout.tensor > 1 and config.model.get("sequence_parallel") is not True:
        overrides.append("model.sequence_parallel=true")
    if recompute and config.model.get("recompute_granularity") != "full":
        overrides += _RECOMPUTE
    if not recompute and config.model.get("recompute_granularity") == "full":
        overrides.append("model.recompute_granularity=null")
    pad = 2 * layout.context if layout.context > 1 else 1
    return Advice(layout, memory, cost, tuple(overrides), pad, tuple(crossing(layout, gpus_per_node)), 0)
