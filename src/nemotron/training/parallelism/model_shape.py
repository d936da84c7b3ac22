"""Read the shape of a NemotronH model, and count its parameters."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nemotron.files.regular_files import read_text
from nemotron.training.config import SftConfig


@dataclass(frozen=True)
class ModelShape:
    """The fields of config.json that decide the number of parameters.

    Bias-free linear layers, squared-ReLU feed-forward layers (two matrices each), untied embeddings.
    """

    layers: str
    """A letter per layer, in order: M Mamba-2, * attention, E experts (hybrid_override_pattern in config.json)."""
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
    def mamba_layers(self) -> int:
        return self.layers.count("M")

    @property
    def attention_layers(self) -> int:
        return self.layers.count("*")

    @property
    def moe_layers(self) -> int:
        return self.layers.count("E")

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
        """Outputs of a Mamba layer's first projection.

        z, the convolution's channels, and a time step per head.
        """
        return self.mamba_width + self.conv_width + self.mamba_num_heads

    @property
    def qkv_width(self) -> int:
        """Outputs of an attention layer's first projection."""
        return (self.num_attention_heads + 2 * self.num_key_value_heads) * self.head_dim

    @property
    def expert(self) -> int:
        """Count the parameters of one routed expert, which works in the latent size."""
        return 2 * self.moe_latent_size * self.moe_intermediate_size

    @property
    def expert_parameters(self) -> int:
        """Count the parameters of all routed experts, including MTP, which ranks divide."""
        return (self.moe_layers + bool(self.mtp_depths)) * self.n_routed_experts * self.expert

    @property
    def dense_parameters(self) -> int:
        """Count the parameters of everything else.

        The score correction of each expert is included, as in the released safetensors.
        """
        whole = {
            "M": self.mamba_parameters(),
            "*": self.attention_parameters(),
            "E": self.moe_parameters() + self.n_routed_experts,
        }
        mtp = self.mtp_projection_parameters() + whole["*"] + whole["E"] if self.mtp_depths else 0
        embeddings = 2 * self.vocab_size * self.hidden_size + self.hidden_size  # and the norm before the output layer
        return embeddings + sum(whole[letter] for letter in self.layers) + mtp

    @property
    def active_parameters(self) -> int:
        """Count the parameters that one token passes through, without MTP."""
        main = replace(self, mtp_depths=0)
        return main.dense_parameters + self.moe_layers * self.num_experts_per_tok * self.expert

    def mamba_parameters(self, tensor: int = 1) -> int:
        """Count the parameters of a Mamba layer on one of `tensor` ranks.

        Source: megatron/core/ssm/mamba_mixer.py.
        """
        per_head = 3 * self.mamba_num_heads  # A_log, D, dt_bias
        convolution = self.conv_width * (self.conv_kernel + 1)
        projections = self.hidden_size * (self.in_proj_width + self.mamba_width)
        return (projections + convolution + per_head + self.mamba_width) // tensor + self.hidden_size

    def attention_parameters(self, tensor: int = 1) -> int:
        """Count the parameters of an attention layer on one of `tensor` ranks.

        Source: megatron/core/transformer/attention.py.
        """
        inner = self.num_attention_heads * self.head_dim
        return self.hidden_size * (self.qkv_width + inner) // tensor + self.hidden_size

    def moe_parameters(self, tensor: int = 1) -> int:
        """Count the parameters of an MoE layer without routed experts, per tensor rank.

        The router and the two latent projections are whole on every rank (megatron/core/transformer/moe/moe_layer.py,
        parallel_mode="duplicated"). The correction of the experts' scores is a buffer, not a parameter.
        """
        latent = 2 * self.hidden_size * self.moe_latent_size
        shared = 2 * self.hidden_size * self.moe_shared_expert_intermediate_size
        router = self.n_routed_experts * self.hidden_size
        return latent + router + shared // tensor + self.hidden_size

    def mtp_projection_parameters(self, tensor: int = 1) -> int:
        """Count the parameters of MTP's projection and three norms, per tensor rank.

        It projects [hidden, embedding] to hidden.
        """
        return 2 * self.hidden_size**2 // tensor + 3 * self.hidden_size


SUPER_120B_A12B = ModelShape(
    layers="MEMEMEM*EMEMEMEM*EMEMEMEM*EMEMEMEMEM*EMEMEMEMEM*EMEMEMEMEM*EMEMEMEMEM*EMEMEMEM*EMEMEMEME",
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
"""Nemotron 3 Super, from its config.json, for plans on machines without access to the hub."""

KNOWN_SHAPES = {"nvidia/NVIDIA-Nemotron-3-Super-120B-A12B-BF16": SUPER_120B_A12B}


_LETTERS = {"mamba": "M", "attention": "*", "moe": "E"}


def shape_of(config: Mapping[str, Any], mtp_depths: int | None = None) -> ModelShape:
    """Read the shape of a NemotronHForCausalLM with latent MoE layers.

    Args:
        config: The parsed file. Layers are letters in `hybrid_override_pattern`, or words in `layers_block_type`.
        mtp_depths: `model.mtp_num_layers`, which wins over the config's `num_nextn_predict_layers`: that counts the
            blocks in the file (1 where all depths share one), not the depths that are trained.

    Raises:
        KeyError: The model has another architecture.
    """
    pattern = config.get("hybrid_override_pattern")
    if not pattern:
        pattern = "".join(_LETTERS[kind] for kind in config["layers_block_type"])
    copied = ModelShape.__dataclass_fields__.keys() - {"layers", "mtp_depths"}
    depths = config.get("num_nextn_predict_layers") or 0 if mtp_depths is None else mtp_depths
    # Megatron's patterns may mark pipeline stages (|) and append the MTP layers (after /).
    layers = pattern.replace("|", "").split("/")[0]
    if other := set(layers) - set(_LETTERS.values()):
        raise KeyError(f"layers of the kinds {sorted(other)}")
    return ModelShape(layers=layers, **{name: config[name] for name in copied}, mtp_depths=depths)


@dataclass(frozen=True)
class KnownModel:
    """What is known about a model without network and Megatron; None if unknown."""

    shape: ModelShape | None = None
    vocab_size: int | None = None
    unreadable: str | None = None
    """The end of a sentence: why a folder has no readable config.json."""


def find_model(config: SftConfig) -> KnownModel:
    """Read the model's shape and vocabulary from its config.json, or by a known name."""
    hf_model = config.recipe.hf_model
    # null turns multi-token prediction off; without the setting, the model's config decides.
    depths = (config.model["mtp_num_layers"] or 0) if "mtp_num_layers" in config.model else None
    described, unreadable = read_model_config(hf_model)
    if described is None:
        known = KNOWN_SHAPES.get(hf_model)
        if known is None:
            return KnownModel(unreadable=unreadable)
        return KnownModel(known if depths is None else replace(known, mtp_depths=depths), known.vocab_size, unreadable)
    try:
        shape = shape_of(described, depths)
    except KeyError:
        shape = None
    return KnownModel(shape, described.get("vocab_size"))


def shape_in(config: SftConfig) -> ModelShape | None:
    """Return the model's shape, if it is known without network and Megatron."""
    return find_model(config).shape


def read_model_config(hf_model: str | Path) -> tuple[dict[str, Any] | None, str | None]:
    """Read the config.json of `recipe.hf_model` if it is a folder here.

    Returns:
        What it says, or None; and the end of a sentence: why a folder has no readable one.
    """
    file = Path(hf_model) / "config.json"
    if not file.is_file():
        return None, "which has no config.json" if file.parent.exists() else None
    try:
        described = json.loads(read_text(file))
    except (OSError, ValueError, RecursionError) as error:  # not JSON, not UTF-8, or nested too deeply
        return None, f"whose config.json cannot be read: {error}"
    return (described, None) if isinstance(described, dict) else (None, "whose config.json is not a JSON object")
