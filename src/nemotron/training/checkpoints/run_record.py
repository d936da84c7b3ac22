"""What identifies a run: kept in run.json, so that a checkpoint is not continued as another run."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nemotron.atomic_files import write_text
from nemotron.training.checkpoints.hf_folder import is_path
from nemotron.training.checkpoints.reader import RUN_RECORD, read_json, record_of, run_config
from nemotron.training.config import PeftConfig, SftConfig
from nemotron.training.prepared_data import PreparedData


def identify_run(config: SftConfig, data: PreparedData) -> dict[str, Any]:
    """Collect what must not change when a run is continued: model, start, data, pack size, adapters."""
    start = config.checkpoint.get("pretrained_checkpoint") or config.run.model or config.recipe.random_start
    return {
        "model": _identify_model(config.recipe.hf_model),
        "start": _identify_start(start),
        "data": data.run_hash or data.reference,
        "pack_size": data.pack_size,
        "adapters": _describe_adapters(config.peft),
    }


def read_record(iteration_dir: Path, output: Path) -> dict[str, Any]:
    """Read what identifies the run that saved a checkpoint; empty when it is not known.

    Args:
        iteration_dir: the checkpoint's `iter_*` folder.
        output: the output folder of the run that continues it, for checkpoints without a record of their own.
    """
    record = record_of(iteration_dir) or read_json(output / RUN_RECORD)
    if not record:  # Megatron-Bridge's own config of the checkpoint says at least whether it holds adapters
        saved = run_config(iteration_dir)
        return {"adapters": None} if saved and saved.get("peft") is None else {}
    if "start" in record:
        record["start"] = _identify_start(record["start"])  # earlier releases recorded the path as it was typed
    return record


def write_record(record: Path, content: Mapping[str, Any]) -> None:
    """Write run.json, whole or not at all."""
    write_text(record, json.dumps(content, indent=2) + "\n")


def _identify_start(named: Any) -> Any:
    """A checkpoint by where it lies, however its path was written; an artifact or a seed as it is."""
    return str(Path(named).resolve()) if isinstance(named, str) and is_path(named) else named


def _identify_model(hf_model: str) -> str:
    """A folder by its name and its config's content, wherever it lies; a Hugging Face id as it is."""
    file = Path(hf_model) / "config.json"
    if not file.is_file():
        return hf_model
    return f"{Path(hf_model).name} (config {hashlib.sha256(file.read_bytes()).hexdigest()[:12]})"


def _describe_adapters(peft: PeftConfig | None) -> str | None:
    if peft is None:
        return None
    return f"{peft.scheme}, dim {peft.dim}, alpha {peft.alpha}, on {' '.join(sorted(peft.target_modules))}"
