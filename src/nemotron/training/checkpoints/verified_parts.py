"""Verify the checksum of every part of a checkpoint that torch loads.

torch.save writes checksums, and torch.load ignores them: a changed byte would be another weight, and nothing else would
notice. Each part is verified by the rank that loads it, so that a large checkpoint is read once, by all its ranks.
"""

import io
from functools import wraps
from pathlib import Path
from typing import Any

from nemotron.errors import UserError
from nemotron.training.checkpoints.newest import how_to_use_older
from nemotron.training.checkpoints.torch_files import check_archive


def verify_parts() -> None:
    """Make torch verify the parts of distributed checkpoints that this process loads.

    A second call does nothing. Loading a damaged part raises a UserError, which torch wraps in a CheckpointException.
    """
    from torch.distributed.checkpoint.filesystem import FileSystemReader

    slice_file: Any = FileSystemReader._slice_file
    if hasattr(slice_file, "__wrapped__"):
        return

    @wraps(slice_file)
    def slice_verified(reader: Any, stream: Any, info: Any) -> Any:
        part = io.BytesIO(slice_file(reader, stream, info).read())
        if what := check_archive(part):
            file = Path(reader.path) / info.relative_path
            raise UserError(f"{file} is damaged: a part of it {what}.", how_to_use_older(file.parent))
        part.seek(0)
        return part

    FileSystemReader._slice_file = slice_verified  # pyright: ignore[reportAttributeAccessIssue]


def find_user_error(error: BaseException) -> UserError | None:
    """Find the UserError that an error of loading a checkpoint is or wraps."""
    wrapped = getattr(error, "failures", {})  # of a CheckpointException: rank -> error and its stack
    candidates = [error, *(each for each, _ in wrapped.values())]
    return next((each for each in candidates if isinstance(each, UserError)), None)
