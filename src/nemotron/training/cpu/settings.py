"""The Megatron-Bridge settings that torch layers, and a machine without CUDA, need."""

from typing import TYPE_CHECKING, Any

import torch

from nemotron.training import bridge

if TYPE_CHECKING:
    from megatron.bridge.training.config import ConfigContainer


SCAN_CHUNK_SIZE = 64
"""Tokens per chunk of the scan in mamba.py. On the CPU, 32 and 64 were the fastest of 16 to 256."""


def torch_layers() -> dict[str, Any]:
    """The fields of a model provider that build it from torch layers: no Transformer Engine, no fused kernels."""
    from nemotron.training.cpu.spec import torch_hybrid_stack_spec

    return {
        bridge.installed().hybrid_stack().spec_field: torch_hybrid_stack_spec,
        "moe_grouped_gemm": False,
        "moe_permute_fusion": False,
        "moe_router_fusion": False,
        "moe_shared_expert_overlap": False,
        "gradient_accumulation_fusion": False,
        "cross_entropy_loss_fusion": False,
        "bias_dropout_fusion": False,
        "apply_rope_fusion": False,
        "masked_softmax_fusion": False,
        "persist_layer_norm": False,
        "tp_comm_overlap": False,
        "cuda_graph_impl": "none",
        "use_te_rng_tracker": False,
        # The scan gives the same result whatever the chunk; its cost grows with it.
        "mamba_chunk_size": SCAN_CHUNK_SIZE,
    }


def use_torch_layers(model: Any) -> None:
    """Build `model`, a provider of hybrid models, from torch layers."""
    _set(model, **torch_layers())


def use_float32(model: Any) -> None:
    """Float32 weights and arithmetic throughout `model`."""
    _set(
        model,
        bf16=False,
        fp16=False,
        params_dtype=torch.float32,
        pipeline_dtype=torch.float32,
        autocast_dtype=torch.float32,
        first_last_layers_bf16=False,
        keep_mtp_spec_in_bf16=False,
    )


def use_cpu(model: Any) -> None:
    """`use_torch_layers` and `use_float32`, with what the absence of CUDA adds."""
    use_torch_layers(model)
    use_float32(model)
    model.use_cpu_initialization = True
    if model.num_moe_experts:
        # gloo has no all-to-all.
        model.moe_token_dispatcher_type = "allgather"


def apply(config: "ConfigContainer") -> None:
    """Make a Megatron-Bridge config one that trains on CPU. Values that do not bear on that are left alone."""
    use_cpu(config.model)
    config.mixed_precision = None
    config.comm_overlap = None
    _set(
        config.optimizer,
        bf16=False,
        fp16=False,
        params_dtype=torch.float32,
        use_distributed_optimizer=False,
        use_precision_aware_optimizer=False,
        main_params_dtype=torch.float32,
        main_grads_dtype=torch.float32,
        exp_avg_dtype=torch.float32,
        exp_avg_sq_dtype=torch.float32,
        overlap_param_gather=False,
    )
    _set(
        config.ddp,
        use_distributed_optimizer=False,
        overlap_grad_reduce=False,
        overlap_param_gather=False,
        average_in_collective=False,  # gloo sums and cannot average
    )
    config.dist.distributed_backend = "gloo"
    config.rng.te_rng_tracker = False
    config.checkpoint.async_save = False
    # Two cores have no use for loader processes, and pinned memory is CUDA's.
    _set(config.dataset, num_workers=0, pin_memory=False, persistent_workers=False)


def _set(target: Any, **values: object) -> None:
    """Assign the fields that this Megatron release has; the names come and go between releases."""
    for name, value in values.items():
        if hasattr(target, name):
            setattr(target, name, value)
