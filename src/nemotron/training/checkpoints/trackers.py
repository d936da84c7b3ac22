"""What a folder of checkpoints holds, and what Megatron's trackers name of it.

Megatron-Bridge loads what latest_train_state.pt names, and only without it what latest_checkpointed_iteration.txt does
(_resolve_checkpoint_iteration in megatron/bridge/training/checkpointing.py). Either can name a checkpoint that is not
whole, or be cut off itself.
"""

import re
import shutil
from pathlib import Path

from nemotron.atomic_files import replace_when_complete, write_text
from nemotron.training.checkpoints.damage import FORMAT, METADATA, TRAIN_STATE
from nemotron.training.checkpoints.reader import RUN_CONFIG
from nemotron.training.checkpoints.torch_files import read_numbers

STATE_TRACKER = "latest_train_state.pt"
TRACKER = "latest_checkpointed_iteration.txt"
_FOLDER = re.compile(r"iter_(\d+)")


def is_iteration_dir(folder: Path) -> bool:
    """Tell whether a folder is a checkpoint itself, by its files."""
    return any((folder / name).is_file() for name in (RUN_CONFIG, TRAIN_STATE, FORMAT, METADATA))


def list_candidates(checkpoints: Path) -> tuple[dict[int, Path], dict[int, Path]]:
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
        return (checkpoints / TRACKER).read_text(encoding="utf-8").strip()
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


def set_trackers(checkpoints: Path, folder: Path | None, iteration: int) -> None:
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
    elif not state.is_file() or state.read_bytes() != saved.read_bytes():
        with replace_when_complete(state) as temporary:
            shutil.copyfile(saved, temporary)
    if named != str(iteration):
        write_text(text, str(iteration))
