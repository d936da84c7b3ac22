"""Define the input of data prep: files, their parts, and rows."""

import json
import posixpath
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal, NamedTuple

from nemotron.errors import UserError

FileFormat = Literal["jsonl", "json_array", "json_stream", "parquet", "arrow", "arrow_stream", "csv", "tsv"]
"""A row per line, one array, objects that may span lines; row groups, record batches with an index or none; cells."""
COLUMNAR: tuple[FileFormat, ...] = ("parquet", "arrow", "arrow_stream")
"""Formats with their own compression."""
SEPARATED: tuple[FileFormat, ...] = ("csv", "tsv")
SUFFIXES: dict[str, FileFormat] = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".parquet": "parquet", ".pq": "parquet",
    ".arrow": "arrow", ".feather": "arrow", ".csv": "csv", ".tsv": "tsv",
}  # fmt: skip
COMPRESSIONS = (".gz", ".zst")


@dataclass(frozen=True)
class InputFile:
    """A file of a dataset and what identifies its content."""

    path: str
    """A local path or a URL; on the Hugging Face hub with the commit: hf://datasets/org/name@sha/file."""
    size: int
    digest: str
    """Digest of the content, under which tokens are stored."""
    version: str
    """Shows whether the file is still the same; it is compared after every part that is read."""
    format: FileFormat
    compression: str | None


@dataclass(frozen=True)
class Part:
    """A piece of a file that one worker reads.

    The half-open range is bytes for plain JSONL (a line belongs to the part in which it starts), row groups for
    Parquet, record batches for Arrow files, and None where the file can only be read as a whole.
    """

    file: InputFile
    index: int
    span: tuple[int, int] | None
    bytes: int
    """Estimate of the bytes to read. Those of all parts of a file add up to its size."""


class Found(NamedTuple):
    """A file and its identity, with the fields of InputFile."""

    path: str
    size: int
    digest: str
    version: str


class Row(NamedTuple):
    """One line of a part: its number in the part, from 0, and its JSON value.

    A line that is not valid JSON has `error` set. A blank line is no row, but counts in the numbering.
    """

    line: int
    value: Any
    error: str | None = None
    is_blank: bool = False
    text: bytes | None = None
    """The raw line, if rows are lines."""

    def exact(self) -> Any:
        """Return the value with exact integers; `value` rounds those beyond 64 bits."""
        return self.value if self.text is None else json.loads(self.text)


def format_of(path: str) -> FileFormat | None:
    """Return the format that a file's name implies, or None; the content may differ."""
    path = path.lower()
    compression = compression_of(path)
    format = SUFFIXES.get(posixpath.splitext(path.removesuffix(compression or ""))[1])
    return None if format in COLUMNAR and compression else format


def stem_of(path: str) -> str:
    """Return the name of a data file without format suffixes.

    For example, `part.00` for `data/part.00.jsonl.zst`.
    """
    name = PurePosixPath(path).name
    return PurePosixPath(name[: len(name) - len(compression_of(path) or "")]).stem


def compression_of(path: str) -> str | None:
    """Return the suffix of a compressed file."""
    suffix = posixpath.splitext(path)[1].lower()
    return suffix if suffix in COMPRESSIONS else None


def may_be_array(path: str) -> bool:
    """Tell whether only the content shows if a file is JSONL or an array."""
    return path.lower().removesuffix(compression_of(path) or "").endswith(".json")


def list_suffixes() -> str:
    """List the supported suffixes, for a hint."""
    packed = [suffix for suffix, format in SUFFIXES.items() if format not in COLUMNAR]
    return f"named {', '.join('*' + suffix for suffix in SUFFIXES)}; {', '.join(packed)} also as .gz or .zst"


BOOKKEEPING = ("state.json", "dataset_info.json", "dataset_dict.json")


def leave_out_bookkeeping(paths: Iterable[str]) -> list[str]:
    """Remove the records and caches that `datasets` keeps next to its Arrow files."""
    found = list(paths)
    saved = {str(PurePosixPath(path).parent) for path in found if path.lower().endswith(".arrow")}
    if not saved:
        return found
    states = {str(PurePosixPath(path).parent) for path in found if PurePosixPath(path).name == BOOKKEEPING[0]}
    folders = saved & states
    folders |= {str(PurePosixPath(folder).parent) for folder in folders}  # of several splits: dataset_dict.json
    return [path for path in found if not (_is_bookkeeping(path) and str(PurePosixPath(path).parent) in folders)]


def _is_bookkeeping(path: str) -> bool:
    name = PurePosixPath(path).name
    return name in BOOKKEEPING or (name.startswith("cache-") and name.endswith(".arrow"))


def no_data_files(dataset: str, folder: str, *, recursive: bool) -> UserError:
    """Make the error for a folder without readable data files."""
    hint = f"It should hold files {list_suffixes()}."
    if not recursive:
        hint += ' Files in subfolders are read with "recursive": true.'
    return UserError(f'Dataset "{dataset}": no data files in the folder {folder}.', hint)
