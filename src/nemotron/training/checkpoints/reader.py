"""Read what a checkpoint and its run record about themselves, without Megatron."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from nemotron.config.yaml_file import DEEPEST, MOST_VALUES

RUN_RECORD = "run.json"
"""The file that identifies a run, in its output folder and next to its checkpoints (run_folder.py)."""
RUN_CONFIG = "run_config.yaml"
"""The config that a checkpoint was saved with, which Megatron-Bridge writes into it last of all."""
_TEXTS = ("output_dir", "checkpoints", "hf_model")
"""Fields of run.json that are paths or names."""


class Checkpoint(NamedTuple):
    """A checkpoint that was looked at once, and is handed on."""

    folder: Path
    """The `iter_*` folder (`release` from Megatron-LM)."""
    saved: dict[str, Any]
    """The config that it was saved with; empty for one of Megatron-LM."""


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
    """Read a run.json; {} if it is missing, empty or unreadable.

    Its paths and names are text; anything else in their place is left out.
    """
    try:
        content = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(content, dict):
        return {}
    return {key: value for key, value in content.items() if key not in _TEXTS or _is_text(value)}


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and "\0" not in value


def tokenizer_of_checkpoint(iteration_dir: Path) -> str | None:
    """Return the tokenizer that training used; None if it was not recorded."""
    return (run_config(iteration_dir).get("tokenizer") or {}).get("tokenizer_model")


def run_config(iteration_dir: Path) -> dict[str, Any]:
    """Read the config that a checkpoint was saved with: its run_config.yaml.

    It is empty if that is missing or not readable. Megatron-LM does not write one.
    """
    return read_yaml(iteration_dir / RUN_CONFIG) or {}


def read_checkpoint(iteration_dir: Path) -> Checkpoint:
    """Read what a checkpoint records about itself."""
    return Checkpoint(iteration_dir, run_config(iteration_dir))


def read_yaml(file: Path) -> dict[str, Any] | None:
    """Read a YAML file of sections; None if it is missing or not such a file."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where PyYAML has it
    try:
        config = yaml.load(file.read_text(encoding="utf-8"), Loader=loader)
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return None
    return config if isinstance(config, dict) and _is_tree(config) else None


def _is_tree(config: dict[str, Any]) -> bool:
    """Tell whether a walk over all values ends.

    YAML aliases may go round, or make a few lines into billions.
    """
    level: list[Any] = [config]
    for _ in range(DEEPEST):
        children = (inner for value in level for inner in (value.values() if isinstance(value, dict) else value))
        level = [inner for inner in children if isinstance(inner, dict | list)]
        if not level:
            return True
        if sum(map(len, level)) > MOST_VALUES:
            return False
    return False


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
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and isinstance(record.get("iteration"), int) else None
