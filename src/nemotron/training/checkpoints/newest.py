"""Find the checkpoint to resume from, and make Megatron's trackers name it.

Megatron-Bridge loads what latest_train_state.pt names, or without it what latest_checkpointed_iteration.txt names
(_resolve_checkpoint_iteration in megatron/bridge/training/checkpointing.py). Either can name an incomplete checkpoint,
or be cut off itself.
"""

import contextlib
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from nemotron.atomic_files import replaced_when_complete, write_text
from nemotron.training.checkpoints.damage import FORMAT, METADATA, RUN_CONFIG, TRAIN_STATE, Damage, find_damage
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


def find_newest(checkpoints: Path) -> Newest:
    """Find the newest complete checkpoint of a folder that a run saves to.

    The trackers take precedence, then older checkpoints, because trackers may have been set back on purpose. A newer
    checkpoint counts only if it was completed after the tracker was written, or if no tracker is readable.

    Args:
        checkpoints: The folder, or an `iter_*` folder itself.
    """
    tracker, named = _read_trackers(checkpoints)
    candidates, left = _list_folders(checkpoints), {}
    if tracker is not None:
        later = {iteration: folder for iteration, folder in candidates.items() if iteration > named}
        since = {iteration: folder for iteration, folder in later.items() if _is_completed_since(folder, tracker)}
        left = {iteration: folder for iteration, folder in later.items() if iteration not in since}
        older = {iteration: folder for iteration, folder in candidates.items() if iteration < named}
        candidates = {**since, named: checkpoints / f"iter_{named:07d}", **older}
    elif _read_text_tracker(checkpoints) == "release" and (checkpoints / "release").is_dir():
        return Newest(checkpoints / "release", 0)
    skipped: list[Skipped] = []
    for iteration, folder in [*left.items(), *candidates.items()]:
        damage = find_damage(folder) if folder.is_dir() else _GONE
        if damage is None and iteration not in left:
            return Newest(folder, iteration, tuple(skipped))
        skipped.append(Skipped(folder, iteration, damage or _SUPERSEDED))
    return Newest(None, 0, tuple(skipped))


def find_iteration(checkpoints: Path, step: int) -> Newest:
    """Find the checkpoint of one iteration (checkpoint.ckpt_step).

    The trackers are ignored.

    Args:
        checkpoints: The folder that a run saves to, or an `iter_*` folder itself.
        step: The iteration.
    """
    if is_iteration_dir(checkpoints):
        return find_newest(checkpoints)
    folder = checkpoints / f"iter_{step:07d}"
    damage = find_damage(folder) if folder.is_dir() else _GONE
    return Newest(folder, step) if damage is None else Newest(None, 0, (Skipped(folder, step, damage),))


def is_iteration_dir(folder: Path) -> bool:
    """Tell whether a folder is a checkpoint itself, by its files."""
    return any((folder / name).is_file() for name in (RUN_CONFIG, TRAIN_STATE, FORMAT, METADATA))


def repair(checkpoints: Path, newest: Newest) -> None:
    """Change a folder of checkpoints so that Megatron loads what `find_newest` found.

    Skipped checkpoints are renamed, because a later save would mix its files with theirs. Shards without an index, left
    by an interrupted save, are useless and are removed.
    """
    for skipped in newest.skipped:
        with contextlib.suppress(FileNotFoundError):
            _set_aside(skipped.folder)
    _set_trackers(checkpoints, newest)


def _list_folders(checkpoints: Path) -> dict[int, Path]:
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


def _read_text_tracker(checkpoints: Path) -> str:
    try:
        return (checkpoints / TRACKER).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""


def _is_completed_since(folder: Path, tracker: Path) -> bool:
    try:
        return (folder / RUN_CONFIG).stat().st_mtime_ns >= tracker.stat().st_mtime_ns
    except OSError:
        return True  # not complete at all


def _set_aside(folder: Path) -> None:
    if not any((folder / name).exists() for name in (METADATA, TRAIN_STATE, RUN_CONFIG)):
        shutil.rmtree(folder)  # interrupted while writing shards, so there is no index for them
        return
    names = (folder.with_name(f"set_aside_{folder.name}{end}") for end in ("", *(f".{n}" for n in range(2, 10_000))))
    folder.rename(next(name for name in names if not name.exists()))


def _set_trackers(checkpoints: Path, newest: Newest) -> None:
    state, text = checkpoints / STATE_TRACKER, checkpoints / TRACKER
    if newest.folder is None:
        for tracker in (state, text):
            tracker.unlink(missing_ok=True)
        return
    if newest.folder.name == "release":
        return
    saved, named = newest.folder / TRAIN_STATE, _read_text_tracker(checkpoints)
    if not saved.is_file():  # from Megatron-LM
        state.unlink(missing_ok=True)
    elif not state.is_file() or state.read_bytes() != saved.read_bytes():
        with replaced_when_complete(state) as temporary:
            shutil.copyfile(saved, temporary)
    if named != str(newest.iteration):
        write_text(text, str(newest.iteration))
