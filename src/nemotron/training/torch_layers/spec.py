"""Build the layer spec of Nemotron 3's hybrid stack from torch layers.

It mirrors `hybrid_stack_spec` of megatron/core/models/hybrid/hybrid_layer_specs.py (`mamba_stack_spec` of
megatron/core/models/mamba/mamba_layer_specs.py in the 0.4 line). There the norm before a
projection is part of the projection (TELayerNormColumnParallelLinear). Here it is a separate module that checkpoints
store under the fused name, so that checkpoints of either stack load into the other.
"""

from typing import Any

from megatron.core.fusions.fused_bias_dropout import get_bias_dropout_add
from megatron.core.models.gpt.moe_module_specs import get_moe_module_spec
from megatron.core.ssm.mamba_layer import MambaLayer, MambaLayerSubmodules
from megatron.core.ssm.mamba_mixer import MambaMixer, MambaMixerSubmodules
from megatron.core.ssm.mlp_layer import MLPLayer
from megatron.core.tensor_parallel import ColumnParallelLinear, RowParallelLinear
from megatron.core.transformer.attention import SelfAttention, SelfAttentionSubmodules
from megatron.core.transformer.enums import AttnMaskType
from megatron.core.transformer.mlp import MLPSubmodules
from megatron.core.transformer.multi_token_prediction import (
    MultiTokenPredictionBlock,
    MultiTokenPredictionBlockSubmodules,
    MultiTokenPredictionLayer,
    MultiTokenPredictionLayerSubmodules,
)
from megatron.core.transformer.spec_utils import ModuleSpec
from megatron.core.transformer.transformer_layer import (
    MoETransformerLayer,
    TransformerLayer,
    TransformerLayerSubmodules,
)

from nemotron.training import bridge
from nemotron.training.torch_layers.attention import PackedAttention
from nemotron.training.torch_layers.layers import RMSNorm

# Megatron annotates these fields as modules, but its own specs also pass this function.
BIAS_DROPOUT_ADD: Any = get_bias_dropout_add


def torch_hybrid_stack_spec() -> ModuleSpec:
    """Return a provider's `spec_field` for a stack without Transformer Engine.

    This is a function, not a constant, because Megatron-Bridge writes its name into the checkpoint's run_config.yaml.
    """
    hybrid = bridge.installed().hybrid_stack()
    return ModuleSpec(
        module=hybrid.stack,
        submodules=hybrid.submodules(
            mamba_layer=_mamba_layer(),
            attention_layer=_attention_layer(),
            mlp_layer=_mlp_layer(),
            moe_layer=_moe_layer(),
            mtp_block_spec=_mtp_block(),
        ),
    )


def _mamba_layer() -> ModuleSpec:
    mixer = ModuleSpec(
        module=MambaMixer,
        submodules=MambaMixerSubmodules(in_proj=ColumnParallelLinear, out_proj=RowParallelLinear),
    )
    return ModuleSpec(
        module=MambaLayer,
        submodules=MambaLayerSubmodules(
            norm=RMSNorm,
            mixer=mixer,
            mamba_bda=BIAS_DROPOUT_ADD,
            sharded_state_dict_keys_map={"norm.": "mixer.in_proj.layer_norm_"},
        ),
    )


def _attention_layer() -> ModuleSpec:
    attention = ModuleSpec(
        module=SelfAttention,
        params={"attn_mask_type": AttnMaskType.causal},
        submodules=SelfAttentionSubmodules(
            linear_qkv=ColumnParallelLinear, core_attention=PackedAttention, linear_proj=RowParallelLinear
        ),
    )
    return ModuleSpec(
        module=TransformerLayer,
        submodules=TransformerLayerSubmodules(
            input_layernorm=RMSNorm,
            self_attention=attention,
            self_attn_bda=BIAS_DROPOUT_ADD,
            sharded_state_dict_keys_map={"input_layernorm.": "self_attention.linear_qkv.layer_norm_"},
        ),
    )


def _mlp_layer() -> ModuleSpec:
    linears = MLPSubmodules(linear_fc1=ColumnParallelLinear, linear_fc2=RowParallelLinear)
    return ModuleSpec(
        module=MLPLayer,
        submodules=TransformerLayerSubmodules(
            pre_mlp_layernorm=RMSNorm,
            mlp=bridge.installed().mlp_submodule(linears),
            mlp_bda=BIAS_DROPOUT_ADD,
            sharded_state_dict_keys_map={"pre_mlp_layernorm.": "mlp.linear_fc1.layer_norm_"},
        ),
    )


def _moe_layer() -> ModuleSpec:
    # The number of experts comes from the model config; here any number will do.
    experts = get_moe_module_spec(use_te=False, num_experts=8, moe_grouped_gemm=False)
    return ModuleSpec(
        module=MoETransformerLayer,
        submodules=TransformerLayerSubmodules(pre_mlp_layernorm=RMSNorm, mlp=experts, mlp_bda=BIAS_DROPOUT_ADD),
    )


def _mtp_block() -> ModuleSpec:
    """Return the spec of multi-token prediction: its norms and projection.

    Megatron builds the layers inside from the MTP part of the layer pattern.
    """
    layer = ModuleSpec(
        module=MultiTokenPredictionLayer,
        submodules=MultiTokenPredictionLayerSubmodules(
            enorm=RMSNorm,
            hnorm=RMSNorm,
            eh_proj=ColumnParallelLinear,
            layer_norm=RMSNorm,
        ),
    )
    return ModuleSpec(
        module=MultiTokenPredictionBlock, submodules=MultiTokenPredictionBlockSubmodules(layer_specs=[layer])
    )
