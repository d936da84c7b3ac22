"""Refuse a checkpoint of another architecture, by Megatron-Bridge's model config.

This check comes last, after recipe/build.py has built that config, because only the recipe knows what a YAML and a
Hugging Face id leave open; it reads the hub if necessary.
"""

from collections.abc import Iterator
from typing import Any

from nemotron.errors import Problem
from nemotron.training.checkpoints.checkpoint import Checkpoint
from nemotron.training.checkpoints.initial_weights import StartingPoint
from nemotron.training.checkpoints.run_folder import RunFolder

_ARCHITECTURE = (
    *("hidden_size", "num_layers", "hybrid_layer_pattern", "num_attention_heads", "num_query_groups", "vocab_size"),
    *("ffn_hidden_size", "num_moe_experts", "moe_ffn_hidden_size", "moe_shared_expert_intermediate_size"),
    *("moe_latent_size", "mamba_num_heads", "mamba_head_dim", "mamba_state_dim", "mamba_num_groups"),
)
"""Fields of Megatron-Bridge's model config that decide the number and the shapes of the weights."""


def check_built_model(model: Any, start: StartingPoint, run: RunFolder) -> Iterator[Problem]:
    """Yield a problem if the model does not fit a checkpoint.

    Args:
        model: Megatron-Bridge's config of the model.
        start: What the run starts from. Megatron-Bridge compares a Hugging Face folder itself.
        run: What the run resumes.
    """
    for checkpoint in (start.megatron, run.newest):
        if checkpoint is not None:
            yield from check_same_model(model, checkpoint)


def check_same_model(model: Any, checkpoint: Checkpoint) -> Iterator[Problem]:
    """Yield a problem for the first field that differs from a checkpoint's.

    Args:
        model: Megatron-Bridge's config of the model to build.
        checkpoint: What has to load into it.
    """
    saved = checkpoint.saved.get("model") or {}
    for name in _ARCHITECTURE:
        if name not in saved or not hasattr(model, name):
            continue
        theirs, ours = _main_layers(saved[name]), _main_layers(getattr(model, name))
        if theirs != ours:
            yield Problem(
                f"The checkpoint {checkpoint.folder} is of another model: its {name} is {theirs}, but here it is "
                f"{ours}.",
                "Use a checkpoint of this model, or set recipe.hf_model to the checkpoint's model.",
            )
            return  # other differences usually follow from the first


def _main_layers(value: Any) -> Any:
    """Remove parts of a layer pattern that do not belong to the model itself.

    Pipeline separators (|) depend on the layout, and the MTP layers (after /) are added only when Megatron builds it.
    """
    return value.replace("|", "").split("/")[0] if isinstance(value, str) else value
