"""Find the checkpoint to resume from, and make Megatron's trackers name it."""

import contextlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nemotron.errors import UserError
from nemotron.training.checkpoints.damage import METADATA, TRAIN_STATE, Damage, find_damage
from nemotron.training.checkpoints.reader import RUN_CONFIG, RUN_RECORD, Checkpoint, read_checkpoint, read_json
from nemotron.training.checkpoints.trackers import is_iteration_dir, list_candidates, set_trackers

_GONE = Damage("it", "is gone", unfinished=False)
_SUPERSEDED = Damage("it", "is of a later iteration than the trackers name", unfinished=False)


@dataclass(frozen=True)
class Skipped:
    """A checkpoint that is skipped."""

    folder: Path
    iteration: int
    why: Damage
    saved: dict[str, Any] = field(default_factory=dict, compare=False)
    """What can be read of its config."""

    @property
    def is_later(self) -> bool:
        """Whether it is skipped only because it is later than what the trackers name."""
        return self.why == _SUPERSEDED

    def __str__(self) -> str:
        return f"{self.folder} is not used: {self.why}"


@dataclass(frozen=True)
class Newest:
    """The newest checkpoint of a folder, and those that were skipped."""

    folder: Path | None
    """The `iter_*` folder (`release` from Megatron-LM) to resume from, or None."""
    iteration: int
    """Its iterations; 0 without a checkpoint."""
    skipped: tuple[Skipped, ...] = ()
    """Checkpoints that are incomplete, or later than the one to resume from, newest first."""
    saved: dict[str, Any] = field(default_factory=dict)
    """The config of the newest; empty without a checkpoint, and for one of Megatron-LM."""

    @property
    def checkpoint(self) -> Checkpoint | None:
        """The newest checkpoint and its config, or None."""
        return None if self.folder is None else Checkpoint(self.folder, self.saved)

    def includes(self, folder: Path) -> bool:
        """Tell whether a folder is one of these checkpoints itself.

        False for the folder that they are in.
        """
        return folder in (self.folder, *(skipped.folder for skipped in self.skipped))


def find_newest(checkpoints: Path, step: int | None = None) -> Newest:
    """Find the newest complete checkpoint of a folder that a run saves to.

    Args:
        checkpoints: The folder, or an `iter_*` folder itself.
        step: The iteration to find, whatever the trackers name (checkpoint.ckpt_step); None finds the newest.
    """
    candidates, later = list_candidates(checkpoints)
    if step is not None and not is_iteration_dir(checkpoints):
        candidates, later = {step: checkpoints / f"iter_{step:07d}"}, {}
    skipped: list[Skipped] = []
    for iteration, folder in [*later.items(), *candidates.items()]:
        checkpoint = read_checkpoint(folder)
        if folder.name == "release":  # of Megatron-LM; Megatron-Bridge takes it as it is
            return Newest(folder, 0, saved=checkpoint.saved)
        damage = find_damage(checkpoint) if folder.is_dir() else _GONE
        if damage is None and iteration not in later:
            return Newest(folder, iteration, tuple(skipped), checkpoint.saved)
        skipped.append(Skipped(folder, iteration, damage or _SUPERSEDED, checkpoint.saved))
    return Newest(None, 0, tuple(skipped))


def find_in_turn(folders: Sequence[Path], step: int | None = None) -> list[Newest]:
    """Look into folders in turn, until one has a checkpoint.

    Args:
        folders: Folders that runs save to.
        step: The iteration to find in the last of them; None finds the newest.

    Returns:
        What was found in each folder that was looked into.
    """
    found: list[Newest] = []
    for folder in folders:
        found.append(find_newest(folder, step if len(found) + 1 == len(folders) else None))
        if found[-1].folder is not None:
            break
    return found


def find_latest(checkpoint_dir: Path) -> Checkpoint:
    """Find the newest complete checkpoint of a folder that must have one.

    Args:
        checkpoint_dir: A folder that a run saved to, or the checkpoint itself.

    Raises:
        UserError: There is none, or the newest is damaged.
    """
    newest = find_newest(checkpoint_dir)
    damaged = [skipped for skipped in newest.skipped if not (skipped.why.unfinished or skipped.is_later)]
    if newest.checkpoint is not None and not damaged:
        return newest.checkpoint
    if (checkpoint_dir / RUN_CONFIG).is_file():  # named itself, in a form that we do not know
        saved = [skipped.saved for skipped in newest.skipped if skipped.folder == checkpoint_dir]
        return Checkpoint(checkpoint_dir, saved[0] if saved else {})
    if newest.skipped:
        older = (
            "There is no older one."
            if newest.folder is None
            else f"Use an older one, which is complete: {newest.folder}"
        )
        raise UserError(f"The checkpoint {(damaged or newest.skipped)[0]}.", older)
    raise UserError(
        f"{checkpoint_dir} has no complete Megatron checkpoint.",
        "Give the folder that training saved to (checkpoint.save), or one of its iter_* folders.",
    )


def latest_iteration(checkpoint_dir: Path) -> Path:
    """Return the `iter_*` folder of the newest complete checkpoint.

    That is `checkpoint_dir` itself if it is one.

    Raises:
        UserError: There is none, or the newest is damaged.
    """
    return find_latest(checkpoint_dir).folder


def find_checkpoint(path: Path) -> Path:
    """Find the newest `iter_*` folder of a run.

    Args:
        path: The run's output folder, the folder that it saves to, or an `iter_*` folder itself.

    Raises:
        UserError: There is none.
    """
    if (path / "checkpoints").is_dir():
        return latest_iteration(path / "checkpoints")
    saved = read_json(path / RUN_RECORD).get("checkpoints")
    if saved is not None and Path(saved).is_dir() and not any(path.glob("iter_*")):
        path = Path(saved)
    return latest_iteration(path)


def base_model_of(checkpoint: Checkpoint) -> Checkpoint | None:
    """Return the model whose adapters a checkpoint holds.

    None when it holds a whole model.

    Raises:
        UserError: It holds adapters, and their model is not where it was.
    """
    if checkpoint.saved.get("peft") is None:
        return None
    base = str((checkpoint.saved.get("checkpoint") or {}).get("pretrained_checkpoint"))
    try:
        return find_latest(Path(base))
    except UserError:
        raise UserError(
            f"{checkpoint.folder} has adapters, but the model that they were trained on is not at {base}.",
            "Restore that checkpoint, or correct checkpoint.pretrained_checkpoint in its run_config.yaml.",
        ) from None


def repair(checkpoints: Path, newest: Newest) -> None:
    """Change a folder of checkpoints so that Megatron loads what `find_newest` found.

    Skipped checkpoints are renamed, because a later save would mix its files with theirs. Shards without an index, left
    by an interrupted save, are useless and are removed.
    """
    for skipped in newest.skipped:
        with contextlib.suppress(FileNotFoundError):
            _set_aside(skipped.folder)
    set_trackers(checkpoints, newest.folder, newest.iteration)


def _set_aside(folder: Path) -> None:
    if not any((folder / name).exists() for name in (METADATA, TRAIN_STATE, RUN_CONFIG)):
        shutil.rmtree(folder)  # interrupted while writing shards, so there is no index for them
        return
    names = (folder.with_name(f"set_aside_{folder.name}{end}") for end in ("", *(f".{n}" for n in range(2, 10_000))))
    folder.rename(next(name for name in names if not name.exists()))
