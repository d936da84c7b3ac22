"""Open files, and refuse what is none.

Opening a FIFO waits for another process, and a device may have no end: whatever is in place of a file is refused at
once.
"""

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, overload

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile


LARGEST = 4 * 2**30
"""The most bytes that are read at once. A damaged file can seem to have any number, all of them zeros."""


@overload
def open_file(path: Path | str, mode: Literal["rb"] = ...) -> BufferedReader: ...
@overload
def open_file(path: Path | str, mode: str, **options: Any) -> IO[Any]: ...
def open_file(path: Path | str, mode: str = "rb", **options: Any) -> IO[Any]:
    """Open a file as `open` does.

    Raises:
        OSError: It cannot be opened, or is a folder, a FIFO, a socket or a device; it names the path.
    """
    return open(path, mode, opener=_open, **options)


def _open(path: str, flags: int) -> int:
    descriptor = os.open(path, flags | os.O_NONBLOCK, 0o666)  # which files ignore
    try:
        _refuse_other(path, os.fstat(descriptor).st_mode)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def refuse_other(path: Path | str) -> None:
    """Refuse what `open_file` refuses, before a library opens it; errors as there."""
    _refuse_other(str(path), os.stat(path).st_mode)


def _refuse_other(path: str, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "Not a regular file", path)


def read_bytes(path: Path | str) -> bytes:
    """Return the bytes of a file.

    Raises:
        OSError: As of `open_file`, or it has more than LARGEST bytes.
    """
    with open_file(path) as file:
        refuse_large(path, file)
        return file.read()


def read_text(path: Path | str, *, encoding: str = "utf-8", errors: str = "strict") -> str:
    """Return the text of a file, with any line ends as newlines.

    Raises:
        OSError: As of `read_bytes`.
        UnicodeDecodeError: It is not text of the encoding.
    """
    with open_file(path, "r", encoding=encoding, errors=errors) as file:
        refuse_large(path, file)
        return file.read()


def refuse_large(path: Path | str, file: IO[Any]) -> None:
    """Refuse a file with more than LARGEST bytes, with an OSError."""
    if os.fstat(file.fileno()).st_size > LARGEST:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))


def open_parquet(path: Path | str) -> "ParquetFile":
    """Open a Parquet file, to read pages with their checksums verified.

    Raises:
        OSError: As of `open_file`, or it is damaged.
        pyarrow.ArrowException: It is damaged.
    """
    import pyarrow.parquet as pq

    refuse_other(path)
    return pq.ParquetFile(path, page_checksum_verification=True)
