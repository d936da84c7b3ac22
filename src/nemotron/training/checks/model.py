"""Check the model, its starting weights and its vocabulary.

Refused are a model without a readable config, no starting model, adapters without a model, missing weights, data of
another vocabulary, and a checkpoint of another architecture.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nemotron.errors import Problem, UserError, as_problem
from nemotron.files.regular_files import read_text
from nemotron.files.typed import typed
from nemotron.training.checkpoints.checkpoint import Checkpoint
from nemotron.training.checkpoints.hf_folder import list_few, weight_names
from nemotron.training.checkpoints.initial_weights import PRETRAINED, StartingPoint
from nemotron.training.checkpoints.run_folder import RunFolder
from nemotron.training.config import SftConfig
from nemotron.training.parallelism.model_shape import KnownModel
from nemotron.training.prepared_data import PreparedData

NAME_ONE = "Use a folder with the model's config.json, or a Hugging Face id."
WITHOUT_MTP = "train without multi-token prediction: model.mtp_num_layers=null"
LARGEST_PADDING = 1024
"""Embeddings are padded to a round number of rows. A model with more extra rows than this has another tokenizer."""
_ARCHITECTURE = (
    *("hidden_size", "num_layers", "hybrid_layer_pattern", "num_attention_heads", "num_query_groups", "vocab_size"),
    *("ffn_hidden_size", "num_moe_experts", "moe_ffn_hidden_size", "moe_shared_expert_intermediate_size"),
    *("moe_latent_size", "mamba_num_heads", "mamba_head_dim", "mamba_state_dim", "mamba_num_groups"),
)
"""Fields of Megatron-Bridge's model config that decide the number and the shapes of the weights."""
_AGAIN = "Download it again: hf download MODEL --local-dir FOLDER"


def check_model_folder(hf_model: str, model: KnownModel) -> Iterator[Problem]:
    """Yield a problem if `recipe.hf_model` is a folder without a readable config.json."""
    if model.unreadable is not None:
        yield Problem(f"recipe.hf_model is {hf_model}, {model.unreadable}.", NAME_ONE)


def check_start(config: SftConfig, start: StartingPoint) -> Iterator[Problem]:
    """Yield a problem if there is no complete model to start from."""
    named = (config.checkpoint.get("pretrained_checkpoint"), config.run.model, config.recipe.random_start)
    if all(value is None for value in (*named, config.other_run)):
        yield Problem(
            "There is no model to start from.",
            "Set checkpoint.pretrained_checkpoint=/path/to/megatron/checkpoint, or run.model to a model artifact: "
            f"run.model={PRETRAINED}",
        )
    if start.checkpoint is None or not start.checkpoint.exists():
        return
    mtp = bool(config.model.get("mtp_num_layers", 2))  # the recipe's default, if a YAML does not set it
    if start.unreadable is not None:
        yield as_problem(start.unreadable)
    elif start.megatron is not None:
        yield from check_megatron_checkpoint(start.megatron.saved, start.checkpoint, start.setting, mtp)
    else:
        yield from check_weights(start.checkpoint, mtp=mtp, way_out=f"{WITHOUT_MTP}.")


@dataclass(frozen=True)
class _Layers:
    """The keys of a config.json that say which layers there are."""

    hybrid_override_pattern: str | None = None
    layers_block_type: list[Any] | None = None
    num_hidden_layers: int | None = None
    mtp_hybrid_override_pattern: str | None = None
    mtp_layers_block_type: list[Any] | None = None


def check_weights(folder: Path, *, mtp: bool, way_out: str) -> Iterator[Problem]:
    """Yield a problem if a Hugging Face folder lacks the weights of some layers.

    Megatron-Bridge skips a missing weight with a warning that training filters out (`build_conversion_tasks`,
    megatron/bridge/models/conversion/model_bridge.py), and the parameter keeps uninitialised memory or random numbers.
    We check layers, not single tensors, because only Megatron-Bridge knows the tensors' names.

    Args:
        folder: A folder with the config.json and the safetensors of a NemotronHForCausalLM.
        mtp: Whether the multi-token-prediction layers are needed.
        way_out: How to train without them, for the message.
    """
    try:
        names = weight_names(folder)
        config = typed(_Layers, json.loads(read_text(folder / "config.json")), ignores_unknown=True)
    except UserError as error:
        yield as_problem(error)
        return
    except (ValueError, RecursionError) as error:
        yield Problem(f"{folder / 'config.json'} cannot be read: {error}.", _AGAIN)
        return
    main = {name.split("layers.", 1)[1].split(".")[0] for name in names if ".layers." in name and not _is_mtp(name)}
    layers = _count(config.hybrid_override_pattern, config.layers_block_type) or config.num_hidden_layers or 0
    missing = [f"layers.{layer}.*" for layer in range(layers) if str(layer) not in main]
    if missing:
        yield Problem(
            f"{folder} has no weights {list_few(missing)}, though its config.json describes {layers} layers.", _AGAIN
        )
    if not mtp:
        return
    # Each letter of the pattern is a layer; all depths of multi-token prediction share these layers.
    wanted = range(_count(config.mtp_hybrid_override_pattern, config.mtp_layers_block_type) or len("*E"))
    there = {name.split(".")[2] for name in names if name.startswith("mtp.layers.")}
    missing = [f"mtp.layers.{layer}.*" for layer in wanted if str(layer) not in there]
    if missing:
        yield Problem(
            f"{folder} has no weights {list_few(missing)}: multi-token prediction would start from random numbers.",
            f"Use a folder with these weights (transformers leaves them out when it saves a model), or {way_out}",
        )


def check_megatron_checkpoint(saved: dict[str, Any], folder: Path, setting: str, mtp: bool) -> Iterator[Problem]:
    """Yield a problem if a Megatron checkpoint has only adapters, or lacks MTP.

    Args:
        saved: The config that it was saved with.
        folder: Where it is.
        setting: The setting that names it, which begins the message.
        mtp: Whether multi-token prediction is needed.
    """
    if saved.get("peft") is not None:
        yield Problem(
            f"{setting}, which has only adapters, not a whole model.",
            f"Merge them first: nemotron super3 model export {folder} -o FOLDER; then start from FOLDER.",
        )
    elif mtp and saved.get("model") and not saved["model"].get("mtp_num_layers"):
        yield Problem(
            f"{setting}, which was saved without multi-token prediction: its layers would start from random numbers.",
            f"Use a checkpoint that has them, or {WITHOUT_MTP}.",
        )


def check_vocabulary(data: PreparedData, model_vocab_size: int | None, model: str) -> Iterator[Problem]:
    """Yield a problem if data and model have vocabularies of different sizes.

    A model may have a few more embeddings (`LARGEST_PADDING`).

    Args:
        data: The packs.
        model_vocab_size: Rows of the model's embeddings; None if they are not known.
        model: The model, for the message.
    """
    tokenizer = data.tokenizer
    if model_vocab_size is None or tokenizer is None or tokenizer.vocab_size is None:
        return
    if not 0 <= model_vocab_size - tokenizer.vocab_size < LARGEST_PADDING:
        yield Problem(
            f"{data.reference} was made with the tokenizer {tokenizer.model} of {tokenizer.vocab_size:,} tokens, but "
            f"the model {model} has {model_vocab_size:,}.",
            "Prepare the data with the model's tokenizer (tokenizer.model), or train the model that the data was made "
            "for.",
        )


def check_built_model(
    model: Any, hf_model: str, data: PreparedData, start: StartingPoint, run: RunFolder
) -> Iterator[Problem]:
    """Yield a problem if the model as built does not fit data or checkpoints.

    This comes last, after recipe/build.py has built its config, because only the recipe knows what a YAML and a Hugging
    Face id leave open; it reads the hub if necessary.

    Args:
        model: Megatron-Bridge's config of the model.
        hf_model: Its name, for the message.
        data: The packs.
        start: What the run starts from. Megatron-Bridge compares a Hugging Face folder itself.
        run: What the run resumes.
    """
    yield from check_vocabulary(data, model.vocab_size, hf_model)
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


def _count(pattern: str | None, words: list[Any] | None) -> int:
    """Count the layers that a config lists as letters or words; 0 without a list.

    Megatron's patterns may mark pipeline stages (|) and append the MTP layers (after /).
    """
    letters = (pattern or "").split("/")[0].replace("|", "")
    return len(letters) or len(words or ())


def _is_mtp(name: str) -> bool:
    return name.startswith("mtp.")


def _main_layers(value: Any) -> Any:
    """Remove parts of a layer pattern that do not belong to the model itself.

    Pipeline separators (|) depend on the layout, and the MTP layers (after /) are added only when Megatron builds it.
    """
    return value.replace("|", "").split("/")[0] if isinstance(value, str) else value
