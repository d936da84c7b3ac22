"""Find the newest checkpoint that is whole, in a folder that a run saves to.

Megatron-Bridge loads what latest_train_state.pt names, and only without it what latest_checkpointed_iteration.txt does
(_resolve_checkpoint_iteration in megatron/bridge/training/checkpointing.py). Either can name a checkpoint that is not
whole, or be cut off itself.
"""

import re
import shlex
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from nemotron.errors import UserError
from nemotron.files.regular_files import read_text
from nemotron.training.checkpoints.checkpoint import (
    FORMAT,
    METADATA,
    RELEASE,
    RUN_CONFIG,
    TRAIN_STATE,
    Checkpoint,
    Damage,
    read_checkpoint,
)
from nemotron.training.checkpoints.run_record import RUN_RECORD, read_json
from nemotron.training.checkpoints.torch_files import read_numbers

STATE_TRACKER = "latest_train_state.pt"
TRACKER = "latest_checkpointed_iteration.txt"
_FOLDER = re.compile(r"iter_(\d+)")
_SUPERSEDED = Damage("it", "is of a later iteration than the trackers name", unfinished=False)


@dataclass(frozen=True)
class Skipped:
    """A checkpoint that is skipped."""

    checkpoint: Checkpoint
    iteration: int
    why: Damage

    @property
    def folder(self) -> Path:
        """The folder of the checkpoint."""
        return self.checkpoint.folder

    @property
    def is_later(self) -> bool:
        """Whether it is skipped only because it is later than what the trackers name."""
        return self.why == _SUPERSEDED

    def __str__(self) -> str:
        return f"{self.folder} is not used: {self.why}"


@dataclass(frozen=True)
class Newest:
    """The newest checkpoint of a folder, and those that were skipped."""

    checkpoint: Checkpoint | None
    """The one to resume from, or None."""
    iteration: int
    """Its iterations; 0 without a checkpoint."""
    skipped: tuple[Skipped, ...] = ()
    """Checkpoints that are incomplete, or later than the one to resume from, newest first."""

    @property
    def folder(self) -> Path | None:
        """The folder of the newest checkpoint, or None."""
        return None if self.checkpoint is None else self.checkpoint.folder

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
        release = checkpoints / RELEASE
        return ({0: release}, {}) if read_text_tracker(checkpoints) == RELEASE and release.is_dir() else (found, {})
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


def read_text_tracker(checkpoints: Path) -> str:
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
    named = read_text_tracker(checkpoints)
    with suppress(ValueError):  # more digits than Python reads
        if named.isdecimal():
            return checkpoints / TRACKER, int(named)
    return None, 0


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

    Raises:
        UserError: One that may be it cannot be read.
    """
    candidates, later = _list_candidates(checkpoints)
    if step is not None and not is_iteration_dir(checkpoints):
        candidates, later = {step: checkpoints / f"iter_{step:07d}"}, {}
    skipped: list[Skipped] = []
    for iteration, folder in [*later.items(), *candidates.items()]:
        checkpoint = _read_or_explain(folder)
        if checkpoint.damage is None and iteration not in later:
            return Newest(checkpoint, iteration, tuple(skipped))
        skipped.append(Skipped(checkpoint, iteration, checkpoint.damage or _SUPERSEDED))
    return Newest(None, 0, tuple(skipped))


def _read_or_explain(folder: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        UserError: A file of it may not be read, as of another user's.
    """
    try:
        return read_checkpoint(folder)
    except PermissionError as error:
        hint = f"Correct its permissions. {how_to_use_older(folder)}"
        raise UserError(f"{error.filename} cannot be read: {error.strerror}.", hint) from error


def how_to_use_older(folder: Path) -> str:
    """Return a hint that names the checkpoint before a damaged one, and the command."""
    older = _find_older(folder)
    if older is None:
        return "There is no older checkpoint next to it. Get it again from where it was made."
    move = shlex.join(["mv", str(folder), str(folder.with_name(f"set_aside_{folder.name}"))])
    return f"{older} is complete. To use that one, run `{move}`, then the same command again."


def _find_older(folder: Path) -> Path | None:
    """Find the newest complete checkpoint that is older than a damaged one."""
    for each in _list_iterations(folder.parent).values():
        with suppress(PermissionError):
            if each.name < folder.name and read_checkpoint(each).damage is None:
                return each
    return None


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
    if (checkpoint_dir / RUN_CONFIG).is_file() and not (checkpoint_dir / METADATA).is_file():
        # It was named itself, and is in a form that we do not know.
        skipped = (each.checkpoint for each in newest.skipped if each.folder == checkpoint_dir)
        return next(skipped, Checkpoint(checkpoint_dir))
    if newest.skipped:
        older = (
            "There is no older one."
            if newest.folder is None
            else f"Use an older one, which is complete: {newest.folder}"
        )
        raise UserError(f"The checkpoint {(damaged or newest.skipped)[0]}.", older)
    if not checkpoint_dir.exists():
        raise UserError(f"{checkpoint_dir} does not exist.", "Give the output folder of a run, or a checkpoint of it.")
    raise UserError(
        f"{checkpoint_dir} has no complete Megatron checkpoint.",
        "Give the folder that training saved to (checkpoint.save), or one of its iter_* folders.",
    )


def find_checkpoint(path: Path) -> Checkpoint:
    """Find the newest checkpoint of a run.

    Args:
        path: The run's output folder, the folder that it saves to, or an `iter_*` folder itself.

    Raises:
        UserError: There is none.
    """
    if (path / "checkpoints").is_dir():
        return find_latest(path / "checkpoints")
    saved = read_json(path / RUN_RECORD).get("checkpoints")
    if saved is not None and Path(saved).is_dir() and not any(path.glob("iter_*")):
        path = Path(saved)
    return find_latest(path)
