"""Read what a checkpoint and its run record about themselves, without Megatron."""

import json
from pathlib import Path
from typing import Any

from nemotron.errors import UserError
from nemotron.training.checkpoints.damage import read_yaml
from nemotron.training.checkpoints.newest import find_newest

RUN_RECORD = "run.json"
"""The file that identifies a run, in its output folder and next to its checkpoints (run_folder.py)."""


def find_checkpoint(path: Path) -> Path:
    """Find the newest `iter_*` folder of a run.

    Args:
        path: The run's output folder, the folder that it saves to, or an `iter_*` folder itself.

    Raises:
        UserError: there is none.
    """
    if (path / "checkpoints").is_dir():
        return latest_iteration(path / "checkpoints")
    saved = read_json(path / RUN_RECORD).get("checkpoints")
    if saved is not None and Path(saved).is_dir() and not any(path.glob("iter_*")):
        path = Path(saved)
    return latest_iteration(path)


def run_of(iteration_dir: Path) -> Path | None:
    """Return the output folder of the run that saved a checkpoint.

    None means that the run is not ours, or was moved.
    """
    saved = iteration_dir.absolute().parent
    if (saved.parent / RUN_RECORD).is_file():
        return saved.parent
    output = read_json(saved / RUN_RECORD).get("output_dir")
    return Path(output) if output is not None and Path(output).is_dir() else None


def record_of(iteration_dir: Path) -> dict[str, Any]:
    """Return the record of the run that saved a checkpoint; empty if it is not ours."""
    saved = iteration_dir.absolute().parent
    return read_json(saved / RUN_RECORD) or read_json(saved.parent / RUN_RECORD)


def hf_model_of(iteration_dir: Path) -> str | None:
    """Return the Hugging Face id or folder that described the model in training.

    None means that it was not recorded.
    """
    return record_of(iteration_dir).get("hf_model")


def read_json(record: Path) -> dict[str, Any]:
    """Read a run.json; {} if it is missing, empty or unreadable."""
    try:
        content = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def tokenizer_of_checkpoint(iteration_dir: Path) -> str | None:
    """Return the tokenizer that training used; None if it was not recorded."""
    return (run_config(iteration_dir).get("tokenizer") or {}).get("tokenizer_model")


def latest_iteration(checkpoint_dir: Path) -> Path:
    """Return the `iter_*` folder of the newest complete checkpoint.

    That is `checkpoint_dir` itself if it is one.

    Raises:
        UserError: There is none, or the newest is damaged.
    """
    if (checkpoint_dir / "run_config.yaml").is_file():
        return checkpoint_dir
    newest = find_newest(checkpoint_dir)
    if newest.folder is not None and all(skipped.why.unfinished or skipped.is_later for skipped in newest.skipped):
        return newest.folder
    if newest.skipped:
        older = (
            "There is no older one."
            if newest.folder is None
            else f"Use an older one, which is complete: {newest.folder}"
        )
        raise UserError(f"The checkpoint {newest.skipped[0]}.", older)
    raise UserError(
        f"{checkpoint_dir} has no complete Megatron checkpoint.",
        "Give the folder that training saved to (checkpoint.save), or one of its iter_* folders.",
    )


def run_config(iteration_dir: Path) -> dict[str, Any]:
    """Read the config that a checkpoint was saved with: its run_config.yaml.

    It is empty for a checkpoint of Megatron-LM, which does not write one.
    """
    return read_yaml(iteration_dir / "run_config.yaml") or {}


def base_model_of(iteration_dir: Path) -> Path | None:
    """Return the `iter_*` folder of the base model of a checkpoint of adapters.

    None means that the checkpoint is a whole model.

    Raises:
        UserError: It has adapters, and their model is no longer there.
    """
    config = run_config(iteration_dir)
    if config.get("peft") is None:
        return None
    base = str((config.get("checkpoint") or {}).get("pretrained_checkpoint"))
    try:
        return latest_iteration(Path(base))
    except UserError:
        raise UserError(
            f"{iteration_dir} has adapters, but the model that they were trained on is not at {base}.",
            "Restore that checkpoint, or correct checkpoint.pretrained_checkpoint in its run_config.yaml.",
        ) from None


def read_records(path: Path) -> list[dict[str, Any]]:
    """Read the records of a JSON Lines file; [] if it is missing.

    Lines that are not records are skipped: a power failure leaves NULs, a full disk half a line.
    """
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    # A last line without a newline is still being written.
    return [record for record in map(_as_record, lines[:-1]) if record is not None]


def count_unreadable(path: Path) -> int:
    """Count the lines of a JSON Lines file that are not records, except the last line."""
    if not path.exists():
        return 0
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
    return sum(_as_record(line) is None for line in lines)


def _as_record(line: str) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and isinstance(record.get("iteration"), int) else None
