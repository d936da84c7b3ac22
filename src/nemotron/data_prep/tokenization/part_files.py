"""Tokenized parts on disk.

The first phase writes them, and the second gathers packs from them.

A part `P` is six files; the receipt comes last, so a part with a receipt is complete:

    P.tokens         int32, little endian: all sequences back to back, uncut
    P.mask           uint8, the same shape: the loss mask, not yet rolled
    P.index.npz      the arrays of PartIndex
    P.roles.npz      the arrays of Stretches: whose tokens they are
    P.dropped.jsonl  one line per dropped row: line (from 0, in the part), reason, detail
    P.json           PartReceipt: counts, sizes and checksums

Nothing here depends on pack size, blend weights or split ratios: those can change without tokenizing again.
"""

import mmap
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import orjson

from nemotron.atomic_files import checksum, replaced_when_complete, write_json
from nemotron.data_prep.notes import NoteCount, NoteCounter
from nemotron.data_prep.sources import Row
from nemotron.data_prep.token_roles.stretches import NONE, Stretches, concatenate
from nemotron.data_prep.tokenization.outcomes import Dropped, DroppedExample, DroppedWriter, Noticed
from nemotron.errors import UserError

TOKENS, MASK, INDEX, ROLES = ".tokens", ".mask", ".index.npz", ".roles.npz"
DROPPED, RECEIPT = ".dropped.jsonl", ".json"
TOKEN_BYTES = 4


class PartIndex(NamedTuple):
    """What a part holds, as flat arrays.

    Over its conversations, their sequences, and the trained turns of those.

    All are int32 on disk, but for the hashes.
    """

    lines: np.ndarray
    """[conversations]: line in the part, from 0."""
    hashes: np.ndarray
    """uint64 [conversations, 2]: the content hash."""
    modes: np.ndarray
    """[conversations]: the code of the reasoning mode, its place in MODES."""
    sequence_counts: np.ndarray
    """[conversations], each at least 1."""
    masked_counts: np.ndarray
    """[conversations]: further sequences left out because nothing in them would train."""
    lengths: np.ndarray
    """[sequences], in tokens."""
    targets: np.ndarray
    """[sequences]: tokens the trainer learns to predict, at least 1."""
    turn_counts: np.ndarray
    """[sequences]: trained assistant turns."""
    turn_ends: np.ndarray
    """[turns]: where the turn ends, in tokens from the start of its sequence."""
    turn_targets: np.ndarray
    """[turns]: targets of the sequence up to there."""


@dataclass(frozen=True)
class PartReceipt:
    """What became of the rows of a part, and the files that prove it."""

    lines: int
    rows: int
    kept: int
    sequences: int
    turns: int
    dropped: dict[str, int]
    examples: list[DroppedExample]
    """The first dropped rows for each reason."""
    notes: list[NoteCount]
    """What was noticed, by kind and name."""
    files: dict[str, dict[str, Any]]
    """By suffix: `bytes` and `checksum`."""
    sample: int | None
    """Of how many conversations at most the part was made, those that rank first; None: of all."""

    @property
    def bytes(self) -> int:
        """Of all its files."""
        return sum(made["bytes"] for made in self.files.values())

    @property
    def tokens(self) -> int:
        """Of all sequences, uncut."""
        return self.files[TOKENS]["bytes"] // TOKEN_BYTES


class PartWriter:
    """Counts and writes what becomes of the rows of one part.

    Used through `write_part`.
    """

    def __init__(self, tokens: BinaryIO, mask: BinaryIO, dropped: BinaryIO) -> None:
        self._tokens, self._mask = tokens, mask
        self._indices: list[PartIndex] = []
        self._stretches: list[Stretches] = []
        self._row: Row | None = None
        self.dropped = DroppedWriter(dropped)
        self.notes = NoteCounter()
        self.lines = 0
        self.rows = 0

    def rows_of(self, lines: Iterable[Row]) -> Iterator[Row]:
        """Count the lines of the part, and hand on those that are rows."""
        for row in lines:
            self.lines += 1
            if not row.is_blank:
                self.rows, self._row = self.rows + 1, row
                yield row

    def kept[T](self, step: Iterable[T | Dropped | Noticed]) -> Iterator[T]:
        """Hand on what a step kept; count, and write, what it dropped and noticed."""
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
        self._tokens.write(np.ascontiguousarray(ids, dtype="<i4").data)
        self._mask.write(np.ascontiguousarray(mask, dtype=np.uint8).data)
        self._indices.append(PartIndex(*(_compact(array) for array in index)))

    def index(self) -> PartIndex:
        """Everything appended so far."""
        if not self._indices:
            return EMPTY_INDEX
        return PartIndex(*(np.concatenate(arrays) for arrays in zip(*self._indices, strict=True)))

    def stretches(self) -> Stretches:
        """Those of all that was appended so far."""
        return concatenate(self._stretches)


EMPTY_INDEX = PartIndex(
    *(np.zeros((0, 2), np.uint64) if name == "hashes" else np.zeros(0, np.int32) for name in PartIndex._fields)
)


def _compact(array: np.ndarray) -> np.ndarray:
    return array if array.dtype == np.uint64 else array.astype(np.int32)


def write_part(part: Path, fill: Callable[[PartWriter], None], sample: int | None = None) -> PartReceipt:
    """Write the part at the path `part` (without suffix).

    `fill` appends to a PartWriter.

    Returns:
        Its receipt.
    """
    with ExitStack() as files:
        paths = {
            suffix: files.enter_context(replaced_when_complete(file_of(part, suffix)))
            for suffix in (TOKENS, MASK, INDEX, ROLES, DROPPED)
        }
        with (
            open(paths[TOKENS], "wb") as tokens,
            open(paths[MASK], "wb") as mask,
            open(paths[DROPPED], "wb") as dropped,
        ):
            writer = PartWriter(tokens, mask, dropped)
            fill(writer)
        index = writer.index()
        for suffix, arrays in ((INDEX, index), (ROLES, writer.stretches())):
            with open(paths[suffix], "wb") as file:
                np.savez(file, **arrays._asdict())
        made = {suffix: {"bytes": path.stat().st_size, "checksum": checksum(path)} for suffix, path in paths.items()}
    dropped, notes = writer.dropped, writer.notes.counts()
    counts = len(index.lines), len(index.lengths), len(index.turn_ends)
    receipt = PartReceipt(
        writer.lines, writer.rows, *counts, dict(sorted(dropped.reasons.items())), dropped.examples, notes, made, sample
    )
    write_json(file_of(part, RECEIPT), receipt)
    return receipt


def read_receipt(part: Path) -> PartReceipt | None:
    """Read the receipt of a complete part.

    None when the part is absent, unfinished or damaged.
    """
    try:
        content = orjson.loads(file_of(part, RECEIPT).read_bytes())
        content["notes"] = [NoteCount(**count) for count in content["notes"]]
        content["examples"] = [DroppedExample(**example) for example in content["examples"]]
        receipt = PartReceipt(**content)
        intact = all(file_of(part, suffix).stat().st_size == made["bytes"] for suffix, made in receipt.files.items())
    except (OSError, orjson.JSONDecodeError, TypeError, KeyError):
        return None
    return receipt if intact else None


def is_intact(_: None, part: Path) -> bool:
    """Whether the files of a complete part are what was written, by their checksums.

    Reads all of them.
    """
    receipt = read_receipt(part)
    return receipt is not None and all(
        checksum(file_of(part, suffix)) == made["checksum"] for suffix, made in receipt.files.items()
    )


def read_index(part: Path) -> PartIndex:
    """Return the index of a complete part."""
    with np.load(file_of(part, INDEX)) as arrays:
        return PartIndex(**{name: arrays[name] for name in PartIndex._fields})


def read_stretches(part: Path) -> Stretches:
    """Return the stretches of a complete part."""
    with np.load(file_of(part, ROLES)) as arrays:
        return Stretches(**{name: arrays[name] for name in Stretches._fields})


def map_tokens(part: Path) -> tuple[np.ndarray, np.ndarray]:
    """Map the tokens of a complete part rather than read them.

    Returns:
        ids int32 [tokens], mask uint8 [tokens].
    """
    return _map(file_of(part, TOKENS), "<i4"), _map(file_of(part, MASK), "u1")


def read_tokens(part: Path, stretches: Iterable[tuple[int, int, int]], ids: np.ndarray, mask: np.ndarray) -> None:
    """Read stretches of the tokens of a complete part to where they are wanted.

    Unlike mapped files, which cost a page fault every few kilobytes and count as memory of the process, this costs two
    system calls a stretch.

    Args:
        part: The part.
        stretches: Of each the first token in the part, how many, and where the first goes in `ids` and `mask`.
        ids: int32, little endian.
        mask: uint8, of the same length.

    Raises:
        UserError: The files have fewer tokens than when they were checked.
    """
    id_bytes, mask_bytes = memoryview(ids).cast("B"), memoryview(mask)
    with open(file_of(part, TOKENS), "rb") as id_file, open(file_of(part, MASK), "rb") as mask_file:
        id_number, mask_number = id_file.fileno(), mask_file.fileno()
        for begin, count, to in stretches:
            read = os.preadv(id_number, [id_bytes[TOKEN_BYTES * to : TOKEN_BYTES * (to + count)]], TOKEN_BYTES * begin)
            read += os.preadv(mask_number, [mask_bytes[to : to + count]], begin)
            if read != (TOKEN_BYTES + 1) * count:
                raise UserError(f"{file_of(part, TOKENS)} was changed while it was being used.", "Run again.")


def read_dropped(part: Path) -> list[dict[str, int | str]]:
    """Return the dropped rows of a complete part."""
    return [orjson.loads(line) for line in file_of(part, DROPPED).read_bytes().splitlines()]


def _map(path: Path, dtype: str) -> np.ndarray:
    # Not np.memmap: it resolves the path link by link, which took longer than the reading, and its slices are slow.
    with open(path, "rb") as file:
        if os.fstat(file.fileno()).st_size == 0:  # an empty file cannot be mapped
            return np.zeros(0, dtype)
        return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), dtype)


def file_of(part: Path, suffix: str) -> Path:
    return part.with_name(part.name + suffix)
