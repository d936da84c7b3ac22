"""The size of a NemotronH model: its parameters, counted from its config."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ModelShape:
    """What decides the number of parameters. Field by field as in config.json, but for the layers, which are counted.

    Bias-free linear layers, squared-ReLU feed-forward layers (two matrices each), untied embeddings.
    """

    mamba_layers: int
    attention_layers: int
    moe_layers: int
    hidden_size: int
    vocab_size: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    mamba_num_heads: int
    mamba_head_dim: int
    ssm_state_size: int
    n_groups: int
    conv_kernel: int
    n_routed_experts: int
    num_experts_per_tok: int
    moe_intermediate_size: int
    moe_shared_expert_intermediate_size: int
    moe_latent_size: int
    mtp_depths: int
    """Depths of multi-token prediction. All share one attention and one MoE layer."""

    @property
    def mamba_width(self) -> int:
        """Channels inside a Mamba layer."""
        return self.mamba_num_heads * self.mamba_head_dim

    @property
    def conv_width(self) -> int:
        """Channels of a Mamba layer's convolution: x, B and C."""
        return self.mamba_width + 2 * self.n_groups * self.ssm_state_size

    @property
    def in_proj_width(self) -> int:
        """Outputs of a Mamba layer's first projection: z, the convolution's channels, and a time step per head."""
        return self.mamba_width + self.conv_width + self.mamba_num_heads

    @property
    def qkv_width(self) -> int:
        """Outputs of an attention layer's first projection."""
        return (self.num_attention_heads + 2 * self.num_key_value_heads) * self.head_dim

    @property
    def expert(self) -> int:
        """Parameters of one routed expert, which works in the latent size."""
        return 2 * self.moe_latent_size * self.moe_intermediate_size

    @property
    def expert_parameters(self) -> int:
        """Of all routed experts, MTP included: what expert parallelism divides."""
        layers = self.moe_layers + (1 if self.mtp_depths else 0)
        return layers * self.n_routed_experts * self.expert

    @property
    def dense_parameters(self) -> int:
        """Of everything else."""
        mtp = 0
        if self.mtp_depths:
            # The projection of [hidden, embedding] to hidden, three norms, and the shared layers.
            mtp = 2 * self.hidden_size**2 + 3 * self.hidden_size + self._attention + self._moe_without_experts
        return (
            2 * self.vocab_size * self.hidden_size
            + self.hidden_size
            + self.mamba_layers * self._mamba
            + self.attention_layers * self._attention
            + self.moe_layers * self._moe_without_experts
            + mtp
        )

    @property
    def active_parameters(self) -> int:
        """What one token passes through, without MTP."""
        experts = self.moe_layers * self.num_experts_per_tok * self.expert
        mtp = ModelShape(**{**vars(self), "mtp_depths": 0})
        return mtp.dense_parameters + experts

    @property
    def _mamba(self) -> int:
        per_head = 3 * self.mamba_num_heads  # A_log, D, dt_bias
        convolution = self.conv_width * (self.conv_kernel + 1)
        norms = self.hidden_size + self.mamba_width
        return self.hidden_size * (self.in_proj_width + self.mamba_width) + convolution + per_head + norms

    @property
    def _attention(self) -> int:
        inner = self.num_attention_heads * self.head_dim
        return self.hidden_size * (self.qkv_width + inner) + self.hidden_size

    @property
    def _moe_without_experts(self) -> int:
        latent = 2 * self.hidden_size * self.moe_latent_size
        shared = 2 * self.hidden_size * self.moe_shared_expert_intermediate_size
        router = self.n_routed_experts * (self.hidden_size + 1)  # and a correction per expert
        return latent + shared + router + self.hidden_size


SUPER_120B_A12B = ModelShape(
    mamba_layers=40,
    attention_layers=8,
    moe_layers=40,
    hidden_size=4096,
    vocab_size=131072,
    num_attention_heads=32,
    num_key_value_heads=2,
    head_dim=128,
    mamba_num_heads=128,
    mamba_head_dim=64,
    ssm_state_size=128,
    n_groups=8,
    conv_kernel=4,
    n_routed_experts=512,
    num_experts_per_tok=22,
    moe_intermediate_size=2688,
    moe_shared_expert_intermediate_size=5376,
    moe_latent_size=1024,
    mtp_depths=2,
)
"""Nemotron 3 Super, after its technical report: for plans on machines that cannot read the config from the hub."""

KNOWN_SHAPES = {"nvidia/NVIDIA-Nemotron-3-Super-120B-A12B-BF16": SUPER_120B_A12B}


def shape_of(config: Mapping[str, Any]) -> ModelShape:
    """The shape of a config.json of architecture NemotronHForCausalLM with latent MoE layers.

    Raises:
        KeyError: it is of another architecture.
    """
    pattern = config["hybrid_override_pattern"]
    counted = {"mamba_layers": "M", "attention_layers": "*", "moe_layers": "E"}
    copied = ModelShape.__dataclass_fields__.keys() - counted.keys() - {"mtp_depths"}
    return ModelShape(
        **{name: pattern.count(letter) for name, letter in counted.items()},
        **{name: config[name] for name in copied},
        mtp_depths=config.get("num_nextn_predict_layers", 0),
    )
