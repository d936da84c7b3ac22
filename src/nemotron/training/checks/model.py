"""Check the model and its starting weights.

Refused are a model without a readable config, no starting model, adapters without a model, and missing weights.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nemotron.errors import Problem, UserError, as_problem
from nemotron.training.checkpoints.hf_folder import list_few, weight_names
from nemotron.training.checkpoints.initial_weights import PRETRAINED, StartingPoint
from nemotron.training.config import SftConfig

NAME_ONE = "Use a folder with the model's config.json, or a Hugging Face id."
WITHOUT_MTP = "train without multi-token prediction: model.mtp_num_layers=null"
_AGAIN = "Download it again: hf download MODEL --local-dir FOLDER"


def check_model_folder(hf_model: str) -> Iterator[Problem]:
    """Yield a problem if `recipe.hf_model` has no readable config.json."""
    folder = Path(hf_model)
    file = folder / "config.json"
    if not file.is_file():
        if folder.exists():
            yield Problem(f"recipe.hf_model is {hf_model}, which has no config.json.", NAME_ONE)
        return
    try:
        described = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # not JSON, not UTF-8, or nested too deeply
        yield Problem(f"recipe.hf_model is {hf_model}, whose config.json cannot be read: {error}.", NAME_ONE)
        return
    if not isinstance(described, dict):
        yield Problem(f"recipe.hf_model is {hf_model}, whose config.json is not a JSON object.", NAME_ONE)


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
        config, names = json.loads((folder / "config.json").read_text(encoding="utf-8")), weight_names(folder)
    except UserError as error:
        yield as_problem(error)
        return
    except (ValueError, RecursionError) as error:
        yield Problem(f"{folder / 'config.json'} cannot be read: {error}.", _AGAIN)
        return
    main = {name.split("layers.", 1)[1].split(".")[0] for name in names if ".layers." in name and not _is_mtp(name)}
    layers = _count(config, "hybrid_override_pattern", "layers_block_type") or config.get("num_hidden_layers") or 0
    missing = [f"layers.{layer}.*" for layer in range(layers) if str(layer) not in main]
    if missing:
        yield Problem(
            f"{folder} has no weights {list_few(missing)}, though its config.json describes {layers} layers.", _AGAIN
        )
    if not mtp:
        return
    # Each letter of the pattern is a layer; all depths of multi-token prediction share these layers.
    wanted = range(_count(config, "mtp_hybrid_override_pattern", "mtp_layers_block_type") or len("*E"))
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


def _count(config: dict[str, Any], pattern: str, words: str) -> int:
    """Count the layers that a config lists as letters or words; 0 without a list.

    Megatron's patterns may mark pipeline stages (|) and append the MTP layers (after /).
    """
    letters = str(config.get(pattern) or "").split("/")[0].replace("|", "")
    listed = config.get(words)
    return len(letters) or (len(listed) if isinstance(listed, list) else 0)


def _is_mtp(name: str) -> bool:
    return name.startswith("mtp.")
