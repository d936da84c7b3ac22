"""Refuse what only Megatron-Bridge's own config of the model can tell: its vocabulary, and shapes of weights.

These come last, when recipe/build.py has built that config, since what a YAML and a Hugging Face id leave open is known
only there: the recipe fills it in, from the hub if need be.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nemotron.errors import Problem
from nemotron.training.checkpoints.hf_folder import is_hf_folder
from nemotron.training.checkpoints.reader import latest_iteration, run_config
from nemotron.training.checks.data import check_vocabulary
from nemotron.training.prepared_data import PreparedData

_ARCHITECTURE = (
    *("hidden_size", "num_layers", "hybrid_layer_pattern", "num_attention_heads", "num_query_groups", "vocab_size"),
    *("ffn_hidden_size", "num_moe_experts", "moe_ffn_hidden_size", "moe_shared_expert_intermediate_size"),
    *("moe_latent_size", "mamba_num_heads", "mamba_head_dim", "mamba_state_dim", "mamba_num_groups"),
)
"""Fields of Megatron-Bridge's model config that decide the shapes of the weights and their number."""


def check_built_model(
    model: Any, data: PreparedData, hf_model: str, pretrained_checkpoint: Path | None, newest: Path | None
) -> Iterator[Problem]:
    """Yield a problem when the model does not fit the data or a checkpoint.

    Args:
        model: Megatron-Bridge's config of the model.
        data: the packs.
        hf_model: for the message.
        pretrained_checkpoint: to start from; None: nothing, or what `newest` was trained from.
        newest: the `iter_*` folder that the run continues; None in a new run.
    """
    yield from check_vocabulary(data, model.vocab_size, hf_model)
    checkpoints = [] if newest is None else [newest]
    # Where Megatron-Bridge starts from a Hugging Face folder, it compares the models itself.
    if pretrained_checkpoint is not None and not is_hf_folder(pretrained_checkpoint):
        checkpoints = [latest_iteration(pretrained_checkpoint), *checkpoints]
    for checkpoint in checkpoints:
        yield from check_same_model(model, checkpoint)


def check_same_model(model: Any, iteration_dir: Path) -> Iterator[Problem]:
    """Yield a problem for the first shape that a checkpoint has otherwise than the model.

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
