"""Explain in one sentence that the disk is full, with the size of a checkpoint."""

import contextlib
import errno
import shutil
from collections.abc import Iterator
from pathlib import Path

from nemotron.errors import UserError
from nemotron.files.paths import nearest_folder
from nemotron.training.checkpoints.newest import find_newest

_FULL = (errno.ENOSPC, errno.EDQUOT)
_SAYS_FULL = ("No space left on device", "Disk quota exceeded")


def explain_full_disk(error: BaseException, checkpoints: Path) -> UserError | None:
    """Explain an error that comes from a full disk; None if it does not.

    Megatron-Core's writers run in other processes, and torch wraps their errors, so the whole chain of errors is
    searched. If the error says only that a write failed, the free space decides.
    """
    says_full = any(_is_full(each) for each in _chain(error))
    if not says_full and not any(_is_failed_write(each) for each in _chain(error)):
        return None
    newest, free = find_newest(checkpoints), shutil.disk_usage(nearest_folder(checkpoints)).free
    needed = 0 if newest.folder is None else _size(newest.folder)
    if not says_full and free >= (needed or max((_size(each.folder) for each in newest.skipped), default=0)):
        return None
    needs = f"a checkpoint needs {needed:,} bytes" if needed else "the first checkpoint does not fit"
    intact = f"The checkpoint of iteration {newest.iteration:,} is whole." if needed else "No checkpoint is saved yet."
    return UserError(
        f"The disk of {checkpoints} is full: {needs}, and {free:,} are free.",
        f"{intact} Free space, or keep fewer checkpoints (checkpoint.most_recent_k=1). The same command continues.",
    )


@contextlib.contextmanager
def explain_full_disk_of(folder: Path, needed: int) -> Iterator[None]:
    """Explain that a model does not fit, where it is saved in the `with` block.

    Args:
        folder: Where it is saved.
        needed: About how many bytes it has.

    Raises:
        UserError: A write failed, and there is less room than that.
    """
    try:
        yield
    except BaseException as error:  # a CheckpointException of torch is no Exception
        is_failed = any(_is_full(each) or _is_failed_write(each) for each in _chain(error))
        free = shutil.disk_usage(nearest_folder(folder)).free
        if not is_failed or free >= needed:
            raise
        raise UserError(
            f"The disk of {folder.parent} is full: the model needs {needed:,} bytes, and {free:,} are free.",
            "Free space, and run the same command again.",
        ) from error


def _is_full(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno in _FULL:
        return True
    text = str(error)
    return any(said in text for said in _SAYS_FULL)


def _is_failed_write(error: BaseException) -> bool:
    """Tell whether an error may come from a failed write.

    On a full disk, torch's zip writer reports an unexpected position, which Megatron-Core only logs.
    """
    return type(error).__name__ == "CheckpointException" or "unexpected pos" in str(error)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
