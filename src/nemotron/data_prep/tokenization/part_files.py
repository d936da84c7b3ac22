"""Write and read tokenized parts, from which packs are gathered.

A part `P` is up to five files; the receipt comes last, so a part with a receipt is complete:

    P.tokens         int32, little endian: for each conversation the history that its sequences share, then the rest of
                     each sequence, without gaps, uncut. The sign bit is the loss mask, not yet rolled: see `marked`
    P.index          the arrays of PartIndex, one after another
    P.roles          the arrays of Stretches, one after another: who says each token
    P.dropped.jsonl  one line per dropped row, if there is one: line (from 0, in the part), reason, detail
    P.json           PartReceipt: counts, sizes and checksums

Nothing here depends on pack size, blend weights or split ratios: those can change without tokenizing again.

Files are not synced to the disk: a run that finds parts of an earlier one compares their checksums first.
"""

import hashlib
import mmap
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import orjson

from nemotron.data_prep.notes import NoteCount, NoteCounter
from nemotron.data_prep.part_index import EMPTY_INDEX, PartIndex, bytes_of, compact, unpack
from nemotron.data_prep.sources import Row
from nemotron.data_prep.token_roles.stretches import NONE, Stretches, concatenate
from nemotron.data_prep.tokenization.outcomes import Dropped, DroppedExample, DroppedWriter, Noticed
from nemotron.errors import UserError
from nemotron.files.atomic_files import checksum, replace_when_complete, write_json
from nemotron.files.regular_files import open_file, read_bytes
from nemotron.files.typed import typed

TOKENS, INDEX, ROLES = ".tokens", ".index", ".roles"
DROPPED, RECEIPT = ".dropped.jsonl", ".json"
TOKEN_BYTES = 4
_ID = np.int32(2**31 - 1)
"""The bits of the id in a marked token."""


@dataclass(frozen=True)
class PartReceipt:
    """What happened to the rows of a part, and the checksums of its files."""

    lines: int
    rows: int
    kept: int
    sequences: int
    turns: int
    tokens: int
    """The tokens of all sequences, uncut."""
    dropped: dict[str, int]
    examples: list[DroppedExample]
    """The first dropped rows for each reason."""
    notes: list[NoteCount]
    """Notes by kind and name."""
    files: dict[str, dict[str, Any]]
    """By suffix: `bytes` and `checksum`."""
    sample: int | None
    """The most conversations that the part was made from, those that rank first; None means all."""
    starts: list[int] = field(default_factory=lambda: [0])
    """For each of its files, the number of the first line."""

    @property
    def bytes(self) -> int:
        """The bytes of all its files."""
        return sum(made["bytes"] for made in self.files.values())


class _HashedFile:
    """A file that is written from its beginning to its end, and its checksum."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._hash, self._bytes = file, hashlib.sha256(), 0

    def write(self, content: bytes | memoryview) -> None:
        self._file.write(content)
        self._hash.update(content)
        self._bytes += len(content)

    def described(self) -> dict[str, Any]:
        """Return the entry of the file in a receipt."""
        return {"bytes": self._bytes, "checksum": self._hash.hexdigest()}


class PartWriter:
    """Counts and writes what happens to the rows of a part; used by `write_part`."""

    def __init__(self, open_file: Callable[[str], _HashedFile]) -> None:
        self._tokens = open_file(TOKENS)
        self._indices: list[PartIndex] = []
        self._stretches: list[Stretches] = []
        self._row: Row | None = None
        self.dropped = DroppedWriter(partial(open_file, DROPPED))
        self.notes = NoteCounter()
        self.lines = 0
        self.rows = 0
        self.starts: list[int] = []

    def rows_of(self, files: Iterable[Iterable[Row]]) -> Iterator[Row]:
        """Count the lines of files, and yield those that are rows.

        They are numbered through all files.
        """
        for lines in files:
            first = self.lines
            self.starts.append(first)
            for row in lines:
                self.lines += 1
                if not row.is_blank:
                    self.rows += 1
                    self._row = row._replace(line=first + row.line) if first else row
                    yield self._row

    def kept[T](self, step: Iterable[T | Dropped | Noticed]) -> Iterator[T]:
        """Yield what a step kept; count and write what it dropped and noticed."""
        for result in step:
            if isinstance(result, Dropped):
                self.dropped.add(result, self._row)
            elif isinstance(result, Noticed):
                self.notes.add(result.line, result.note)
            else:
                yield result

    def append(self, ids: np.ndarray, mask: np.ndarray, index: PartIndex, stretches: Stretches = NONE) -> None:
        """Add a batch of conversations."""
        self._stretches.append(stretches)
        self._tokens.write(bytes_of(marked(ids, mask)))
        self._indices.append(compact(index))

    def index(self) -> PartIndex:
        """Return the index of everything appended so far."""
        return PartIndex(*map(np.concatenate, zip(EMPTY_INDEX, *self._indices, strict=True)))

    def stretches(self) -> Stretches:
        """Return the stretches of everything appended so far."""
        return concatenate(self._stretches)


def write_part(part: Path, fill: Callable[[PartWriter], None], sample: int | None = None) -> PartReceipt:
    """Write the part at the path `part` (without suffix).

    `fill` appends to a PartWriter.

    Returns:
        Its receipt.
    """
    made: dict[str, _HashedFile] = {}
    with ExitStack() as replaced, ExitStack() as opened:

        def open_file(suffix: str) -> _HashedFile:
            temporary = replaced.enter_context(replace_when_complete(file_of(part, suffix), synced=False))
            made[suffix] = _HashedFile(opened.enter_context(open(temporary, "wb")))
            return made[suffix]

        writer = PartWriter(open_file)
        fill(writer)
        index = writer.index()
        for suffix, arrays in ((INDEX, index), (ROLES, writer.stretches())):
            file = open_file(suffix)
            for array in arrays:
                file.write(bytes_of(array))
    receipt = PartReceipt(
        writer.lines, writer.rows, len(index.lines), len(index.lengths), len(index.turn_ends),
        int(index.lengths.sum(dtype=np.int64)), dict(sorted(writer.dropped.reasons.items())), writer.dropped.examples,
        writer.notes.counts(),
        {suffix: file.described() for suffix, file in made.items()}, sample, writer.starts,
    )  # fmt: skip
    write_json(file_of(part, RECEIPT), receipt, synced=False)
    return receipt


def read_receipt(part: Path) -> PartReceipt | None:
    """Read the receipt of a complete part.

    None means that the part is missing, unfinished or damaged.
    """
    try:
        receipt = typed(PartReceipt, orjson.loads(read_bytes(file_of(part, RECEIPT))))
        intact = all(file_of(part, suffix).stat().st_size == made["bytes"] for suffix, made in receipt.files.items())
    except (OSError, ValueError):
        return None
    return receipt if intact else None


def is_intact(_: None, part: Path) -> bool:
    """Tell whether the files of a part still have their checksums; reads all of them."""
    receipt = read_receipt(part)
    return receipt is not None and all(
        checksum(file_of(part, suffix)) == made["checksum"] for suffix, made in receipt.files.items()
    )


def read_index(part: Path, receipt: PartReceipt) -> PartIndex:
    """Return the index of a complete part."""
    return unpack(read_bytes(file_of(part, INDEX)), receipt.kept, receipt.sequences, receipt.turns)


def read_stretches(part: Path) -> Stretches:
    """Return the stretches of a complete part."""
    content, arrays, begin = read_bytes(file_of(part, ROLES)), [], 0
    count = len(content) // sum(array.itemsize for array in NONE)
    for empty in NONE:
        arrays.append(np.frombuffer(content, empty.dtype.newbyteorder("<"), count, begin))
        begin += arrays[-1].nbytes
    return Stretches(*arrays)


def marked(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return token ids with their loss mask in the sign bit, int32 little endian.

    So both are read at once.
    """
    tokens = mask.astype("<i4")
    tokens <<= 31
    tokens |= ids.astype("<i4", copy=False)
    return tokens


def unmark(tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the ids, int32, and the loss mask, uint8, of marked tokens."""
    return tokens & _ID, (tokens < 0).view(np.uint8)


def map_tokens(part: Path) -> np.ndarray:
    """Map the marked tokens of a complete part into memory, without reading them."""
    # Not np.memmap: it resolves the path link by link, which took longer than the reading, and its slices are slow.
    with open_file(file_of(part, TOKENS)) as file:
        if os.fstat(file.fileno()).st_size == 0:  # an empty file cannot be mapped
            return np.zeros(0, "<i4")
        return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), "<i4")


def read_tokens(part: Path, stretches: Iterable[tuple[int, int, int]], tokens: np.ndarray) -> None:
    """Read stretches of the marked tokens of a complete part into an array.

    Unlike mapped files, which cost a page fault every few kilobytes and count as memory of the process, this costs a
    system call per stretch.

    Args:
        part: The part.
        stretches: (first token in the part, number of tokens, place of the first in `tokens`) of each.
        tokens: int32, little endian.

    Raises:
        UserError: The file has fewer tokens than when it was checked.
    """
    to_bytes = memoryview(tokens).cast("B")
    with open_file(file_of(part, TOKENS)) as file:
        number = file.fileno()
        for begin, count, to in stretches:
            room = to_bytes[TOKEN_BYTES * to : TOKEN_BYTES * (to + count)]
            if os.preadv(number, [room], TOKEN_BYTES * begin) != TOKEN_BYTES * count:
                raise UserError(f"{file_of(part, TOKENS)} was changed while it was being used.", "Run again.")


def read_dropped(part: Path, receipt: PartReceipt) -> list[dict[str, int | str]]:
    """Return the dropped rows of a complete part."""
    if DROPPED not in receipt.files:
        return []
    return [orjson.loads(line) for line in read_bytes(file_of(part, DROPPED)).splitlines()]


def file_of(part: Path, suffix: str) -> Path:
    return part.with_name(part.name + suffix)
