"""Refusing data that the model cannot be trained on, and a starting checkpoint that is another model's."""

from pathlib import Path
from typing import Any

from nemotron.errors import UserError
from nemotron.paths import expand_home
from nemotron.training.checkpoints.hf_folder import is_path
from nemotron.training.checkpoints.reader import run_config
from nemotron.training.config import SftConfig
from nemotron.training.prepared_data import PreparedData

_ARCHITECTURE = (
    *("hidden_size", "num_layers", "hybrid_layer_pattern", "num_attention_heads", "num_query_groups", "vocab_size"),
    *("ffn_hidden_size", "num_moe_experts", "moe_ffn_hidden_size", "moe_shared_expert_intermediate_size"),
    *("moe_latent_size", "mamba_num_heads", "mamba_head_dim", "mamba_state_dim", "mamba_num_groups"),
)
"""Fields of Megatron-Bridge's model config that decide the shapes of the weights and their number."""


def check_model_folder(hf_model: str, *, here: bool = True) -> None:
    """Refuse a path that holds no model config; a Hugging Face id is left to the hub.

    Args:
        here: whether this machine is the one that trains.

    Raises:
        UserError: as said.
    """
    path = expand_home(hf_model)
    if not is_path(hf_model) or (path / "config.json").is_file() or not (here or path.exists()):
        return
    raise UserError(
        f"recipe.hf_model is {hf_model}, which {'has no config.json' if path.is_dir() else 'does not exist'}.",
        "Name a folder with the model's config.json, or a Hugging Face id.",
    )


def check_padding(config: SftConfig, data: PreparedData) -> None:
    """Refuse data that context-parallel ranks cannot share, and tell the trainer's padding from the data's.

    Each conversation is cut into 2 * CP equal slices, of which every rank takes two (Transformer Engine's load
    balancing), so its length must be a multiple of 2 * CP.

    Raises:
        UserError: naming the multiple that is needed.
    """
    ranks = config.model.get("context_parallel_size") or 1
    padded_to = data.metadata.get("pad_to_multiple") or 1
    if ranks > 1 and padded_to % (2 * ranks):
        raise UserError(
            f"model.context_parallel_size={ranks} needs conversations padded to a multiple of {2 * ranks}, but "
            f"{data.reference} has pad_to_multiple={padded_to}.",
            f"Prepare the data with pad_to_multiple={2 * ranks}, or set model.context_parallel_size=1.",
        )
    asked = config.dataset.get("pad_seq_to_mult")
    if asked is not None and padded_to % asked:
        raise UserError(
            f"dataset.pad_seq_to_mult is {asked}, but {data.reference} has pad_to_multiple={padded_to}.",
            "Leave dataset.pad_seq_to_mult out: it follows from the data.",
        )


def check_same_model(model: Any, iteration_dir: Path) -> None:
    """Refuse a starting checkpoint whose weights have other shapes than the model's.

    Args:
        model: Megatron-Bridge's config of the model that is going to be built.
        iteration_dir: the checkpoint's `iter_*` folder.

    Raises:
        UserError: naming the first setting that differs, with both values.
    """
    saved = run_config(iteration_dir).get("model") or {}
    for name in _ARCHITECTURE:
        if name not in saved or not hasattr(model, name):
            continue
        theirs, ours = _main_layers(saved[name]), _main_layers(getattr(model, name))
        if theirs != ours:
            raise UserError(
                f"The checkpoint {iteration_dir} is of another model: its {name} is {theirs}, and {ours} here.",
                "Name the checkpoint of this model, or set recipe.hf_model to the model that it is of.",
            )


def _main_layers(value: Any) -> Any:
    """Of a layer pattern, what is the model's alone.

    Pipeline separators (|) depend on the layout, and the MTP layers (behind /) are added only when Megatron builds it.
    """
    return value.replace("|", "").split("/")[0] if isinstance(value, str) else value
