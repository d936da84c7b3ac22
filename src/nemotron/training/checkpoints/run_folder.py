"""Continuing a run: what is on disk, and whether it belongs to the same run."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nemotron.errors import UserError
from nemotron.paths import expand_home
from nemotron.training.checkpoints.hf_folder import is_path
from nemotron.training.checkpoints.reader import RUN_RECORD, latest_iteration, record_of, run_config
from nemotron.training.config import PeftConfig, SftConfig
from nemotron.training.prepared_data import PreparedData


def checkpoint_folder(config: SftConfig, output: Path) -> Path:
    """Where a run that writes to `output` saves: `checkpoint.save`, or `checkpoints` below it."""
    return Path(config.checkpoint.get("save") or output / "checkpoints").absolute()


def resume_folder(config: SftConfig, output: Path) -> Path:
    """Where the checkpoint to continue from is, if there is one: among this run's own; else in `checkpoint.load`.

    Raises:
        UserError: `checkpoint.load` is needed and holds no checkpoint.
    """
    own, other = checkpoint_folder(config, output), config.checkpoint.get("load")
    if other is None or finished_iterations(own):
        return own
    folder = Path(other).absolute()
    if not finished_iterations(folder):
        raise UserError(
            f"checkpoint.load is {other}, which holds no finished Megatron checkpoint to continue from.",
            "Name the folder that a run saved to. To start from weights alone, use checkpoint.pretrained_checkpoint.",
        )
    return folder


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
    lines = path.read_text(encoding="utf-8").split("\n")
    # Without its newline the last line is still being written.
    return [json.loads(line) for line in lines[:-1] if line.strip()]


def claim_run(output: Path, config: SftConfig, data: PreparedData) -> None:
    """Keep what identifies the run in run.json, in its output folder, and beside its checkpoints if elsewhere.

    A folder without a checkpoint is anybody's; one with a checkpoint keeps its record.
    """
    own = checkpoint_folder(config, output)
    if finished_iterations(own) and (output / RUN_RECORD).is_file():
        return
    # The export reads where the model's config and the checkpoints are; a refusal to continue says where the data was.
    where = {"hf_model": config.recipe.hf_model, "checkpoints": str(own), "output_dir": str(output)}
    where["data_from"] = _whence(data)
    record = {**where, **_identity(config, data)}
    _write(output / RUN_RECORD, record)
    if output not in own.parents:
        _write(own / RUN_RECORD, record)


def _identity(config: SftConfig, data: PreparedData) -> dict[str, Any]:
    return {
        "model": _model(config.recipe.hf_model),
        "start": _start(
            config.checkpoint.get("pretrained_checkpoint") or config.run.model or config.recipe.random_start
        ),
        "data": data.metadata.get("run_hash") or data.reference,
        "pack_size": data.metadata.get("pack_size"),
        "adapters": _adapters(config.peft),
    }


def _recorded(output: Path, resumed: Path) -> dict[str, Any]:
    """What identifies the run in a folder of checkpoints: its record, or what Megatron-Bridge's own config says."""
    iteration = latest_iteration(resumed)
    record = record_of(iteration)
    if record:
        return record
    own = output / RUN_RECORD
    if own.is_file():
        return json.loads(own.read_text(encoding="utf-8"))
    saved = run_config(iteration)
    return {"adapters": None} if saved and saved.get("peft") is None else {}


def _write(record: Path, content: Mapping[str, Any]) -> None:
    record.parent.mkdir(parents=True, exist_ok=True)
    partial = record.with_suffix(".partial")
    partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    os.replace(partial, record)


def _whence(data: PreparedData) -> str:
    """The artifact of the data, if it is one, and its folder."""
    return ", ".join(dict.fromkeys([data.reference, str(data.splits)]))


def _start(named: Any) -> Any:
    """A checkpoint by where it lies, however its path was written; an artifact or a seed as it is."""
    return str(expand_home(named).resolve()) if isinstance(named, str) and is_path(named) else named


def _model(hf_model: str) -> str:
    """A folder by its name and its config's content, wherever it lies; a Hugging Face id as it is."""
    file = Path(hf_model) / "config.json"
    if not file.is_file():
        return hf_model
    return f"{Path(hf_model).name} (config {hashlib.sha256(file.read_bytes()).hexdigest()[:12]})"


def _adapters(peft: PeftConfig | None) -> str | None:
    if peft is None:
        return None
    return f"{peft.scheme}, dim {peft.dim}, alpha {peft.alpha}, on {' '.join(sorted(peft.target_modules))}"
