"""Change the Megatron-Bridge settings that the torch layers require."""

from typing import TYPE_CHECKING, Any

from nemotron.training import bridge
from nemotron.training.bridge.provider import FLOAT32_STATE, set_fields

if TYPE_CHECKING:
    from megatron.bridge.training.config import ConfigContainer


SCAN_CHUNK_SIZE = 128
"""Tokens per chunk of the scan in mamba.py. On an H200, 128 was the fastest of 32 to 256 at Super's sizes."""


def provider_fields() -> dict[str, Any]:
    """Return the fields of a provider that builds a model from torch layers.

    They turn off Transformer Engine and fused kernels.
    """
    from nemotron.training.torch_layers.spec import torch_hybrid_stack_spec

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
        # The chunk does not change the result of the scan; its cost grows with the chunk.
        "mamba_chunk_size": SCAN_CHUNK_SIZE,
    }


def use_torch_layers(model: Any) -> None:
    """Have a provider of hybrid models build them from torch layers."""
    set_fields(model, **provider_fields())


def apply(config: "ConfigContainer") -> None:
    """Change a Megatron-Bridge config to train with the torch layers.

    Number formats, parallel layout and optimizer stay, except what requires Transformer Engine (optimizer states of
    less than float32) or DeepEP (the flex dispatcher). The chunk of the Mamba scan changes too, which changes only its
    speed.
    """
    model: Any = config.model
    use_torch_layers(model)
    if model.num_moe_experts and model.moe_token_dispatcher_type == "flex":
        model.moe_token_dispatcher_type = "alltoall"
    config.comm_overlap = None
    set_fields(config.optimizer, **FLOAT32_STATE)
    config.rng.te_rng_tracker = False
    config.checkpoint.async_save = False
