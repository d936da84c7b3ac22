"""Change a model provider for what has no setting: float32, and no MTP."""

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from megatron.bridge.training.config import ConfigContainer

FLOAT32_STATE: dict[str, Any] = {
    "use_precision_aware_optimizer": False,
    "main_params_dtype": torch.float32,
    "main_grads_dtype": torch.float32,
    "exp_avg_dtype": torch.float32,
    "exp_avg_sq_dtype": torch.float32,
}
"""The fields of an optimizer config for which it keeps everything in float32."""


def train_in_float32(container: "ConfigContainer") -> None:
    """Remove mixed precision (`mixed_precision=null`), including the recipe's."""
    container.mixed_precision = None
    use_float32(container.model)
    set_fields(container.optimizer, bf16=False, fp16=False, params_dtype=torch.float32, **FLOAT32_STATE)


def use_float32(model: Any) -> None:
    """Use float32 weights and arithmetic in a model provider."""
    set_fields(
        model,
        bf16=False,
        fp16=False,
        params_dtype=torch.float32,
        pipeline_dtype=torch.float32,
        autocast_dtype=torch.float32,
        first_last_layers_bf16=False,
        keep_mtp_spec_in_bf16=False,
    )


def leave_out_mtp(provider: Any) -> None:
    """Have a model provider make a model without multi-token prediction.

    Setting `mtp_num_layers` is not enough: a pattern for these layers still makes them
    (HybridModelProvider.finalize, megatron/bridge/models/hybrid/hybrid_provider.py).
    """
    provider.mtp_num_layers = None
    provider.mtp_hybrid_override_pattern = None
    provider.mtp_use_repeated_layer = False
    provider.keep_mtp_spec_in_bf16 = False


def set_fields(target: Any, **values: object) -> None:
    """Set those fields that this Megatron release has.

    Their names differ between releases.
    """
    for name, value in values.items():
        if hasattr(target, name):
            setattr(target, name, value)
