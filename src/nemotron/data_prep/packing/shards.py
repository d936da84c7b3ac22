"""Write one shard: gather the tokens of its packs from tokenized parts.

A row of the Parquet file is a pack, unpadded; `COLUMNS` describes its columns.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from nemotron.data_prep.packing.lengths import pad_length
from nemotron.data_prep.part_index import Histories
from nemotron.data_prep.tokenization.loss_mask import roll
from nemotron.data_prep.tokenization.part_files import TOKEN_BYTES, read_tokens, unmark
from nemotron.files.atomic_files import checksum, replace_when_complete, write_json
from nemotron.files.regular_files import read_bytes
from nemotron.files.typed import typed


class Column(NamedTuple):
    """A column of the shards: a list of numbers in every row."""

    kind: pa.DataType
    meaning: str


COLUMNS = {
    "input_ids": Column(pa.int32(), "The tokens."),
    "loss_mask": Column(
        pa.uint8(), "1 where the *next* token is trained: already shifted by one inside each sequence."
    ),
    "seq_start_id": Column(pa.int32(), "Where each sequence of the pack begins."),
    "conversation_targets": Column(
        pa.int32(), "Of each sequence: the supervised tokens of its whole conversation, over all sequences kept."
    ),
}
"""The first three are Megatron-Bridge's (data/packing/parquet.py); it leaves the last one alone."""
SCHEMA = pa.schema([(name, pa.list_(column.kind)) for name, column in COLUMNS.items()])
WINDOW_TOKENS = 2**25
"""Tokens gathered before each write. This limits a worker's memory to about 400 MB for any shard size."""
MOST_TOKENS_OF_A_ROW_GROUP = 2**23
"""Row groups of long packs have fewer packs than configured, because the Parquet writer holds a whole row group."""
PAGE_VALUES = 2**18
"""Values that are encoded at once: those of a page of 1 MiB, which makes the same pages as Arrow's 1,024 do."""
LEAST_TOKENS = 2**20
"""A shard has room for at least this many tokens: each costs a file, and a read of every part."""
LEAST_PACKS = 64
"""Of packs shorter than SHORT_PACK, this many are enough for a shard."""
SHORT_PACK = 4096
"""Tokens of the usual pack."""


@dataclass(frozen=True)
class Gathering:
    """Settings that all shards of a run share. They are sent to each worker once."""

    parts: tuple[Path, ...]
    pad_id: int
    pad_to_multiple: int
    row_group_size: int
    compression: str


@dataclass(frozen=True)
class ShardWork:
    """One shard: which sequences of which parts, in which packs."""

    path: Path
    receipt: Path
    part: np.ndarray = field(repr=False)
    """int32 [sequences], in pack order: index into the parts."""
    start: np.ndarray = field(repr=False)
    """int64 [sequences]: position in the part of the first token that is the sequence's own."""
    history: Histories = field(repr=False)
    """Of the sequences, numbered in pack order."""
    length: np.ndarray = field(repr=False)
    """int32 [sequences]: tokens taken, without padding."""
    conversation_targets: np.ndarray = field(repr=False)
    """int32 [sequences]: tokens that the trainer learns to predict in all sequences of the same conversation."""
    pack_bounds: np.ndarray = field(repr=False)
    """int64 [packs + 1]: pack `p` has the sequences `pack_bounds[p]:pack_bounds[p + 1]`."""

    @property
    def bytes_to_read(self) -> int:
        return TOKEN_BYTES * int(self.length.sum())


@dataclass(frozen=True)
class ShardReceipt:
    """A finished shard."""

    file: str
    """Its name in the folder of its split."""
    packs: int
    """Packs: rows of the file."""
    sequences: int
    """Sequences."""
    tokens: int
    """Tokens, with the padding of sequences."""
    bytes: int
    """Size of the file."""
    checksum: str
    """The checksum of its content."""


def count_shards(packs: int, pack_size: int, most: int) -> int:
    """Return the number of shards: at most `most`, and none small but an only one."""
    least = LEAST_PACKS if pack_size < SHORT_PACK else max(1, LEAST_TOKENS // pack_size)
    return max(1, min(most, packs // least)) if packs else 0


def choose_row_group_size(packs: int, pack_size: int) -> int:
    """Return how many packs go into a row group, at most `packs`."""
    return min(packs, max(1, MOST_TOKENS_OF_A_ROW_GROUP // pack_size))


def write_shard(gathering: Gathering, work: ShardWork) -> ShardReceipt:
    """Write one shard and its receipt.

    The bytes depend only on the arguments and the parts.
    """
    tokens = 0
    with replace_when_complete(work.path) as temporary:
        # Ids are stored as a byte stream split (all lowest bytes, then all second bytes, ...), which is a sixth smaller
        # and a third faster to write and read. Nothing repeats enough for a dictionary.
        with pq.ParquetWriter(
            temporary, SCHEMA, compression=gathering.compression, write_statistics=False, use_dictionary=False,
            write_page_checksum=True,  # readers verify every page
            write_batch_size=PAGE_VALUES,
            memory_pool=_choose_pool(),
            column_encoding={"input_ids.list.element": "BYTE_STREAM_SPLIT"},
        ) as writer:  # fmt: skip
            for first, last in _windows(work, gathering):
                table = _gather_packs(gathering, work, first, last)
                tokens += len(table.column("input_ids").chunk(0).values)
                writer.write_table(table, row_group_size=gathering.row_group_size)
        size, digest = temporary.stat().st_size, checksum(temporary)
    receipt = ShardReceipt(work.path.name, len(work.pack_bounds) - 1, len(work.length), tokens, size, digest)
    write_json(work.receipt, receipt)
    return receipt


def _choose_pool() -> pa.MemoryPool:
    """Return Arrow's allocator for the writer.

    Its usual one, mimalloc, begins with huge pages, which the kernel fills with zeros: up to 0.05 s a process.
    """
    try:
        return pa.jemalloc_memory_pool()
    except NotImplementedError:  # Arrow was built without it
        return pa.default_memory_pool()


def receipt_of(shard: Path) -> Path:
    """Return where a shard's receipt is.

    That of `splits/train/x.parquet` is `receipts/train/x.json`.
    """
    return shard.parents[2] / "receipts" / shard.parent.name / f"{shard.stem}.json"


def read_shard_receipt(path: Path, receipt: Path) -> ShardReceipt | None:
    """Read the receipt of a finished shard.

    None means that the shard is missing, unfinished or of another size.
    """
    try:
        found = typed(ShardReceipt, orjson.loads(read_bytes(receipt)))
        return found if path.stat().st_size == found.bytes else None
    except (OSError, ValueError):
        return None


def read_finished_shard(work: ShardWork) -> ShardReceipt | None:
    """Read the receipt of a shard that is written and unchanged, else return None.

    The whole shard is read.
    """
    receipt = read_shard_receipt(work.path, work.receipt)
    return receipt if receipt is not None and checksum(work.path) == receipt.checksum else None


def _windows(work: ShardWork, gathering: Gathering) -> Iterator[tuple[int, int]]:
    """Yield ranges of packs, each of whole row groups and about WINDOW_TOKENS tokens."""
    packs = len(work.pack_bounds) - 1
    padded = pad_length(work.length, gathering.pad_to_multiple)
    so_far = np.concatenate([[0], np.cumsum(padded)])[work.pack_bounds]
    first = 0
    while first < packs:
        fitting = int(np.searchsorted(so_far, so_far[first] + WINDOW_TOKENS, side="right")) - 1 - first
        groups = max(1, fitting // gathering.row_group_size)
        last = min(packs, first + groups * gathering.row_group_size)
        yield first, last
        first = last


def _gather_packs(gathering: Gathering, work: ShardWork, first: int, last: int) -> pa.Table:
    """Return the packs `first:last` as a table."""
    bounds = work.pack_bounds[first : last + 1]
    members = slice(bounds[0], bounds[-1])
    length = work.length[members]
    padded = pad_length(length, gathering.pad_to_multiple)
    offsets = np.concatenate([[0], np.cumsum(padded)])
    tokens = np.full(offsets[-1], gathering.pad_id, "<i4")
    _copy(gathering.parts, _stretches(work, members, length, offsets[:-1]), tokens)
    ids, mask = unmark(tokens)

    pack_sequences = bounds - bounds[0]
    pack_offsets = offsets[pack_sequences]
    starts_in_pack = offsets[:-1] - np.repeat(pack_offsets[:-1], np.diff(bounds))
    columns = [
        _lists(pack_offsets, ids),
        _lists(pack_offsets, roll(mask, offsets[:-1])),
        _lists(pack_sequences, starts_in_pack.astype(np.int32)),
        _lists(pack_sequences, work.conversation_targets[members].astype(np.int32)),
    ]
    return pa.Table.from_arrays(columns, schema=SCHEMA)


class _Stretches(NamedTuple):
    """Tokens to copy: int64 arrays [stretches]."""

    part: np.ndarray
    start: np.ndarray
    length: np.ndarray
    to: np.ndarray


def _stretches(work: ShardWork, members: slice, length: np.ndarray, to: np.ndarray) -> _Stretches:
    """List where the tokens of sequences are.

    Of each what is its own, of some a shared history before that.
    """
    part, history = work.part[members], work.history.among(members)
    of = history.sequence
    shared = np.zeros_like(length)
    shared[of] = np.minimum(history.length, length[of])
    own = _Stretches(part, work.start[members], length - shared, to + shared)
    first = _Stretches(part[of], history.start, shared[of], to[of])
    both = (
        np.concatenate([mine[own.length > 0], ours[first.length > 0]]) for mine, ours in zip(own, first, strict=True)
    )
    return _Stretches(*both)


def _copy(parts: tuple[Path, ...], stretches: _Stretches, tokens: np.ndarray) -> None:
    """Copy stretches to their places in `tokens`, opening every part once."""
    order = np.argsort(stretches.part, kind="stable")
    numbers, firsts = np.unique(stretches.part[order], return_index=True)
    for number, chosen in zip(numbers, np.split(order, firsts[1:]), strict=True):
        of_part = (array[chosen].tolist() for array in stretches[1:])
        read_tokens(parts[number], zip(*of_part, strict=True), tokens)


def _lists(offsets: np.ndarray, values: np.ndarray) -> pa.ListArray:
    return pa.ListArray.from_arrays(_arrow(offsets.astype(np.int32)), _arrow(values))


def _arrow(values: np.ndarray) -> pa.Array:
    """Return the same memory as an Arrow array.

    `pa.array` would import pandas, where it is installed: 0.3 s a process.
    """
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), [None, pa.py_buffer(values)])
