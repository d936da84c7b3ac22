"""Continuing a run: what is on disk, and whether it belongs to the same run."""

import json
import os
from pathlib import Path
from typing import Any

from nemotron.errors import UserError
from nemotron.training.config import SftConfig
from nemotron.training.prepared import PreparedData


def checkpoint_folder(config: SftConfig, output: Path) -> Path:
    """Where a run that writes to `output` saves: `checkpoint.save`, or `checkpoints` below it."""
    return Path(config.checkpoint.get("save") or output / "checkpoints").absolute()


def finished_iterations(checkpoints: Path) -> int:
    """The iteration of the newest complete checkpoint, 0 when there is none.

    Megatron writes the tracker file last (megatron/bridge/training/checkpointing.py), so a save that was cut short does
    not count.
    """
    try:
        return int((checkpoints / "latest_checkpointed_iteration.txt").read_text().strip())
    except (FileNotFoundError, ValueError):
        return 0


def read_records(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON-lines file; empty when it is absent."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def check_same_run(output: Path, config: SftConfig, data: PreparedData) -> None:
    """Refuse to continue a checkpoint with another model, other data or other adapters.

    What identifies a run is kept in run.json beside its checkpoints; a folder without a checkpoint is simply claimed.

    Raises:
        UserError: naming what differs.
    """
    identity = {
        "model": config.recipe.hf_model,
        "data": data.metadata.get("run_hash") or data.reference,
        "pack_size": data.metadata.get("pack_size"),
        "adapters": None if config.peft is None else f"{config.peft.scheme}, dim {config.peft.dim}",
    }
    record = output / "run.json"
    if finished_iterations(checkpoint_folder(config, output)) and record.exists():
        before = json.loads(record.read_text(encoding="utf-8"))
        for name, value in identity.items():
            if before.get(name) != value:
                raise UserError(
                    f"{output} holds a run with {name} {before.get(name)}, but this one has {name} {value}.",
                    "Choose another folder with run.output_dir=..., or delete that one to start anew.",
                )
        return
    if int(os.environ.get("RANK", "0")) == 0:
        output.mkdir(parents=True, exist_ok=True)
        partial = record.with_suffix(".partial")
        partial.write_text(json.dumps(identity, indent=2) + "\n", encoding="utf-8")
        os.replace(partial, record)
