"""Read what a checkpoint says about itself, and check that it is complete.

Megatron-Bridge writes train_state.pt and run_config.yaml after it has pointed its trackers at a checkpoint
(save_checkpoint in megatron/bridge/training/checkpointing.py), so a tracker proves nothing. Checkpoints of earlier
releases and from elsewhere have no list of files. So we use what Megatron itself needs to load a checkpoint:
`.metadata` has the length of every part of every shard, and torch's small files have checksums. Our own saves also have
fingerprints of the files.
"""

import errno
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nemotron.config.yaml_file import parse_plain
from nemotron.files.regular_files import read_bytes
from nemotron.training.checkpoints.fingerprints import find_changed_file
from nemotron.training.checkpoints.torch_files import (
    check_archive,
    find_damaged_shard,
    mentions,
    read_numbers,
    read_stored_parts,
)

RUN_CONFIG = "run_config.yaml"
"""The config that a checkpoint was saved with, which Megatron-Bridge writes last."""
METADATA = ".metadata"
FORMAT = "metadata.json"
TRAIN_STATE = "train_state.pt"
RELEASE = "release"
"""The folder of a checkpoint of Megatron-LM that has no iteration."""
_COMMON = "common.pt"
_ITERATION = re.compile(r"iter_(\d+)")
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


_GONE = Damage("it", "is gone", unfinished=False)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was looked at once, and is handed on."""

    folder: Path
    """The `iter_*` folder (`release` from Megatron-LM)."""
    saved: dict[str, Any] = field(default_factory=dict, compare=False)
    """The config that it was saved with; empty if it is not readable, and for one of Megatron-LM."""
    damage: Damage | None = None
    """The first reason why it cannot be loaded; None if it is complete."""

    @property
    def tokenizer(self) -> str | None:
        """The tokenizer that training used; None if it was not recorded."""
        return (self.saved.get("tokenizer") or {}).get("tokenizer_model")


def read_checkpoint(folder: Path) -> Checkpoint:
    """Read what a checkpoint records about itself, and check that it is complete.

    Files are checked in the order in which a save writes them. `release` is taken as it is, as Megatron-Bridge does.
    """
    if not folder.is_dir():
        return Checkpoint(folder, damage=_GONE)
    try:
        names = [name for name in (METADATA, FORMAT, RUN_CONFIG) if (folder / name).is_file()]
        files = {name: read_bytes(folder / name) for name in names}
        config = parse_plain(files.get(RUN_CONFIG, b""))
        saved = config if isinstance(config, dict) else {}
        damage = None if folder.name == RELEASE else _find_damage(folder, files, saved)
    except FileNotFoundError:  # the first rank has set it aside meanwhile
        return Checkpoint(folder, damage=_GONE)
    except OSError as error:
        if error.errno != errno.EFBIG:
            raise
        return Checkpoint(folder, damage=Damage(Path(error.filename).name, "is too large", unfinished=False))
    return Checkpoint(folder, saved, damage)


def _find_damage(folder: Path, files: Mapping[str, bytes], saved: Mapping[str, Any]) -> Damage | None:
    if METADATA not in files:
        return Damage(METADATA, "is missing", unfinished=True)
    if damage := _check_format(files, saved):
        return damage
    try:
        stored = read_stored_parts(files[METADATA])
    except ValueError as error:
        return Damage(METADATA, f"is {error}", unfinished=False)
    if damaged := find_damaged_shard(folder, stored):
        return Damage(*damaged, unfinished=False)
    common, state = folder / _COMMON, folder / TRAIN_STATE
    if common.is_file() and (what := check_archive(common)):
        return Damage(_COMMON, what, unfinished=False)
    missing = [name for name, there in ((TRAIN_STATE, state.is_file()), (RUN_CONFIG, RUN_CONFIG in files)) if not there]
    if len(missing) == 2 and mentions(common, "args"):
        return None  # from Megatron-LM, which writes neither; its settings are in common.pt
    if missing:
        return Damage(missing[0], "is missing", unfinished=True)
    if what := check_archive(state):
        return Damage(TRAIN_STATE, what, unfinished=True)
    if what := _describe_other_step(state):
        return Damage(TRAIN_STATE, what, unfinished=False)
    if not (all(name in saved for name in _SECTIONS) and files[RUN_CONFIG].endswith(b"\n")):
        return Damage(RUN_CONFIG, "is cut off or not readable", unfinished=True)
    changed = find_changed_file(folder, stored)
    return None if changed is None else Damage(*changed, unfinished=False)


def _describe_other_step(state: Path) -> str | None:
    """Describe a train_state.pt that is of another iteration than its folder.

    Megatron would resume from that iteration, with the weights of this one.
    """
    named = _ITERATION.fullmatch(state.parent.name)
    try:
        step = read_numbers(state).get("step")
    except ValueError as error:
        return f"is {error}"
    return None if named is None or step in (None, int(named[1])) else f"is of iteration {step:.0f}"


def _check_format(files: Mapping[str, bytes], saved: Mapping[str, Any]) -> Damage | None:
    if FORMAT not in files:  # this is how Megatron-Bridge recognises its other format, fsdp_dtensor
        is_other = (saved.get("checkpoint") or {}).get("ckpt_format") == "fsdp_dtensor"
        return None if is_other else Damage(FORMAT, "is missing", unfinished=True)
    try:
        is_whole = isinstance(json.loads(files[FORMAT]), dict)
    except (ValueError, RecursionError):
        is_whole = False
    return None if is_whole else Damage(FORMAT, "is not readable", unfinished=True)
