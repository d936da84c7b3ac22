"""Check that a checkpoint is complete: no file is missing or too short.

Megatron-Bridge writes train_state.pt and run_config.yaml after it has pointed its trackers at a checkpoint
(save_checkpoint in megatron/bridge/training/checkpointing.py), so a tracker proves nothing. A file list of our own
would, but checkpoints of earlier releases and from elsewhere have none. So we use what Megatron itself needs to load a
checkpoint: `.metadata` has the length of every part of every shard, and torch's small files have checksums.
"""

import json
from dataclasses import dataclass

from nemotron.training.checkpoints.reader import RUN_CONFIG, Checkpoint
from nemotron.training.checkpoints.torch_files import check_archive, find_damaged_shard, mentions

METADATA = ".metadata"
FORMAT = "metadata.json"
TRAIN_STATE = "train_state.pt"
_COMMON = "common.pt"
_SECTIONS = ("checkpoint", "train")
"""Sections of run_config.yaml, which are in alphabetical order: the first one that Megatron-Bridge reads when it loads
a checkpoint, and one after the last that it reads."""


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
    is_whole = is_whole and (iteration_dir / RUN_CONFIG).read_bytes().endswith(b"\n")
    return None if is_whole else Damage(RUN_CONFIG, "is cut off or not readable", unfinished=True)


def _check_format(checkpoint: Checkpoint) -> Damage | None:
    file = checkpoint.folder / FORMAT
    if not (checkpoint.folder / METADATA).is_file():
        return Damage(METADATA, "is missing", unfinished=True)
    if not file.is_file():  # this is how Megatron-Bridge recognises its other format, fsdp_dtensor
        is_other = (checkpoint.saved.get("checkpoint") or {}).get("ckpt_format") == "fsdp_dtensor"
        return None if is_other else Damage(FORMAT, "is missing", unfinished=True)
    try:
        is_whole = isinstance(json.loads(file.read_bytes()), dict)
    except (ValueError, RecursionError):
        is_whole = False
    return None if is_whole else Damage(file.name, "is not readable", unfinished=True)
