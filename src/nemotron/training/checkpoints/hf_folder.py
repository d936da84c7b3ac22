"""Which weights a Hugging Face folder holds, told from its index or its files' headers; none is loaded.

Megatron-Bridge passes over a weight that it does not find, with a warning that training filters out
(`build_conversion_tasks`, megatron/bridge/models/conversion/model_bridge.py). What it should have filled keeps the
memory it was given, or random numbers.
"""

import json
from pathlib import Path
from typing import Any

from nemotron.errors import UserError

INDEX = "model.safetensors.index.json"
_MOST_NAMED = 6


def is_hf_folder(path: Path) -> bool:
    """Whether this is a Hugging Face model rather than a Megatron checkpoint."""
    return (path / "config.json").is_file()


def weight_names(folder: Path) -> set[str]:
    """The names of all weights in the safetensors of a folder.

    Raises:
        UserError: there are none, a file that the index names is not there, or one is not readable.
    """
    index = folder / INDEX
    if index.is_file():
        where: dict[str, str] = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        absent = sorted({file for file in where.values() if not (folder / file).is_file()})
        if absent:
            raise UserError(
                f"{folder} is not complete: {INDEX} names {_few(absent)}, which {_are(absent)} not there.",
                "Download it again: hf download MODEL --local-dir FOLDER",
            )
        return set(where)
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise UserError(
            f"{folder} has a config.json but no *.safetensors to take weights from.",
            "Download them too: hf download MODEL --local-dir FOLDER",
        )
    return {name for file in files for name in _header(file) if name != "__metadata__"}


def check_weights(folder: Path, *, mtp: bool, way_out: str) -> None:
    """Refuse a folder that lacks the weights of a layer that its config.json describes.

    Layers are looked for rather than single tensors, whose names are Megatron-Bridge's to know.

    Args:
        folder: with the config.json and the safetensors of a NemotronHForCausalLM.
        mtp: whether the multi-token-prediction layers are wanted.
        way_out: how to do without them, for the message.

    Raises:
        UserError: naming what is missing.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    names = weight_names(folder)
    main = {name.split("layers.", 1)[1].split(".")[0] for name in names if ".layers." in name and not _is_mtp(name)}
    layers = len(config.get("hybrid_override_pattern") or "") or config.get("num_hidden_layers") or 0
    missing = [f"layers.{layer}.*" for layer in range(layers) if str(layer) not in main]
    if missing:
        raise UserError(
            f"{folder} has no weights {_few(missing)}, though its config.json describes {layers} layers.",
            "Download it again: hf download MODEL --local-dir FOLDER",
        )
    if not mtp:
        return
    # Each letter of the pattern is a layer; all depths of multi-token prediction share them.
    wanted = range(len(config.get("mtp_hybrid_override_pattern") or "*E"))
    missing = [
        f"mtp.layers.{layer}.*"
        for layer in wanted
        if not any(name.startswith(f"mtp.layers.{layer}.") for name in names)
    ]
    if missing:
        raise UserError(
            f"{folder} has no weights {_few(missing)}: multi-token prediction would start from random numbers.",
            f"Use a folder that holds them (transformers leaves them out when it saves a model), or {way_out}",
        )


def _header(file: Path) -> dict[str, object]:
    """Name -> description of each tensor: a safetensors file begins with the length of this and then has it as JSON."""
    try:
        with file.open("rb") as opened:
            return json.loads(opened.read(int.from_bytes(opened.read(8), "little")))
    except (ValueError, OverflowError, MemoryError) as error:
        raise UserError(f"{file} is not readable as safetensors: {error}.", "Download it again.") from None


def _is_mtp(name: str) -> bool:
    return name.startswith("mtp.")


def _few(names: list[str]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _are(names: list[str]) -> str:
    return "is" if len(names) == 1 else "are"


def model_config(hf_model: str) -> dict[str, Any] | None:
    """The config.json of `recipe.hf_model` where it is a folder; None for an id, whose config may need a network."""
    file = Path(hf_model) / "config.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None


def is_path(name: str) -> bool:
    """Whether this is meant as a folder rather than as a Hugging Face id."""
    return name.startswith(("/", "./", "../", "~")) or Path(name).exists()
