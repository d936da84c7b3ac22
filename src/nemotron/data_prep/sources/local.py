"""Read inputs on this machine's file systems."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from nemotron.data_prep.sources.blend import Dataset
from nemotron.data_prep.sources.input_file import (
    BOOKKEEPING,
    Found,
    format_of,
    leave_out_bookkeeping,
    list_suffixes,
    no_data_files,
)
from nemotron.errors import UserError, did_you_mean
from nemotron.files.paths import ensure_text, find_matches
from nemotron.files.regular_files import open_file

SAMPLE_BYTES = 2**20
SAMPLES = 16
WHOLE_DIGEST_BYTES = SAMPLES * SAMPLE_BYTES
"""Files up to this size are identified by all of their bytes, because the samples would cover them anyway."""


def find_local(dataset: Dataset) -> list[Found]:
    """Return the files of a dataset with a local path.

    Raises:
        UserError: There are none, OSError when unreadable.
    """
    return [_identify(path) for path in sorted(_paths(dataset), key=lambda path: path.split(os.sep))]


def version(path: str) -> str:
    """Return a version that changes with every write, and if the file is replaced.

    It contains the change time, which cannot be set, so restoring size and modification time does not restore the
    version.
    """
    return _version(os.stat(path))


def _version(status: os.stat_result) -> str:
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"


def _paths(dataset: Dataset) -> list[str]:
    path = Path(dataset.path)
    if path.is_file():
        if format_of(path.name) is None:
            raise UserError(
                f'Dataset "{dataset.name}": {path} is not of a known format.', f"Files can be {list_suffixes()}."
            )
        ensure_text(path, f'Dataset "{dataset.name}"')
        return [str(path)]
    if path.is_dir():
        if (path / BOOKKEEPING[-1]).is_file() and not dataset.recursive:
            splits = sorted(state.parent.name for state in path.glob(f"*/{BOOKKEEPING[0]}"))
            raise UserError(
                f'Dataset "{dataset.name}": {path} has the splits {", ".join(splits)} that `datasets` saved.',
                f"Give the one to train on, such as {path / (splits[0] if splits else 'train')}.",
            )
        found = map(str, path.rglob("*")) if dataset.recursive else _list_folder(path)
    else:
        found = (str(Path(name)) for name in find_matches(dataset.path))
    if files := leave_out_bookkeeping(name for name in found if format_of(name) is not None and os.path.isfile(name)):
        for file in files:
            ensure_text(file, f'Dataset "{dataset.name}"')
        return files
    if path.is_dir():
        raise no_data_files(dataset.name, dataset.path, recursive=dataset.recursive)
    if path.is_symlink() or path.exists():
        kind = "a broken link" if not path.exists() else "not a regular file"
        raise UserError(f'Dataset "{dataset.name}": {path} is {kind}.', "Give a file, a folder or a glob.")
    siblings = [str(other) for other in path.parent.glob("*")]
    raise UserError(
        f'Dataset "{dataset.name}": {path} does not exist.',
        did_you_mean(str(path), siblings) or "Paths in a blend file are relative to the blend file.",
    )


def _list_folder(folder: Path) -> Iterator[str]:
    """Yield the paths of what is in a folder, as `Path` writes them."""
    before = "" if folder == Path() else f"{str(folder).rstrip(os.sep)}{os.sep}"
    return (before + name for name in os.listdir(folder))


def _identify(path: str) -> Found:
    """Identify a file without reading terabytes twice.

    Up to 16 MiB, the digest is blake2b-128 of the content, so that a copy is recognised. For larger files, it covers 16
    samples of 1 MiB and the version, which changes with every write. So a changed file is never mistaken for the old
    one, but a copy (or a change of permissions) counts as new and is tokenized again.
    """
    with open_file(path) as file:
        status = os.fstat(file.fileno())
        digest = hashlib.blake2b(digest_size=16)
        if status.st_size <= WHOLE_DIGEST_BYTES:
            while block := file.read(2**22):
                digest.update(block)
        else:
            digest.update(_version(status).encode())
            for i in range(SAMPLES):
                file.seek((status.st_size - SAMPLE_BYTES) * i // (SAMPLES - 1))
                digest.update(file.read(SAMPLE_BYTES))
    return Found(path, status.st_size, digest.hexdigest(), _version(status))
