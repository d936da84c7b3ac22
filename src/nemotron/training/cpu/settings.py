"""Set what a machine without CUDA needs, in addition to the torch layers."""

from typing import TYPE_CHECKING, Any

from nemotron.training import torch_layers
from nemotron.training.bridge.provider import set_fields, train_in_float32, use_float32

if TYPE_CHECKING:
    from megatron.bridge.training.config import ConfigContainer

SCAN_CHUNK_SIZE = 64
"""Tokens per chunk of the scan. On the CPU, 32 and 64 were the fastest of 16 to 256."""


def use_cpu(model: Any) -> None:
    """Build a provider of hybrid models from torch layers in float32, on the CPU."""
    torch_layers.use_torch_layers(model)
    use_float32(model)
    _leave_cuda(model)


def _leave_cuda(model: Any) -> None:
    model.use_cpu_initialization = True
    model.mamba_chunk_size = SCAN_CHUNK_SIZE
    if model.num_moe_experts:
        # gloo has no all-to-all.
        model.moe_token_dispatcher_type = "allgather"


def apply(config: "ConfigContainer") -> None:
    """Change a Megatron-Bridge config to train on a CPU.

    Other settings are not changed.
    """
    train_in_float32(config)
    torch_layers.apply(config)
    _leave_cuda(config.model)
    set_fields(config.optimizer, use_distributed_optimizer=False, overlap_param_gather=False)
    set_fields(
        config.ddp,
        use_distributed_optimizer=False,
        overlap_grad_reduce=False,
        overlap_param_gather=False,
        average_in_collective=False,  # gloo sums and cannot average
    )
    config.dist.distributed_backend = "gloo"
    # Loader processes do not help on few cores, and pinned memory needs CUDA.
    set_fields(config.dataset, num_workers=0, pin_memory=False, persistent_workers=False)
