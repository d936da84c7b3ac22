"""Files and folders that are either complete or absent, whenever the process dies."""

import contextlib
import errno
import fcntl
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import orjson

from nemotron.errors import UserError
from nemotron.files.regular_files import LARGEST, open_file, read_bytes
from nemotron.files.typed import typed

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors of writing where there is no room."""
PRIVATE = 0o600
"""The mode of a file that only its owner may read."""


@contextlib.contextmanager
def replace_when_complete(path: Path, mode: int = 0o666, *, synced: bool = True) -> Iterator[Path]:
    """Yield a temporary path next to `path`.

    On success it is synced and renamed to `path`; on failure it is removed. A rename is atomic, so readers and later
    runs see the old file, the complete new file, or no file. What killed processes left of the same file is removed.

    Args:
        path: Its folder is created if it is missing.
        mode: Permissions of the new file, before the umask.
        synced: Whether the new file must survive a failure of the machine, too. Where a checksum is compared before
            anything is read, nothing is lost without, and thousands of small files take a tenth of the time.
    """
    temporary, descriptor = _open_temporary(path, mode)
    try:
        if synced:  # not where there are thousands of files, because this lists their folder
            _remove_unlocked(_list_temporary(path))
        yield temporary
        if synced:
            os.fsync(descriptor)
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in FULL and error.filename is None:
            error.filename = str(path)  # the error of a full disk does not say where
        if isinstance(error, IsADirectoryError):
            error.filename, error.filename2 = str(path), None  # not the temporary file
        raise
    finally:
        os.close(descriptor)


def _open_temporary(path: Path, mode: int) -> tuple[Path, int]:
    """Create an empty file next to a path, and lock it for as long as it is written."""
    while True:
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            continue
        except OSError as error:
            error.filename = str(path)  # not the temporary file
            raise
        with contextlib.suppress(OSError):  # not every file system has locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if _is_at(temporary, descriptor):  # another writer may have taken it for abandoned before it was locked
            return temporary, descriptor
        os.close(descriptor)


def remove_abandoned(folder: Path) -> None:
    """Remove what killed processes left in a folder that others may be writing to."""
    _remove_unlocked([path for path in folder.iterdir() if path.name.startswith(".") and path.suffix == ".tmp"])


def _remove_unlocked(paths: Iterable[Path]) -> None:
    """Remove temporary files that nobody locks."""
    for left in paths:
        with contextlib.suppress(OSError), open_file(left) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            left.unlink()


def _list_temporary(path: Path) -> list[Path]:
    prefix = f".{path.name}."  # not a glob: it compiles a pattern for each file
    names = [name for name in os.listdir(path.parent) if name.startswith(prefix) and name.endswith(".tmp")]
    return [path.with_name(name) for name in names]


@contextlib.contextmanager
def replace_folder_when_complete(folder: Path) -> Iterator[Path]:
    """Yield an empty folder next to `folder`.

    On success it is renamed to `folder`; on failure it is removed.

    An older `folder` is removed once the new one is complete, so the caller must check first that it may be. Leftovers
    of a killed process are cleared first, so only one process may write at a time (`one_at_a_time`).
    """
    unfinished, old = (folder.with_name(f".{folder.name}.{suffix}") for suffix in ("unfinished", "replaced"))
    if old.exists() and not folder.exists():  # killed between the two renames below
        old.rename(folder)
    for leftover in (unfinished, old):
        shutil.rmtree(leftover, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        yield unfinished
        if folder.exists():
            folder.rename(old)
        unfinished.rename(folder)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    shutil.rmtree(old, ignore_errors=True)


def remove_unfinished(folder: Path) -> None:
    """Remove the temporary files that a killed process left anywhere below a folder.

    No other process may be writing to it.
    """
    for path in folder.rglob(".*.tmp"):
        path.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes, mode: int = 0o666, *, synced: bool = True) -> None:
    """Write a small file atomically; `mode` is its permissions before the umask."""
    with replace_when_complete(path, mode, synced=synced) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str, mode: int = 0o666) -> None:
    """Write a small UTF-8 file atomically; `mode` is its permissions before the umask."""
    write_bytes(path, text.encode(), mode)


def write_json(path: Path, value: object, *, synced: bool = True) -> None:
    """Write `value` as indented JSON, atomically.

    Dataclasses and numpy scalars are supported.
    """
    options = orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE
    write_bytes(path, orjson.dumps(value, option=options, default=str), synced=synced)


def point_link(link: Path, target: Path) -> None:
    """Make `link` a relative symbolic link to `target`, atomically.

    An older link is replaced, and what killed processes left of it is removed, so only one process may do this at a
    time.

    Raises:
        UserError: `link` exists and is not a link.
    """
    if link.exists() and not link.is_symlink():
        raise UserError(f"{link} was not made by data prep, and a link has to go there.", "Move it away and run again.")
    for left in _list_temporary(link):
        left.unlink(missing_ok=True)
    temporary = link.with_name(f".{link.name}.{os.getpid()}.tmp")
    try:
        temporary.symlink_to(os.path.relpath(target, link.parent), target_is_directory=True)
        temporary.replace(link)
    except OSError as error:
        error.filename, error.filename2 = str(link), None  # not what it would lead to
        raise


def checksum(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hex: what `sha256sum` prints."""
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


CHECKSUMS = "checksums.json"


def write_checksums(folder: Path) -> None:
    """Write the checksums of a folder's files to checksums.json.

    Subfolders are skipped.
    """
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.name != CHECKSUMS)
    write_json(folder / CHECKSUMS, {path.name: checksum(path) for path in files})


def is_as_written(path: Path) -> bool:
    """Tell whether a file has its checksum in checksums.json of its folder."""
    try:
        return _has_checksum(path, _read_checksums(path.parent).get(path.name))
    except (OSError, ValueError):
        return False


def find_changes(folder: Path, needed: str) -> Iterator[str]:
    """Yield a sentence for each file that differs from checksums.json.

    Args:
        folder: A folder that `write_checksums` was called for.
        needed: A file that must be among them.
    """
    try:
        checksums = _read_checksums(folder)
    except (OSError, ValueError) as error:
        yield f"{folder / CHECKSUMS} cannot be read: {error}."
        return
    if needed not in checksums:
        yield f"{folder / CHECKSUMS} does not list {needed}."
    for name, expected in checksums.items():
        if not (folder / name).is_file():
            yield f"{folder / name} is missing."
        elif not _has_checksum(folder / name, expected):
            yield f"{folder / name} does not match its checksum in {CHECKSUMS}."


def _read_checksums(folder: Path) -> dict[str, str]:
    return typed(dict[str, str], orjson.loads(read_bytes(folder / CHECKSUMS)))


def _has_checksum(path: Path, expected: str | None) -> bool:
    try:
        if path.stat().st_size > LARGEST:  # which would take as long as the file seems to have bytes
            return False
        return expected == checksum(path)
    except OSError:
        return False


@contextlib.contextmanager
def one_at_a_time(lock: Path) -> Iterator[None]:
    """Wait for the lock file, hold it in the `with` block, and remove it.

    The lock is released if the process dies.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with open_file(lock, "ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if not _is_at(lock, file.fileno()):  # the holder before removed the file that was waited for
                continue
            try:
                yield
            finally:
                lock.unlink(missing_ok=True)
            return


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
