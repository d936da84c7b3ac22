"""Find the checkpoint to resume from, and make Megatron's trackers name it.

Megatron-Bridge loads what latest_train_state.pt names, and only without it what latest_checkpointed_iteration.txt does
(_resolve_checkpoint_iteration in megatron/bridge/training/checkpointing.py). Either can name a checkpoint that is not
whole, or be cut off itself.
"""

import contextlib
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nemotron.atomic_files import replace_when_complete, write_text
from nemotron.errors import UserError
from nemotron.records.regular_files import read_bytes, read_text
from nemotron.training.checkpoints.checkpoint import (
    FORMAT,
    METADATA,
    RUN_CONFIG,
    TRAIN_STATE,
    Checkpoint,
    Damage,
    find_damage,
    read_checkpoint,
)
from nemotron.training.checkpoints.run_record import RUN_RECORD, read_json
from nemotron.training.checkpoints.torch_files import read_numbers

STATE_TRACKER = "latest_train_state.pt"
TRACKER = "latest_checkpointed_iteration.txt"
_FOLDER = re.compile(r"iter_(\d+)")
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


def is_iteration_dir(folder: Path) -> bool:
    """Tell whether a folder is a checkpoint itself, by its files."""
    return any((folder / name).is_file() for name in (RUN_CONFIG, TRAIN_STATE, FORMAT, METADATA))


def _list_candidates(checkpoints: Path) -> tuple[dict[int, Path], dict[int, Path]]:
    """List the checkpoints of a folder by what its trackers name.

    What they name comes first, then what is older: they may have been set back on purpose. A checkpoint that is newer
    counts where it was completed after the tracker was written, or where no tracker is readable.

    Args:
        checkpoints: The folder that a run saves to, or an `iter_*` folder itself.

    Returns:
        Iteration -> folder: of those to continue from, in order; and of those that are later than the trackers name.
    """
    found = _list_iterations(checkpoints)
    tracker, named = _read_trackers(checkpoints)
    if tracker is None:
        release = checkpoints / "release"  # of Megatron-LM
        return ({0: release}, {}) if _read_text_tracker(checkpoints) == "release" and release.is_dir() else (found, {})
    later = {iteration: folder for iteration, folder in found.items() if iteration > named}
    since = {iteration: folder for iteration, folder in later.items() if _is_completed_since(folder, tracker)}
    older = {iteration: folder for iteration, folder in found.items() if iteration < named}
    left = {iteration: folder for iteration, folder in later.items() if iteration not in since}
    return {**since, named: checkpoints / f"iter_{named:07d}", **older}, left


def _list_iterations(checkpoints: Path) -> dict[int, Path]:
    """Map iterations to `iter_*` folders, newest first.

    For a folder that is a checkpoint itself, it is the only entry.
    """
    if is_iteration_dir(checkpoints):
        match = _FOLDER.fullmatch(checkpoints.name)
        return {int(match[1]) if match else _read_step(checkpoints / TRAIN_STATE) or 0: checkpoints}
    try:
        found = {_FOLDER.fullmatch(path.name): path for path in checkpoints.iterdir() if path.is_dir()}
    except (FileNotFoundError, NotADirectoryError):
        return {}
    return dict(sorted(((int(match[1]), path) for match, path in found.items() if match), reverse=True))


def _is_completed_since(folder: Path, tracker: Path) -> bool:
    try:
        return (folder / RUN_CONFIG).stat().st_mtime_ns >= tracker.stat().st_mtime_ns
    except OSError:
        return True  # not complete at all


def _read_text_tracker(checkpoints: Path) -> str:
    """Read latest_checkpointed_iteration.txt: a number, `release`, or nothing."""
    try:
        return read_text(checkpoints / TRACKER).strip()
    except (OSError, ValueError):
        return ""


def _read_trackers(checkpoints: Path) -> tuple[Path | None, int]:
    """Return the tracker that Megatron-Bridge uses, and its iteration.

    They are None and 0 without a readable tracker.
    """
    tracker = checkpoints / STATE_TRACKER
    if tracker.is_file():
        step = _read_step(tracker)
        return (None, 0) if step is None else (tracker, step)
    named = _read_text_tracker(checkpoints)
    return (checkpoints / TRACKER, int(named)) if named.isdecimal() else (None, 0)


def _read_step(state: Path) -> int | None:
    try:
        return int(read_numbers(state)["step"])
    except (OSError, ValueError, KeyError):
        return None


def find_newest(checkpoints: Path, step: int | None = None) -> Newest:
    """Find the newest complete checkpoint of a folder that a run saves to.

    Args:
        checkpoints: The folder, or an `iter_*` folder itself.
        step: The iteration to find, whatever the trackers name (checkpoint.ckpt_step); None finds the newest.
    """
    candidates, later = _list_candidates(checkpoints)
    if step is not None and not is_iteration_dir(checkpoints):
        candidates, later = {step: checkpoints / f"iter_{step:07d}"}, {}
    skipped: list[Skipped] = []
    for iteration, folder in [*later.items(), *candidates.items()]:
        checkpoint = read_checkpoint(folder)
        if folder.name == "release":  # of Megatron-LM; Megatron-Bridge takes it as it is
            return Newest(folder, 0, saved=checkpoint.saved)
        try:
            damage = find_damage(checkpoint) if folder.is_dir() else _GONE
        except FileNotFoundError:  # the first rank has set it aside meanwhile
            damage = _GONE
        if damage is None and iteration not in later:
            return Newest(folder, iteration, tuple(skipped), checkpoint.saved)
        skipped.append(Skipped(folder, iteration, damage or _SUPERSEDED, checkpoint.saved))
    return Newest(None, 0, tuple(skipped))


def find_older(folder: Path) -> Path | None:
    """Find the newest complete checkpoint that is older than a damaged one."""
    found = _list_iterations(folder.parent)
    older = (each for each in found.values() if each.name < folder.name)
    return next((each for each in older if find_damage(read_checkpoint(each)) is None), None)


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


def find_checkpoint(path: Path) -> Path:
    """Find the newest `iter_*` folder of a run.

    Args:
        path: The run's output folder, the folder that it saves to, or an `iter_*` folder itself.

    Raises:
        UserError: There is none.
    """
    if (path / "checkpoints").is_dir():
        return find_latest(path / "checkpoints").folder
    saved = read_json(path / RUN_RECORD).get("checkpoints")
    if saved is not None and Path(saved).is_dir() and not any(path.glob("iter_*")):
        path = Path(saved)
    return find_latest(path).folder


def repair(checkpoints: Path, newest: Newest) -> None:
    """Change a folder of checkpoints so that Megatron loads what `find_newest` found.

    Skipped checkpoints are renamed, because a later save would mix its files with theirs. Shards without an index, left
    by an interrupted save, are useless and are removed.
    """
    for skipped in newest.skipped:
        with contextlib.suppress(FileNotFoundError):
            _set_aside(skipped.folder)
    _set_trackers(checkpoints, newest.folder, newest.iteration)


def _set_aside(folder: Path) -> None:
    if not any((folder / name).exists() for name in (METADATA, TRAIN_STATE, RUN_CONFIG)):
        shutil.rmtree(folder)  # interrupted while writing shards, so there is no index for them
        return
    names = (folder.with_name(f"set_aside_{folder.name}{end}") for end in ("", *(f".{n}" for n in range(2, 10_000))))
    folder.rename(next(name for name in names if not name.exists()))


def _set_trackers(checkpoints: Path, folder: Path | None, iteration: int) -> None:
    """Make both trackers name a checkpoint; None removes them."""
    state, text = checkpoints / STATE_TRACKER, checkpoints / TRACKER
    if folder is None:
        for tracker in (state, text):
            tracker.unlink(missing_ok=True)
        return
    if folder.name == "release":
        return
    saved, named = folder / TRAIN_STATE, _read_text_tracker(checkpoints)
    if not saved.is_file():  # of Megatron-LM
        state.unlink(missing_ok=True)
    elif not state.is_file() or read_bytes(state) != read_bytes(saved):
        with replace_when_complete(state) as temporary:
            shutil.copyfile(saved, temporary)
    if named != str(iteration):
        write_text(text, str(iteration))
