"""Make Megatron load the checkpoint that was found.

The others are set aside, and its trackers name this one.
"""

import contextlib
import shutil
from pathlib import Path

from nemotron.atomic_files import replace_when_complete, write_text
from nemotron.records.regular_files import read_bytes
from nemotron.training.checkpoints.checkpoint import METADATA, RELEASE, RUN_CONFIG, TRAIN_STATE
from nemotron.training.checkpoints.newest import STATE_TRACKER, TRACKER, Newest, read_text_tracker


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
    if folder.name == RELEASE:
        return
    saved, named = folder / TRAIN_STATE, read_text_tracker(checkpoints)
    if not saved.is_file():  # of Megatron-LM
        state.unlink(missing_ok=True)
    elif not state.is_file() or read_bytes(state) != read_bytes(saved):
        with replace_when_complete(state) as temporary:
            shutil.copyfile(saved, temporary)
    if named != str(iteration):
        write_text(text, str(iteration))
