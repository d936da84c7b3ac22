"""What a checkpoint and its run say of themselves, read without Megatron."""

import json
from pathlib import Path
from typing import Any

from nemotron.errors import UserError
from nemotron.training.checkpoints.damage import read_yaml
from nemotron.training.checkpoints.newest import find_newest

RUN_RECORD = "run.json"
"""What identifies a run (run_folder.py): in its output folder, and with its checkpoints where these are elsewhere."""


def find_checkpoint(path: Path) -> Path:
    """Find the newest `iter_*` folder of a run.

    Args:
        path: the run's output folder, the folder it saves to, or that `iter_*` folder itself.

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
    """Return the output folder of the run that saved this checkpoint.

    None when it is not one of ours, or was moved.
    """
    saved = iteration_dir.absolute().parent
    if (saved.parent / RUN_RECORD).is_file():
        return saved.parent
    output = read_json(saved / RUN_RECORD).get("output_dir")
    return Path(output) if output is not None and Path(output).is_dir() else None


def record_of(iteration_dir: Path) -> dict[str, Any]:
    """Return what identifies the run that saved this checkpoint.

    Empty when it is not one of ours.
    """
    saved = iteration_dir.absolute().parent
    return read_json(saved / RUN_RECORD) or read_json(saved.parent / RUN_RECORD)


def hf_model_of(iteration_dir: Path) -> str | None:
    """Return the Hugging Face id or folder that described the model in training.

    None where that is not recorded.
    """
    return record_of(iteration_dir).get("hf_model")


def read_json(record: Path) -> dict[str, Any]:
    """Return what a run.json says; nothing when it is absent, empty or not readable."""
    try:
        content = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def tokenizer_of_checkpoint(iteration_dir: Path) -> str | None:
    """Return the tokenizer that training used.

    None in a checkpoint that was not trained here.
    """
    return (run_config(iteration_dir).get("tokenizer") or {}).get("tokenizer_model")


def latest_iteration(checkpoint_dir: Path) -> Path:
    """Return the `iter_*` folder of the newest whole checkpoint.

    `checkpoint_dir` itself if it is one.

    Raises:
        UserError: there is none, or the newest is damaged.
    """
    if (checkpoint_dir / "run_config.yaml").is_file():
        return checkpoint_dir
    newest = find_newest(checkpoint_dir)
    if newest.folder is not None and all(skipped.why.unfinished or skipped.is_later for skipped in newest.skipped):
        return newest.folder
    if newest.skipped:
        older = (
            "There is no older one." if newest.folder is None else f"Name an older one, which is whole: {newest.folder}"
        )
        raise UserError(f"The checkpoint {newest.skipped[0]}.", older)
    raise UserError(
        f"{checkpoint_dir} holds no finished Megatron checkpoint.",
        "Name the folder that training saved to (checkpoint.save), or one of its iter_* folders.",
    )


def run_config(iteration_dir: Path) -> dict[str, Any]:
    """Read the config that a checkpoint was saved with.

    run_config.yaml, which Megatron-Bridge writes into it.

    Empty for a checkpoint of Megatron-LM, which writes none.
    """
    return read_yaml(iteration_dir / "run_config.yaml") or {}


def base_model_of(iteration_dir: Path) -> Path | None:
    """Return the `iter_*` folder of the model whose adapters this checkpoint holds.

    None when it holds a whole model.

    Raises:
        UserError: it holds adapters, and their model is not where it was.
    """
    config = run_config(iteration_dir)
    if config.get("peft") is None:
        return None
    base = str((config.get("checkpoint") or {}).get("pretrained_checkpoint"))
    try:
        return latest_iteration(Path(base))
    except UserError:
        raise UserError(
            f"{iteration_dir} holds adapters, and the model that they were trained on is not at {base}.",
            "Put that checkpoint back, or correct checkpoint.pretrained_checkpoint in run_config.yaml there.",
        ) from None


def read_records(path: Path) -> list[dict[str, Any]]:
    """Read the objects of a JSON-lines file of records; none when it is absent.

    A line that is not a record is left out: a machine that loses its power leaves NULs, a full disk half a line.
    """
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    # Without its newline the last line is still being written.
    return [record for record in map(_as_record, lines[:-1]) if record is not None]


def count_unreadable(path: Path) -> int:
    """Count the lines of a JSON-lines file that are no records, the last one left out."""
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
