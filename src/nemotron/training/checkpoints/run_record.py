"""Identify a run, in run.json, so that a checkpoint is not resumed as another run."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nemotron.paths import is_path
from nemotron.secrets import mask_values
from nemotron.training.checkpoints.initial_weights import StartingPoint
from nemotron.training.config import PeftConfig, SftConfig
from nemotron.training.prepared_data import PreparedData

IDENTITY = ("model", "data", "pack_size", "adapters", "start")
"""What must not change when a run is resumed."""


def identify_run(config: SftConfig, data: PreparedData, start: StartingPoint) -> dict[str, Any]:
    """Collect what identifies a run, and where its model and its data are.

    `IDENTITY` lists what must not change. The export reads the place of the config, and errors name the data. A
    starting artifact is identified by its folder, because an alias such as `latest` moves. If it is not on this
    machine, it is left out.
    """
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
    return mask_values(record)  # in the form that is written and compared


def restore_record(recorded: Mapping[str, Any], saved: Mapping[str, Any]) -> dict[str, Any]:
    """Complete the record of the run that saved a checkpoint; empty if it is unknown.

    Args:
        recorded: The content of run.json; empty without one.
        saved: The config that Megatron-Bridge saved with the checkpoint.
    """
    if not recorded:  # the saved config at least shows whether the checkpoint has adapters
        return {"adapters": None} if saved and saved.get("peft") is None else {}
    if "start" in recorded:  # earlier releases recorded the path as typed
        return {**recorded, "start": _identify_start(recorded["start"])}
    return dict(recorded)


def _identify_start(named: Any) -> Any:
    """Return a checkpoint's resolved path; an artifact or a seed is unchanged."""
    return str(Path(named).resolve()) if isinstance(named, str) and is_path(named) else named


def _identify_model(hf_model: str) -> str:
    """Return a folder's name and the digest of its config; an id is unchanged."""
    file = Path(hf_model) / "config.json"
    if not file.is_file():
        return hf_model
    return f"{Path(hf_model).name} (config {hashlib.sha256(file.read_bytes()).hexdigest()[:12]})"


def _describe_adapters(peft: PeftConfig | None) -> str | None:
    if peft is None:
        return None
    return f"{peft.scheme}, dim {peft.dim}, alpha {peft.alpha}, on {' '.join(sorted(peft.target_modules))}"
