"""Refuse a model that cannot be described, and checkpoints that are another model's."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nemotron.errors import Problem
from nemotron.training.checkpoints.hf_folder import is_path
from nemotron.training.checkpoints.reader import run_config

_ARCHITECTURE = (
    *("hidden_size", "num_layers", "hybrid_layer_pattern", "num_attention_heads", "num_query_groups", "vocab_size"),
    *("ffn_hidden_size", "num_moe_experts", "moe_ffn_hidden_size", "moe_shared_expert_intermediate_size"),
    *("moe_latent_size", "mamba_num_heads", "mamba_head_dim", "mamba_state_dim", "mamba_num_groups"),
)
"""Fields of Megatron-Bridge's model config that decide the shapes of the weights and their number."""
_NAME_ONE = "Name a folder with the model's config.json, or a Hugging Face id."


def check_model_folder(hf_model: str) -> Iterator[Problem]:
    """Yield a problem when `recipe.hf_model` is a folder without a readable config.json."""
    folder = Path(hf_model)
    file = folder / "config.json"
    if not file.is_file():
        if folder.exists():
            yield Problem(f"recipe.hf_model is {hf_model}, which has no config.json.", _NAME_ONE)
        return
    try:
        described = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:  # not JSON, or not UTF-8
        yield Problem(f"recipe.hf_model is {hf_model}, whose config.json cannot be read: {error}.", _NAME_ONE)
        return
    if not isinstance(described, dict):
        yield Problem(f"recipe.hf_model is {hf_model}, whose config.json is not a JSON object.", _NAME_ONE)


def check_model_is_here(hf_model: str) -> Iterator[Problem]:
    """Yield a problem when `recipe.hf_model` is a path that this machine does not have; an id is left to the hub."""
    if is_path(hf_model) and not Path(hf_model).exists():
        yield Problem(f"recipe.hf_model is {hf_model}, which does not exist.", _NAME_ONE)


def check_same_model(model: Any, iteration_dir: Path) -> Iterator[Problem]:
    """Yield a problem when a checkpoint's weights have other shapes than the model's, for the first that differs.

    Args:
        model: Megatron-Bridge's config of the model that is going to be built.
        iteration_dir: the checkpoint's `iter_*` folder.
    """
    saved = run_config(iteration_dir).get("model") or {}
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
