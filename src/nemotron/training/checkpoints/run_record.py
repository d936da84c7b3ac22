"""What identifies a run.

Kept in run.json, so that a checkpoint is not continued as another run.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nemotron.secrets import mask_values
from nemotron.training.checkpoints.hf_folder import is_path
from nemotron.training.checkpoints.initial_weights import find_start
from nemotron.training.config import PeftConfig, SftConfig
from nemotron.training.prepared_data import PreparedData

IDENTITY = ("model", "data", "pack_size", "adapters", "start")
"""What must not change when a run is continued."""


def identify_run(config: SftConfig, data: PreparedData) -> dict[str, Any]:
    """Collect what identifies a run, and where its model and its data are.

    `IDENTITY` lists what must not change.

    The export reads where the config is; a refusal to continue names the data. A start that is an artifact is
    identified by its folder: a label such as `latest` moves on. Where it is not found here, the start is left out.
    """
    start = find_start(config)
    named = config.recipe.random_start if start.checkpoint is None else str(start.checkpoint)
    record = {
        "hf_model": config.recipe.hf_model,
        "data_from": data.whence,
        "model": _identify_model(config.recipe.hf_model),
        "data": data.run_hash or data.reference,
        "pack_size": data.pack_size,
        "adapters": _describe_adapters(config.peft),
        **({} if start.unresolved else {"start": _identify_start(named)}),
        "start_named": config.run.model,
    }
    return mask_values(record)  # as it is written, and compared


def restore_record(recorded: Mapping[str, Any], saved: Mapping[str, Any]) -> dict[str, Any]:
    """Complete what run.json says of the run that saved a checkpoint.

    Empty when it is not known.

    Args:
        recorded: run.json; empty when there is none.
        saved: the config that Megatron-Bridge saved with the checkpoint.
    """
    if not recorded:  # the saved config tells at least whether the checkpoint holds adapters
        return {"adapters": None} if saved and saved.get("peft") is None else {}
    if "start" in recorded:  # earlier releases recorded the path as it was typed
        return {**recorded, "start": _identify_start(recorded["start"])}
    return dict(recorded)


def _identify_start(named: Any) -> Any:
    """Return a checkpoint by where it lies, however its path was written.

    An artifact or a seed as it is.
    """
    return str(Path(named).resolve()) if isinstance(named, str) and is_path(named) else named


def _identify_model(hf_model: str) -> str:
    """Return a folder by its name and its config's content, wherever it lies.

    A Hugging Face id as it is.
    """
    file = Path(hf_model) / "config.json"
    if not file.is_file():
        return hf_model
    return f"{Path(hf_model).name} (config {hashlib.sha256(file.read_bytes()).hexdigest()[:12]})"


def _describe_adapters(peft: PeftConfig | None) -> str | None:
    if peft is None:
        return None
    return f"{peft.scheme}, dim {peft.dim}, alpha {peft.alpha}, on {' '.join(sorted(peft.target_modules))}"
