"""Read the bytes of an input, wherever it is.

Files are read in ranges, so memory is bounded and nothing is copied first.
"""

import contextlib
import gzip
import io
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pyarrow as pa

from nemotron.data_prep.sources import hub, local, object_store
from nemotron.data_prep.sources.input_file import InputFile
from nemotron.files.regular_files import open_file

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

READ_AHEAD = 8 * 2**20
"""Bytes per request for a remote file."""
ReadRange = Callable[[str, int, int], bytes]


def read_range(file: InputFile, start: int, end: int) -> bytes:
    """Return the bytes `start:end` of a file, not decompressed.

    Raises:
        OSError: Not all of them could be read.
    """
    end = min(end, file.size)
    if start >= end:
        return b""
    content = _reader(file.path)(file.path, start, end)
    if len(content) != end - start:
        raise OSError(f"expected {end - start} bytes from byte {start} on, but got {len(content)}")
    return content


def read_head(file: InputFile, count: int) -> bytes:
    """Return the first `count` bytes of a file, decompressed; fewer if it is short."""
    if file.compression is None:
        return read_range(file, 0, count)
    with open_text(file, read_ahead=count) as text:
        return text.read(count)


def open_raw(file: InputFile, read_ahead: int = READ_AHEAD) -> io.BufferedIOBase:
    """Open a file without decompression."""
    if _is_local(file.path):
        return open_file(file.path)
    return io.BufferedReader(_RangeFile(file), read_ahead)


@contextlib.contextmanager
def open_text(file: InputFile, read_ahead: int = READ_AHEAD) -> Iterator[io.BufferedIOBase]:
    """Open a file with decompression, for the duration of the `with` block."""
    with open_raw(file, read_ahead) as raw:
        if file.compression == ".gz":
            with gzip.GzipFile(fileobj=raw) as text:
                yield text  # pyright: ignore[reportReturnType]
        elif file.compression == ".zst":
            # Arrow's reader, because zstandard's does not notice a truncated file.
            with io.BufferedReader(pa.CompressedInputStream(pa.PythonFile(raw, "r"), "zstd")) as text:
                yield text
        else:
            yield raw


def ensure_unchanged(file: InputFile) -> None:
    """Raise OSError if a file has changed since it was identified.

    Its rows must not be taken for the old ones.
    """
    if file.path.startswith(hub.SCHEME):
        return  # a commit does not change
    current = (
        object_store.version(file.path) if file.path.startswith(object_store.SCHEMES) else local.version(file.path)
    )
    if current != file.version:
        raise OSError("it has changed since this run began")


def _is_local(path: str) -> bool:
    return not path.startswith((hub.SCHEME, *object_store.SCHEMES))


def _reader(path: str) -> ReadRange:
    if path.startswith(hub.SCHEME):
        return hub.read_range
    return object_store.read_range if path.startswith(object_store.SCHEMES) else _read_local


def _read_local(path: str, start: int, end: int) -> bytes:
    with open_file(path) as file:
        file.seek(start)
        return file.read(end - start)


class _RangeFile(io.RawIOBase):
    """A remote file with Python's file interface; every read is one range request."""

    def __init__(self, file: InputFile) -> None:
        self._file, self._position = file, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._file.size}[whence]
        self._position = base + offset
        return self._position

    def readinto(self, buffer: "WriteableBuffer") -> int:
        view = memoryview(buffer).cast("B")
        content = read_range(self._file, self._position, self._position + len(view))
        view[: len(content)] = content
        self._position += len(content)
        return len(content)
