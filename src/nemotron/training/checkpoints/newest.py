"""Which checkpoint of a folder a run continues from, and making Megatron's trackers say the same.

Megatron-Bridge loads what latest_train_state.pt names, and only without it what latest_checkpointed_iteration.txt does
(_resolve_checkpoint_iteration in megatron/bridge/training/checkpointing.py). Either can name a checkpoint that is not
whole, or be cut off itself.
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
_SUPERSEDED = Damage("it", "is of a later iteration than the trackers name", unfinished=False)


@dataclass(frozen=True)
class Skipped:
    """A checkpoint that is passed over."""

    folder: Path
    iteration: int
    why: Damage

    @property
    def is_later(self) -> bool:
        """Whether it is passed over for nothing but being later than what the trackers name."""
        return self.why == _SUPERSEDED

    def __str__(self) -> str:
        return f"{self.folder} is not used: {self.why}"


@dataclass(frozen=True)
class Newest:
    """What a folder of checkpoints holds."""

    folder: Path | None
    """The `iter_*` folder (or `release`, of Megatron-LM) to continue from; None when there is none."""
    iteration: int
    """Its iterations; 0 when there is none."""
    skipped: tuple[Skipped, ...] = ()
    """Checkpoints that are not whole, or later than the one to continue from, newest first."""


def find_newest(checkpoints: Path, step: int | None = None) -> Newest:
    """Find the newest whole checkpoint of a folder that a run saves to.

    What the trackers name comes first, then what is older: they may have been set back on purpose. A checkpoint that is
    newer counts where it was completed after the tracker was written, or where no tracker is readable.

    Args:
        checkpoints: the folder, or an `iter_*` folder itself.
        step: the iteration to continue from, where it is given (checkpoint.ckpt_step).
    """
    if is_iteration_dir(checkpoints):
        return _find_in([(_iteration_of(checkpoints), checkpoints)], ())
    folders = dict(sorted(_folders(checkpoints).items(), reverse=True))
    tracker, named = _read_trackers(checkpoints)
    if step is not None:
        named, tracker = step, None
        folders = {iteration: folder for iteration, folder in folders.items() if iteration <= step}
    if named is None:
        if _read_text_tracker(checkpoints) == "release" and (checkpoints / "release").is_dir():
            return Newest(checkpoints / "release", 0)
        return _find_in([*folders.items()], ())
    later = {iteration: folder for iteration, folder in folders.items() if iteration > named}
    since = () if tracker is None else tuple(i for i, folder in later.items() if _is_completed_since(folder, tracker))
    left = tuple(
        Skipped(folder, i, find_damage(folder) or _SUPERSEDED) for i, folder in later.items() if i not in since
    )
    at = {named: checkpoints / f"iter_{named:07d}", **{i: folder for i, folder in folders.items() if i <= named}}
    candidates = [*((i, later[i]) for i in since), *sorted(at.items(), reverse=True)]
    return _find_in(candidates[:1] if step is not None else candidates, left)


def is_iteration_dir(folder: Path) -> bool:
    """Tell whether a folder is a checkpoint itself, by the files that Megatron-Bridge tells it by."""
    return any((folder / name).is_file() for name in (RUN_CONFIG, TRAIN_STATE, FORMAT, METADATA))


def repair(checkpoints: Path, newest: Newest) -> None:
    """Make a folder of checkpoints hold what `find_newest` found, so that Megatron loads just that.

    What was skipped keeps its content under another name: a later save would mix its files with those it left there.
    Shards alone, of a save that was cut short early, are of no use to anybody and are removed.
    """
    for skipped in newest.skipped:
        with contextlib.suppress(FileNotFoundError):
            _set_aside(skipped.folder)
    _set_trackers(checkpoints, newest)


def _find_in(candidates: list[tuple[int, Path]], left: tuple[Skipped, ...]) -> Newest:
    skipped = list(left)
    for iteration, folder in candidates:
        damage = find_damage(folder) if folder.is_dir() else Damage("it", "is gone", unfinished=False)
        if damage is None:
            return Newest(folder, iteration, tuple(skipped))
        skipped.append(Skipped(folder, iteration, damage))
    return Newest(None, 0, tuple(skipped))


def _folders(checkpoints: Path) -> dict[int, Path]:
    try:
        found = {_FOLDER.fullmatch(path.name): path for path in checkpoints.iterdir() if path.is_dir()}
    except (FileNotFoundError, NotADirectoryError):
        return {}
    return {int(match[1]): path for match, path in found.items() if match}


def _iteration_of(folder: Path) -> int:
    if match := _FOLDER.fullmatch(folder.name):
        return int(match[1])
    try:
        return int(read_numbers(folder / TRAIN_STATE).get("step", 0))
    except (OSError, ValueError):
        return 0


def _read_trackers(checkpoints: Path) -> tuple[Path | None, int | None]:
    """The tracker that Megatron-Bridge goes by, and the iteration it names; None and None when it says nothing."""
    tracker = checkpoints / STATE_TRACKER
    if tracker.is_file():
        try:
            return tracker, int(read_numbers(tracker)["step"])
        except (OSError, ValueError, KeyError):
            return None, None
    named = _read_text_tracker(checkpoints)
    return (checkpoints / TRACKER, int(named)) if named.isdecimal() else (None, None)


def _read_text_tracker(checkpoints: Path) -> str:
    try:
        return (checkpoints / TRACKER).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""


def _is_completed_since(folder: Path, tracker: Path) -> bool:
    try:
        return (folder / RUN_CONFIG).stat().st_mtime_ns >= tracker.stat().st_mtime_ns
    except OSError:
        return True  # not completed at all


def _set_aside(folder: Path) -> None:
    if not any((folder / name).exists() for name in (METADATA, TRAIN_STATE, RUN_CONFIG)):
        shutil.rmtree(folder)  # cut short while shards were written: nothing says what is where in them
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
    saved = newest.folder / TRAIN_STATE
    if not saved.is_file():  # of Megatron-LM
        state.unlink(missing_ok=True)
    elif not state.is_file() or state.read_bytes() != saved.read_bytes():
        with replaced_when_complete(state) as temporary:
            shutil.copyfile(saved, temporary)
    if _read_text_tracker(checkpoints) != str(newest.iteration):
        write_text(text, str(newest.iteration))
