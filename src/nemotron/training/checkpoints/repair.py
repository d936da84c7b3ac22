"""Make Megatron load the checkpoint that was found.

The others are set aside, and its trackers name this one.
"""

import contextlib
import os
import shutil
from pathlib import Path

from nemotron.files.atomic_files import replace_when_complete, write_text
from nemotron.files.regular_files import read_bytes
from nemotron.training.checkpoints.checkpoint import METADATA, RELEASE, RUN_CONFIG, TRAIN_STATE
from nemotron.training.checkpoints.newest import STATE_TRACKER, TRACKER, Newest, read_text_tracker

_ITERATIONS = "iter_[0-9]*"


def repair(checkpoints: Path, newest: Newest) -> None:
    """Change a folder of checkpoints so that Megatron loads what `find_newest` found.

    Skipped checkpoints are renamed, because a later save would mix its files with theirs. Shards without an index, left
    by an interrupted save, are useless and are removed.
    """
    for skipped in newest.skipped:
        with contextlib.suppress(FileNotFoundError):
            _set_aside(skipped.folder)
    _set_trackers(checkpoints, newest.folder, newest.iteration)


def clear_names(checkpoints: Path) -> None:
    """Rename what a save could not replace.

    That is what has the name of a checkpoint and is no folder, or that of a tracker and is one.
    """
    for path in checkpoints.glob(_ITERATIONS):
        if not path.is_dir():
            _rename_aside(path)
    for name in (STATE_TRACKER, TRACKER):
        if (checkpoints / name).is_dir():
            _rename_aside(checkpoints / name)


def _set_aside(folder: Path) -> None:
    if folder.is_symlink() or not folder.is_dir():  # removing a FIFO as a folder would wait for a writer
        _rename_aside(folder)
    elif not any((folder / name).exists() for name in (METADATA, TRAIN_STATE, RUN_CONFIG)):
        shutil.rmtree(folder)  # interrupted while writing shards, so there is no index for them
    else:
        _rename_aside(folder)


def _rename_aside(folder: Path) -> None:
    names = (folder.with_name(f"set_aside_{folder.name}{end}") for end in ("", *(f".{n}" for n in range(2, 10_000))))
    folder.rename(next(name for name in names if not os.path.lexists(name)))


def _set_trackers(checkpoints: Path, folder: Path | None, iteration: int) -> None:
    """Make both trackers name a checkpoint; None removes them."""
    state, text = checkpoints / STATE_TRACKER, checkpoints / TRACKER
    if folder is None:
        for tracker in (state, text):
            tracker.unlink(missing_ok=True)
        return
    if folder.name == RELEASE:
        return
    saved, named = folder / TRAIN_STATE, read_text_tracker(checkpoints)
    if not saved.is_file():  # of Megatron-LM
        state.unlink(missing_ok=True)
    elif not _is_copy(state, saved):
        with replace_when_complete(state) as temporary:
            shutil.copyfile(saved, temporary)
    if named != str(iteration):
        write_text(text, str(iteration))


def _is_copy(file: Path, other: Path) -> bool:
    is_as_long = file.is_file() and file.stat().st_size == other.stat().st_size
    return is_as_long and read_bytes(file) == read_bytes(other)
