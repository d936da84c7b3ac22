"""Check packed Parquet row by row, for what Megatron-Bridge assumes.

Megatron-Bridge (data/packing/gpt_sft.py) splits a pack at `seq_start_id`, and uses the mask as given: 1 if the *next*
token of the same sequence trains. With a wrong boundary or mask, the wrong tokens train and nothing fails.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from nemotron.errors import Problem
from nemotron.files.regular_files import open_parquet

COLUMNS = ("input_ids", "loss_mask", "seq_start_id")
_MAKE_AGAIN = "Write it again, with one row per pack and these lists: input_ids, loss_mask (0 or 1), seq_start_id."
_ROLL = "Shift the mask by one: position j says whether token j+1 trains, so the last of a sequence is 0."
_LONGEST_SHOWN = 8


@dataclass(frozen=True)
class Limits:
    """Limits for packs; None is not checked."""

    pack_size: int | None = None
    vocab_size: int | None = None
    eos_id: int | None = None
    """The id whose positions the trainer never trains."""
    pad_to_multiple: int = 1


@dataclass
class Counts:
    """The counts of a split."""

    packs: int = 0
    sequences: int = 0
    tokens: int = 0
    supervised_tokens: int = 0
    longest: int = 0
    """Tokens of the longest pack."""

    def add(self, other: "Counts") -> None:
        """Add the counts of another file."""
        for name in ("packs", "sequences", "tokens", "supervised_tokens"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.longest = max(self.longest, other.longest)


@dataclass
class Checked:
    """The result of reading a file."""

    problems: list[Problem] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)


def check_file(path: Path, limits: Limits) -> Checked:
    """Read a file of packs, one row group in memory at a time.

    Of each kind of fault, the first row is reported.

    Args:
        path: The file.
        limits: The limits of its packs.
    """
    checked = Checked()
    faults: dict[str, Problem] = {}
    try:
        with open_parquet(path) as file:
            if schema := [*_check_schema(path, file.schema_arrow)]:
                return Checked(schema)
            first = 0
            for group in range(file.num_row_groups):
                table = file.read_row_group(group, columns=[*COLUMNS])
                for kind, row, what, todo in _check_group(table, limits, checked.counts):
                    faults.setdefault(kind, Problem(f"{path}, row {first + row}: {what}.", todo))
                first += table.num_rows
    except (OSError, pa.ArrowException) as error:
        checked.problems.append(Problem(f"{path} cannot be read as Parquet: {error}", "Copy it again, or remove it."))
    checked.problems += faults.values()
    return checked


def _check_schema(path: Path, schema: pa.Schema) -> Iterator[Problem]:
    for name in COLUMNS:
        if name not in schema.names:
            yield Problem(f"{path} has no column {name}; it has {', '.join(schema.names) or 'none'}.", _MAKE_AGAIN)
            continue
        kind = schema.field(name).type
        is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
        if not is_list or not pa.types.is_integer(kind.value_type):
            yield Problem(f"{path}: the column {name} is {kind}, not a list of whole numbers.", _MAKE_AGAIN)


_Fault = tuple[str, int, str, str]
"""Kind, row of the group, what is wrong, what to do."""


def _check_group(table: pa.Table, limits: Limits, counts: Counts) -> Iterator[_Fault]:
    """Yield the first row with each kind of fault, and count the packs.

    Faults that make counting impossible stop it.
    """
    if not table.num_rows:
        return
    columns = [table.column(name).combine_chunks() for name in COLUMNS]
    absent = [*_check_nulls(columns)]
    if absent:
        yield from absent
        return
    (ids, id_ends), (mask, mask_ends), (starts, start_ends) = (_values(column) for column in columns)
    lengths = np.diff(id_ends)
    yield from _check_lengths(lengths, np.diff(mask_ends), limits)
    yield from _check_values(ids, id_ends, mask, mask_ends, limits)
    faults = [*_check_starts(starts, start_ends, lengths)]
    yield from faults
    if faults or (np.diff(mask_ends) != lengths).any() or len(ids) == 0:
        return
    # Where each sequence of the row group begins and ends, in tokens.
    rows = np.repeat(np.arange(len(lengths)), np.diff(start_ends))
    begins = starts + id_ends[:-1][rows]
    ends = np.append(begins[1:], len(ids))
    yield from _first("roll", mask[ends - 1] != 0, rows, lambda _: ("the mask is not rolled", _ROLL))
    wrong = (ends - begins) % limits.pad_to_multiple != 0
    size = f"a sequence whose length is not a multiple of {limits.pad_to_multiple}"
    yield from _first("padding", wrong, rows, lambda i: (f"{size}: {ends[i] - begins[i]}", "Pad it, or leave it out."))
    counts.add(
        Counts(
            packs=len(lengths),
            sequences=len(starts),
            tokens=len(ids),
            supervised_tokens=int(((mask == 1) & (ids != (-1 if limits.eos_id is None else limits.eos_id))).sum()),
            longest=int(lengths.max(initial=0)),
        )
    )


def _check_nulls(columns: list[Any]) -> Iterator[_Fault]:
    for name, column in zip(COLUMNS, columns, strict=True):
        if column.null_count:
            row = int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
            yield f"null {name}", row, f"{name} is null", _MAKE_AGAIN
        elif column.flatten().null_count:
            at = int(np.flatnonzero(column.flatten().is_null().to_numpy(zero_copy_only=False))[0])
            row = int(np.searchsorted(_ends(column), at, side="right")) - 1
            yield f"null {name}", row, f"{name} has a null", _MAKE_AGAIN


def _check_lengths(lengths: np.ndarray, masks: np.ndarray, limits: Limits) -> Iterator[_Fault]:
    rows = np.arange(len(lengths))
    yield from _first("empty", lengths == 0, rows, lambda _: ("input_ids is empty", "Leave the row out."))
    what = "input_ids has {} tokens, and loss_mask {} values"
    yield from _first("mask", masks != lengths, rows, lambda i: (what.format(lengths[i], masks[i]), _MAKE_AGAIN))
    if limits.pack_size is not None:
        longer = f"tokens, more than the pack size of {limits.pack_size:,}"
        todo = "Give the pack size that was used: --pack-size N"
        yield from _first("long", lengths > limits.pack_size, rows, lambda i: (f"{lengths[i]:,} {longer}", todo))


def _check_values(
    ids: np.ndarray, id_ends: np.ndarray, mask: np.ndarray, mask_ends: np.ndarray, limits: Limits
) -> Iterator[_Fault]:
    def rows_of(ends: np.ndarray, wrong: np.ndarray) -> np.ndarray:
        return np.searchsorted(ends, np.flatnonzero(wrong), side="right") - 1

    wrong = (mask != 0) & (mask != 1)
    if wrong.any():
        row, value = int(rows_of(mask_ends, wrong)[0]), int(mask[wrong][0])
        yield "mask value", row, f"loss_mask has the value {value}, not 0 or 1", _MAKE_AGAIN
    wrong = (ids < 0) | (ids >= (limits.vocab_size or np.iinfo(np.int64).max))
    if wrong.any():
        row, value = int(rows_of(id_ends, wrong)[0]), int(ids[wrong][0])
        size = "" if limits.vocab_size is None else f" of {limits.vocab_size:,} tokens"
        todo = "Give the tokenizer that was used: --tokenizer ID|DIR"
        yield "id", row, f"input_ids has the id {value}, which is not in the vocabulary{size}", todo


def _check_starts(starts: np.ndarray, ends: np.ndarray, lengths: np.ndarray) -> Iterator[_Fault]:
    counts, rows = np.diff(ends), np.arange(len(lengths))
    none = counts == 0
    todo = (
        "seq_start_id must list where each sequence begins: first 0, then increasing, all below the number of tokens."
    )
    yield from _first("no starts", none, rows, lambda _: ("seq_start_id is empty", todo))
    firsts = np.append(starts, 0)[ends[:-1]]
    lasts = np.append(starts, 0)[ends[1:] - 1]
    falls = np.zeros(len(lengths), bool)
    down = np.flatnonzero(np.diff(starts) <= 0)
    of = np.searchsorted(ends, down, side="right") - 1
    falls[of[down + 1 < ends[of + 1]]] = True  # but not across rows
    wrong = ~none & ((firsts != 0) | falls | (lasts >= lengths))

    def what(row: int) -> tuple[str, str]:
        shown = starts[ends[row] : ends[row + 1]].tolist()
        more = ", ..." if len(shown) > _LONGEST_SHOWN else ""
        listed = ", ".join(map(str, shown[:_LONGEST_SHOWN])) + more
        return f"seq_start_id is [{listed}] in a pack of {lengths[row]:,} tokens", todo

    yield from _first("starts", wrong, rows, what)


def _first(
    kind: str, wrong: np.ndarray, rows: np.ndarray, describe: Callable[[int], tuple[str, str]]
) -> Iterator[_Fault]:
    """Yield the first wrong value, with its row."""
    found = np.flatnonzero(wrong)
    if len(found):
        yield kind, int(rows[found[0]]), *describe(int(found[0]))


def _values(column: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return all values of a list column, and where those of each row begin.

    Returns:
        int64 [values], int64 [rows + 1].
    """
    return column.flatten().to_numpy().astype(np.int64), _ends(column)


def _ends(column: Any) -> np.ndarray:
    offsets = column.offsets.to_numpy().astype(np.int64)
    return offsets - offsets[0]
