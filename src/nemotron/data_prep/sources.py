"""Input files: finding them, cutting them into parts that workers read on their own, reading rows.

JSONL (`.jsonl`, `.ndjson`, `.json`), also compressed (`.gz`, `.zst`), JSON arrays (`.json`) and Parquet.
"""

import glob
import gzip
import hashlib
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from nemotron.data_prep.blend import Dataset
from nemotron.errors import UserError, did_you_mean

Format = Literal["jsonl", "json_array", "parquet"]
SUFFIXES: dict[str, Format] = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".parquet": "parquet", ".pq": "parquet",
}  # fmt: skip
COMPRESSIONS = (".gz", ".zst")
PART_BYTES = 16 * 2**20
"""One part of a JSONL file. Fixed: the parts must not depend on who reads them."""
WHOLE_DIGEST_BYTES = 256 * 2**20
"""Files up to this size are identified by all their bytes."""


@dataclass(frozen=True)
class InputFile:
    """A file of a dataset and what identifies its content."""

    path: str
    size: int
    digest: str
    format: Format
    compression: str | None


@dataclass(frozen=True)
class Part:
    """A piece of a file that one worker reads.

    The half-open range is bytes for plain JSONL (a line belongs to the part in which it starts), row groups for
    Parquet, and None where the file can only be read as a whole.
    """

    file: InputFile
    index: int
    span: tuple[int, int] | None

    @property
    def bytes(self) -> int:
        """Roughly how much there is to read."""
        if self.span and self.file.format == "jsonl":
            return self.span[1] - self.span[0]
        return self.file.size


class Row(NamedTuple):
    """One line of a part: its number in the part, from 0, and its JSON value.

    A line that is not valid JSON has `error` set. A blank line is no row, but counts in the numbering.
    """

    line: int
    value: Any
    error: str | None = None
    is_blank: bool = False


def find_files(dataset: Dataset) -> list[InputFile]:
    """The files of a dataset, sorted by path. Raises UserError when there are none, or one cannot be read."""
    if "://" in dataset.path:
        raise UserError(
            f'Dataset "{dataset.name}": {dataset.path} is not a local path.', "Download it, and give the local path."
        )
    paths = _paths(dataset)
    try:
        return [_identify(path) for path in sorted(paths)]
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f'Dataset "{dataset.name}": cannot read {dataset.path}: {error}.') from None


def _paths(dataset: Dataset) -> list[Path]:
    path = Path(dataset.path)
    if path.is_file():
        if _format(path) is None:
            raise UserError(
                f'Dataset "{dataset.name}": {path} is of no known kind.', f"Known suffixes: {', '.join(SUFFIXES)}."
            )
        return [path]
    if path.is_dir():
        found = path.rglob("*") if dataset.recursive else path.glob("*")
    else:
        found = (Path(name) for name in glob.glob(dataset.path, recursive=True))
    files = [file for file in found if _format(file) is not None and file.is_file()]
    if files:
        return files
    if path.is_dir():
        hint = f"It should hold files named {', '.join('*' + suffix for suffix in SUFFIXES)}, or .gz or .zst of them."
        raise UserError(f'Dataset "{dataset.name}": no data files in the folder {path}.', hint)
    siblings = [str(other) for other in path.parent.glob("*")]
    raise UserError(
        f'Dataset "{dataset.name}": {path} does not exist.',
        did_you_mean(str(path), siblings) or "Paths in a blend file are relative to the blend file.",
    )


def _format(path: Path) -> Format | None:
    compression = _compression(path)
    format = SUFFIXES.get(Path(path.name.removesuffix(compression or "")).suffix)
    return None if format == "parquet" and compression else format


def _compression(path: Path) -> str | None:
    return path.suffix if path.suffix in COMPRESSIONS else None


def _identify(path: Path) -> InputFile:
    format, compression = _format(path), _compression(path)
    assert format is not None
    if format == "jsonl" and path.name.removesuffix(compression or "").endswith(".json"):
        with _open(str(path), compression) as file:
            if file.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"["):
                format = "json_array"
    return InputFile(str(path), path.stat().st_size, _digest(path), format, compression)


def _digest(path: Path) -> str:
    """blake2b-128 over the content; over size, time and 16 samples of 1 MiB when the file is large."""
    digest = hashlib.blake2b(digest_size=16)
    status = path.stat()
    with open(path, "rb") as file:
        if status.st_size <= WHOLE_DIGEST_BYTES:
            while block := file.read(2**22):
                digest.update(block)
        else:
            digest.update(f"{status.st_size} {status.st_mtime_ns}".encode())
            for i in range(16):
                file.seek((status.st_size - 2**20) * i // 15)
                digest.update(file.read(2**20))
    return digest.hexdigest()


def cut(file: InputFile) -> list[Part]:
    """The parts of a file, in order; at least one."""
    if file.format == "parquet":
        try:
            groups = pq.read_metadata(file.path).num_row_groups
        except (OSError, pa.ArrowException) as error:
            raise _unreadable(file, error) from None
        return [Part(file, i, (i, i + 1)) for i in range(groups)] or [Part(file, 0, (0, 0))]
    if file.format == "jsonl" and file.compression is None:
        starts = range(0, max(file.size, 1), PART_BYTES)
        return [Part(file, i, (start, min(start + PART_BYTES, file.size))) for i, start in enumerate(starts)]
    return [Part(file, 0, None)]


def read_rows(part: Part) -> Iterator[Row]:
    """The lines of a part, in order.

    Raises UserError when the file cannot be read or decompressed to its end: rows that are there but unreadable must
    not pass for rows that do not exist.
    """
    try:
        if part.file.format == "parquet":
            yield from _parquet_rows(part)
        elif part.file.format == "json_array":
            yield from _array_rows(part)
        else:
            for number, line in enumerate(_lines(part)):
                yield _parse(number, line)
    except (OSError, EOFError, zlib.error, pa.ArrowException) as error:
        raise _unreadable(part.file, error) from None


def _unreadable(file: InputFile, error: Exception) -> UserError:
    reason = str(error).strip().rstrip(".")
    return UserError(
        f"Cannot read {file.path}: {reason}.", "Mend or replace the file and run again: finished work is kept."
    )


def _parse(number: int, line: bytes) -> Row:
    if not line or line.isspace():
        return Row(number, None, is_blank=True)
    try:
        return Row(number, orjson.loads(line))
    except orjson.JSONDecodeError as error:
        return Row(number, None, str(error))


def _lines(part: Part) -> Iterator[bytes]:
    """The lines that start inside the part."""
    if part.span is None:
        with _open(part.file.path, part.file.compression) as file:
            for number, line in enumerate(file):
                yield line if number else line.removeprefix(b"\xef\xbb\xbf")
        return
    start, end = part.span
    with open(part.file.path, "rb") as file:
        if start:
            file.seek(start - 1)
            file.readline()  # the rest of a line that belongs to the part before
        block = file.read(max(0, end - file.tell()))
        block += file.readline() if block and not block.endswith(b"\n") else b""
    if start == 0:
        block = block.removeprefix(b"\xef\xbb\xbf")
    lines = block.split(b"\n")
    yield from lines[:-1] if not lines[-1] else lines


def _array_rows(part: Part) -> Iterator[Row]:
    with _open(part.file.path, part.file.compression) as file:
        content = file.read().removeprefix(b"\xef\xbb\xbf")
    try:
        values = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise UserError(
            f"{part.file.path}:{error.lineno} is not valid JSON: {error.msg}.",
            "A JSON array is read as a whole; as JSONL, one object per line, a broken row would cost only itself.",
        ) from None
    for number, value in enumerate(values):
        yield Row(number, value)


def _parquet_rows(part: Part) -> Iterator[Row]:
    assert part.span is not None
    number = 0
    with pq.ParquetFile(part.file.path) as file:
        for batch in file.iter_batches(batch_size=512, row_groups=list(range(*part.span))):
            for value in batch.to_pylist():
                yield Row(number, _without_fill(value))
                number += 1


def _without_fill(value: Any) -> Any:
    """Drop the None values of objects.

    Parquet gives all objects of a column the same keys and fills those a row never had with None: a tool schema would
    list the parameters of every other tool. `content` stays: for a message it is the one key that null leaves valid.
    """
    if isinstance(value, dict):
        return {key: _without_fill(inner) for key, inner in value.items() if inner is not None or key == "content"}
    if isinstance(value, list):
        return [_without_fill(inner) for inner in value]
    return value


def _open(path: str, compression: str | None) -> io.BufferedIOBase:
    if compression == ".gz":
        return gzip.open(path)  # pyright: ignore[reportReturnType]
    if compression == ".zst":
        # Arrow's reader rather than zstandard's, which takes a truncated file for one that ends there.
        return io.BufferedReader(pa.CompressedInputStream(pa.OSFile(path, "rb"), "zstd"))
    return open(path, "rb")
