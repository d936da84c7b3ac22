"""Files that are either complete or absent, whenever the process dies; and one writer per output folder."""

import contextlib
import fcntl
import hashlib
import os
import socket
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import orjson

from nemotron.errors import UserError


@contextlib.contextmanager
def replaced_when_complete(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is synced and renamed to `path`, on failure removed.

    A rename is atomic, so readers and later runs see the old file, the whole new file, or none.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())  # mkstemp gives 0600; the trainer may run as somebody else
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def remove_unfinished(folder: Path) -> None:
    """Remove what a killed process had begun to write anywhere below a folder that nobody else is writing."""
    for path in folder.rglob(".*.tmp"):
        path.unlink(missing_ok=True)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def write_bytes(path: Path, content: bytes) -> None:
    """Write a small file whole, atomically."""
    with replaced_when_complete(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, value: object) -> None:
    """Write `value` as indented JSON, atomically. Dataclasses and numpy scalars are understood."""
    options = orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE
    write_bytes(path, orjson.dumps(value, option=options, default=str))


def point_link(link: Path, target: Path) -> None:
    """Make `link` a relative symbolic link to `target`, replacing an older link in one step.

    Raises UserError when something that is not a link stands in its place.
    """
    if link.exists() and not link.is_symlink():
        raise UserError(f"{link} is in the way: it was not made by data prep.", "Move it away and run again.")
    temporary = link.with_name(f".{link.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(os.path.relpath(target, link.parent), target_is_directory=True)
    temporary.replace(link)


def checksum(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex: what `sha256sum` prints."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


CHECKSUMS = "checksums.json"


def write_checksums(folder: Path) -> None:
    """Write down the checksums of the files in a folder, those of its subfolders not included."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.name != CHECKSUMS)
    write_json(folder / CHECKSUMS, {path.name: checksum(path) for path in files})


@contextlib.contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Hold the folder for the length of the `with` block.

    The lock belongs to the process: it is gone when the process ends, however it ends. Raises UserError saying who
    holds the folder when another process does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "a+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().decode(errors="replace").strip() or "another process"
            raise UserError(
                f"{folder} is being written by {holder}.", "Wait until it ends, or choose another output_dir."
            ) from None
        started = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()} since {started}".encode())
        file.flush()
        yield
