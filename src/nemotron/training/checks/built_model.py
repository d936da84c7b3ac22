"""Refuse a checkpoint of another architecture.

Only Megatron-Bridge's own config of the model can tell.

This comes last, when recipe/build.py has built that config, since what a YAML and a Hugging Face id leave open is known
only there: the recipe fills it in, from the hub if need be.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nemotron.errors import Problem
from nemotron.training.checkpoints.initial_weights import StartingPoint
from nemotron.training.checkpoints.run_folder import RunFolder

_ARCHITECTURE = (
    *("hidden_size", "num_layers", "hybrid_layer_pattern", "num_attention_heads", "num_query_groups", "vocab_size"),
    *("ffn_hidden_size", "num_moe_experts", "moe_ffn_hidden_size", "moe_shared_expert_intermediate_size"),
    *("moe_latent_size", "mamba_num_heads", "mamba_head_dim", "mamba_state_dim", "mamba_num_groups"),
)
"""Fields of Megatron-Bridge's model config that decide the shapes of the weights and their number."""


def check_built_model(model: Any, start: StartingPoint, run: RunFolder) -> Iterator[Problem]:
    """Yield a problem when the model does not fit a checkpoint.

    Args:
        model: Megatron-Bridge's config of the model.
        start: what the run starts from. Of a Hugging Face folder, Megatron-Bridge compares the model itself.
        run: what it continues.
    """
    yield from check_same_model(model, start.iteration_dir, start.saved)
    yield from check_same_model(model, run.newest, run.saved)


def check_same_model(model: Any, iteration_dir: Path | None, config: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield a problem for the first shape that a checkpoint has otherwise.

    Args:
        model: Megatron-Bridge's config of the model that is going to be built.
        iteration_dir: the checkpoint's `iter_*` folder, for the message.
        config: that the checkpoint was saved with; empty when there is no checkpoint.
    """
    saved = config.get("model") or {}
    for name in _ARCHITECTURE:
        if name not in saved or not hasattr(model, name):
            continue
        theirs, ours = _main_layers(saved[name]), _main_layers(getattr(model, name))
        if theirs != ours:
            yield Problem(
                f"The checkpoint {iteration_dir} is of another model: its {name} is {theirs}, and {ours} here.",
                "Name the checkpoint of this model, or set recipe.hf_model to the model that it is of.",
            )
            return  # the other differences are this one again


def _main_layers(value: Any) -> Any:
    """Leave out of a layer pattern what is not the model's alone.

    Pipeline separators (|) depend on the layout, and the MTP layers (after /) are added only when Megatron builds it.
    """
    return value.replace("|", "").split("/")[0] if isinstance(value, str) else value
