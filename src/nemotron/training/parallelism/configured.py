"""Read from the config how the model is divided, and what training stores."""

import math
from dataclasses import dataclass, replace

from nemotron.training.checkpoints.hf_folder import model_config
from nemotron.training.config import SftConfig
from nemotron.training.parallelism.memory import StateBytes
from nemotron.training.parallelism.model_shape import KNOWN_SHAPES, ModelShape, shape_of

_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2, "uint8": 1}


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


@dataclass(frozen=True)
class KnownModel:
    """What is known about a model without network and Megatron; None if unknown."""

    shape: ModelShape | None
    vocab_size: int | None


def find_model(config: SftConfig) -> KnownModel:
    """Read the model's shape and vocabulary from its config.json, or by a known name."""
    hf_model = config.recipe.hf_model
    # null turns multi-token prediction off; without the setting, the model's config decides.
    depths = (config.model["mtp_num_layers"] or 0) if "mtp_num_layers" in config.model else None
    described = model_config(hf_model)
    if described is None:
        known = KNOWN_SHAPES.get(hf_model)
        if known is None:
            return KnownModel(None, None)
        return KnownModel(known if depths is None else replace(known, mtp_depths=depths), known.vocab_size)
    try:
        shape = shape_of(described, depths)
    except KeyError:
        shape = None
    return KnownModel(shape, described.get("vocab_size"))


def shape_in(config: SftConfig) -> ModelShape | None:
    """Return the model's shape, if it is known without network and Megatron."""
    return find_model(config).shape


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
