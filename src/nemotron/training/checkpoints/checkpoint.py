"""Read what a checkpoint says of itself, and check that it is complete.

Megatron-Bridge writes train_state.pt and run_config.yaml after it has pointed its trackers at a checkpoint
(save_checkpoint in megatron/bridge/training/checkpointing.py), so a tracker proves nothing. A file list of our own
would, but checkpoints of earlier releases and from elsewhere have none. So we use what Megatron itself needs to load a
checkpoint: `.metadata` has the length of every part of every shard, and torch's small files have checksums.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from nemotron.config.yaml_file import DEEPEST, MOST_VALUES
from nemotron.records.regular_files import read_bytes, read_text
from nemotron.training.checkpoints.torch_files import check_archive, find_damaged_shard, mentions

RUN_CONFIG = "run_config.yaml"
"""The config that a checkpoint was saved with, which Megatron-Bridge writes into it last of all."""
METADATA = ".metadata"
FORMAT = "metadata.json"
TRAIN_STATE = "train_state.pt"
_COMMON = "common.pt"
_SECTIONS = ("checkpoint", "train")
"""Sections of run_config.yaml, which are in alphabetical order: the first one that Megatron-Bridge reads when it loads
a checkpoint, and one after the last that it reads."""


class Checkpoint(NamedTuple):
    """A checkpoint that was looked at once, and is handed on."""

    folder: Path
    """The `iter_*` folder (`release` from Megatron-LM)."""
    saved: dict[str, Any]
    """The config that it was saved with; empty for one of Megatron-LM."""


@dataclass(frozen=True)
class Damage:
    """What is wrong with a checkpoint."""

    file: str
    """The file that is missing or damaged."""
    what: str
    """The end of a sentence after the file's name: `is missing`, `has 100 of its 200 bytes`."""
    unfinished: bool
    """Whether an interrupted save leaves a checkpoint like this."""

    def __str__(self) -> str:
        return f"{self.file} {self.what}" + (" (its save was cut short)" if self.unfinished else "")


def read_checkpoint(iteration_dir: Path) -> Checkpoint:
    """Read what a checkpoint records about itself."""
    return Checkpoint(iteration_dir, run_config(iteration_dir))


def run_config(iteration_dir: Path) -> dict[str, Any]:
    """Read the config that a checkpoint was saved with: its run_config.yaml.

    It is empty if that is missing or not readable. Megatron-LM does not write one.
    """
    return read_yaml(iteration_dir / RUN_CONFIG) or {}


def tokenizer_of_checkpoint(iteration_dir: Path) -> str | None:
    """Return the tokenizer that training used; None if it was not recorded."""
    return (run_config(iteration_dir).get("tokenizer") or {}).get("tokenizer_model")


def find_damage(checkpoint: Checkpoint) -> Damage | None:
    """Find the first reason why a checkpoint cannot be loaded.

    None means that it is complete. Files are checked in the order in which a save writes them.
    """
    iteration_dir = checkpoint.folder
    if damage := _check_format(checkpoint):
        return damage
    try:
        if damaged := find_damaged_shard(iteration_dir / METADATA):
            return Damage(*damaged, unfinished=False)
    except ValueError as error:
        return Damage(METADATA, f"is {error}", unfinished=False)
    common, state = iteration_dir / _COMMON, iteration_dir / TRAIN_STATE
    if common.is_file() and (what := check_archive(common)):
        return Damage(_COMMON, what, unfinished=False)
    missing = [name for name in (TRAIN_STATE, RUN_CONFIG) if not (iteration_dir / name).is_file()]
    if len(missing) == 2 and mentions(common, "args"):
        return None  # from Megatron-LM, which writes neither; its settings are in common.pt
    if missing:
        return Damage(missing[0], "is missing", unfinished=True)
    if what := check_archive(state):
        return Damage(TRAIN_STATE, what, unfinished=True)
    is_whole = all(name in checkpoint.saved for name in _SECTIONS)
    is_whole = is_whole and read_bytes(iteration_dir / RUN_CONFIG).endswith(b"\n")
    return None if is_whole else Damage(RUN_CONFIG, "is cut off or not readable", unfinished=True)


def _check_format(checkpoint: Checkpoint) -> Damage | None:
    file = checkpoint.folder / FORMAT
    if not (checkpoint.folder / METADATA).is_file():
        return Damage(METADATA, "is missing", unfinished=True)
    if not file.is_file():  # this is how Megatron-Bridge recognises its other format, fsdp_dtensor
        is_other = (checkpoint.saved.get("checkpoint") or {}).get("ckpt_format") == "fsdp_dtensor"
        return None if is_other else Damage(FORMAT, "is missing", unfinished=True)
    try:
        is_whole = isinstance(json.loads(read_bytes(file)), dict)
    except (ValueError, RecursionError):
        is_whole = False
    return None if is_whole else Damage(file.name, "is not readable", unfinished=True)


def read_yaml(file: Path) -> dict[str, Any] | None:
    """Read a YAML file of sections; None if it is missing or not such a file."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where PyYAML has it
    try:
        text = read_text(file)
        config = yaml.load(text, Loader=loader) if _is_shallow(text, loader) else None
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return None
    return config if isinstance(config, dict) and _is_tree(config) else None


def _is_shallow(text: str, loader: Any) -> bool:
    """Tell whether a YAML text may be loaded: deep nesting would crash libyaml."""
    depth = 0
    for event in yaml.parse(text, loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            return False
    return True


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
