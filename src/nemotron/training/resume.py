"""Continuing a run: what is on disk, and whether it belongs to the same run."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nemotron.errors import UserError
from nemotron.training.config import PeftConfig, SftConfig
from nemotron.training.loss import Schedule
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
    lines = path.read_text(encoding="utf-8").split("\n")
    # Without its newline the last line is still being written.
    return [json.loads(line) for line in lines[:-1] if line.strip()]


def check_same_run(output: Path, config: SftConfig, data: PreparedData) -> None:
    """Refuse to continue a checkpoint with another model, other data or other adapters.

    What identifies a run is kept in run.json beside its checkpoints; a folder without a checkpoint is simply claimed.

    Raises:
        UserError: naming what differs.
    """
    identity = {
        "model": _model(config.recipe.hf_model),
        "start": config.checkpoint.get("pretrained_checkpoint") or config.run.model or config.recipe.random_start,
        "data": data.metadata.get("run_hash") or data.reference,
        "pack_size": data.metadata.get("pack_size"),
        "adapters": _adapters(config.peft),
    }
    record = output / "run.json"
    if finished_iterations(checkpoint_folder(config, output)) and record.exists():
        before = json.loads(record.read_text(encoding="utf-8"))
        for name, value in identity.items():
            if name in before and before[name] != value:
                raise UserError(
                    f"{output} holds a run with {name} {before.get(name)}, but this one has {name} {value}.",
                    "Choose another folder with run.output_dir=..., or delete that one to start anew.",
                )
        return
    if int(os.environ.get("RANK", "0")) == 0:
        output.mkdir(parents=True, exist_ok=True)
        partial = record.with_suffix(".partial")
        # The export reads where the model's config is.
        known = {"hf_model": config.recipe.hf_model, **identity}
        partial.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")
        os.replace(partial, record)


def check_same_stages(records: Sequence[Mapping[str, Any]], schedule: Schedule, finished: int) -> None:
    """Refuse a schedule under which an iteration that is already trained would have averaged differently.

    A stage's start as a fraction moves when `train_iters` is raised.

    Args:
        records: of metrics.jsonl.
        schedule: of the run that is going to continue.
        finished: iterations in the checkpoint.

    Raises:
        UserError: naming the first such iteration, and the stages as they were.
    """
    trained = [record for record in records if record["iteration"] <= finished]
    for record in trained:
        average = schedule.average_at(record["iteration"] - 1)
        if average != record["loss_stage"]:
            raise UserError(
                f"Iteration {record['iteration']} was trained on the {record['loss_stage']} average, but loss.stages "
                f"now says {average}: {schedule.describe()}.",
                "Give the starts of stages as iterations, as they were; a fraction moves with train.train_iters.",
            )


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
