"""Compute the digest of a file or a folder."""

import hashlib
from pathlib import Path

from nemotron.files.regular_files import open_file
from nemotron.lineage.artifact import MANIFEST

WHOLE_BYTES = 64 * 2**20
"""Files up to this size are read completely."""
_END_BYTES = 2**20


def compute_digest(path: Path) -> str:
    """Return `sha256:...` over the names and contents of the files at or below `path`.

    Of files over 64 MiB, such as the shards of a large checkpoint, only the size and the first and last MiB count; the
    digest then starts with `sha256-sampled:`. Hidden files and the artifact's own manifest are left out.
    """
    total, is_sampled = hashlib.sha256(), False
    for file in _files(path):
        content, is_whole = _digest_of_file(file)
        name = file.name if file == path else file.relative_to(path).as_posix()
        total.update(f"{name}\0{file.stat().st_size}\0{content}\n".encode(errors="surrogateescape"))
        is_sampled |= not is_whole
    return f"sha256{'-sampled' if is_sampled else ''}:{total.hexdigest()}"


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    found = [file for file in path.rglob("*") if file.is_file() and file.relative_to(path).as_posix() != MANIFEST]
    return sorted(
        file
        for file in found
        if not any(part.startswith(".") for part in file.relative_to(path).parts[:-1]) and not _is_temporary(file)
    )


def _is_temporary(file: Path) -> bool:
    # `.metadata` is part of a checkpoint; .tmp files are still being written, and lock files are temporary.
    return file.name.startswith(".") and (file.suffix == ".tmp" or file.name == ".lock")


def _digest_of_file(file: Path) -> tuple[str, bool]:
    size = file.stat().st_size
    with open_file(file) as opened:
        if size <= WHOLE_BYTES:
            return hashlib.file_digest(opened, "sha256").hexdigest(), True
        ends = hashlib.sha256(opened.read(_END_BYTES))
        opened.seek(-min(_END_BYTES, size), 2)
        ends.update(opened.read())
        return ends.hexdigest(), False
