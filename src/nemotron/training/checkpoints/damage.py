"""Whether a checkpoint is whole: all its files there, and each as long as it was saved.

Megatron-Bridge writes train_state.pt and run_config.yaml after it has pointed its trackers at a checkpoint
(save_checkpoint in megatron/bridge/training/checkpointing.py), so a tracker proves nothing. A list of files of our own
would: but checkpoints of earlier releases and from elsewhere have none. What Megatron itself needs to load one says as
much: `.metadata` names every part of every shard with its length, torch's small files carry checksums.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from nemotron.training.checkpoints.torch_files import check_archive, check_parts, mentions, stored_parts

METADATA = ".metadata"
FORMAT = "metadata.json"
TRAIN_STATE = "train_state.pt"
RUN_CONFIG = "run_config.yaml"
_COMMON = "common.pt"
_SECTIONS = ("checkpoint", "train")
"""Of run_config.yaml, which has its sections in alphabetical order: the first that Megatron-Bridge reads when it loads
a checkpoint, and one behind the last."""


@dataclass(frozen=True)
class Damage:
    """What is wrong with a checkpoint."""

    file: str
    """Its file that is missing or damaged."""
    what: str
    """`is missing`, `has 100 of its 200 bytes`: what follows the file's name in a sentence."""
    unfinished: bool
    """Whether a save that was cut short leaves a checkpoint like this."""

    def __str__(self) -> str:
        return f"{self.file} {self.what}" + (" (its save was cut short)" if self.unfinished else "")


def find_damage(iteration_dir: Path) -> Damage | None:
    """Find the first thing that keeps a checkpoint (an `iter_*` folder) from being loaded; None when it is whole."""
    return (
        _check_format(iteration_dir)
        or _check_shards(iteration_dir)
        or (None if _is_of_megatron_lm(iteration_dir) else _check_last_files(iteration_dir))
    )


def _check_format(iteration_dir: Path) -> Damage | None:
    file = iteration_dir / FORMAT
    if not (iteration_dir / METADATA).is_file():
        return Damage(METADATA, "is missing", unfinished=True)
    if not file.is_file():  # which is how Megatron-Bridge tells its other format, fsdp_dtensor
        settings = read_config(iteration_dir / RUN_CONFIG) or {}
        is_other = (settings.get("checkpoint") or {}).get("ckpt_format") == "fsdp_dtensor"
        return None if is_other else Damage(FORMAT, "is missing", unfinished=True)
    try:
        is_whole = isinstance(json.loads(file.read_bytes()), dict)
    except ValueError:
        is_whole = False
    return None if is_whole else Damage(file.name, "is not readable", unfinished=True)


def _check_shards(iteration_dir: Path) -> Damage | None:
    try:
        parts = stored_parts(iteration_dir / METADATA)
    except ValueError as error:
        return Damage(METADATA, f"is {error}", unfinished=False)
    for name, places in parts.items():
        file = iteration_dir / name
        if not file.is_file():
            return Damage(name, "is missing", unfinished=False)
        if what := check_parts(file, places):
            return Damage(name, what, unfinished=False)
    common = iteration_dir / _COMMON
    if common.is_file() and (what := check_archive(common)):
        return Damage(_COMMON, what, unfinished=False)
    return None


def _check_last_files(iteration_dir: Path) -> Damage | None:
    for name in (TRAIN_STATE, RUN_CONFIG):
        if not (iteration_dir / name).is_file():
            return Damage(name, "is missing", unfinished=True)
    if what := check_archive(iteration_dir / TRAIN_STATE):
        return Damage(TRAIN_STATE, what, unfinished=True)
    if read_config(iteration_dir / RUN_CONFIG) is None:
        return Damage(RUN_CONFIG, "is cut off or not readable", unfinished=True)
    return None


def read_config(file: Path) -> dict[str, Any] | None:
    """Read a run_config.yaml; None when it is absent, cut off or not readable."""
    config = read_yaml(file)
    is_whole = config is not None and all(name in config for name in _SECTIONS)
    return config if is_whole and file.read_bytes().endswith(b"\n") else None


def read_yaml(file: Path) -> dict[str, Any] | None:
    """Read a YAML file of sections; None when it is absent, not readable or something else."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where PyYAML has it
    try:
        config = yaml.load(file.read_text(encoding="utf-8"), Loader=loader)
    except (OSError, ValueError, yaml.YAMLError):
        return None
    return config if isinstance(config, dict) else None


def _is_of_megatron_lm(iteration_dir: Path) -> bool:
    """Megatron-LM writes neither of the last two files; its settings are in common.pt, as `args`."""
    absent = not any((iteration_dir / name).exists() for name in (TRAIN_STATE, RUN_CONFIG))
    return absent and mentions(iteration_dir / _COMMON, "args")
