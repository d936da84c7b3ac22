"""Show what is in packs: the text of each sequence, what trains, and its row.

Only the Parquet files are read, so this shows what a trainer reads. rows.py shows the same before packing.
"""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from nemotron.data_prep.config import SPLITS
from nemotron.data_prep.inspection.origins import Origins
from nemotron.data_prep.inspection.pieces import show_pieces
from nemotron.data_prep.inspection.wanted import ALL, Wanted
from nemotron.data_prep.tokenizer.tokenizer import Tokenizer
from nemotron.errors import UserError
from nemotron.files.regular_files import open_parquet

COLUMNS = ("input_ids", "loss_mask", "seq_start_id")


class Packed(NamedTuple):
    """Packed data at a path."""

    shards: list[Path]
    run: Path | None
    """The folder of the run that wrote the shards, with its plan and config; None if they were made elsewhere."""


def find_packed(path: Path) -> Packed | None:
    """Find packed data at a path, or return None.

    The path is a shard, the folder of a split or of splits, or the output folder of data prep.
    """
    if path.is_file():
        shards = [path] if path.suffix == ".parquet" and _is_shard(path) else []
    else:
        kinds = {file: _is_shard(file) for file in sorted(_files(path))}
        # Among shards, a file that cannot be read is a damaged one, which reading it will say.
        shards = [file for file, kind in kinds.items() if kind is not False] if any(kinds.values()) else []
    if not shards:
        return None
    above = (folder for folder in shards[0].resolve().parents if (folder / "plan.json").is_file())
    return Packed(shards, next(above, None))


def inspect_packs(
    packed: Packed, tokenizer: Tokenizer, wanted: Wanted = ALL, *, pieces: bool = False
) -> Iterator[dict[str, Any]]:
    """Yield one object per pack with a wanted sequence.

        {"split": "train", "shard": "shard_000000.parquet", "pack": 0, "tokens": 1019, "sequences": [
            {"start": 0, "tokens": 203, "padding": 0, "supervised_tokens": 101,
             "dataset": "chat", "file": "chat.jsonl", "line": 7,
             "chunks": [{"text", "supervised", "tokens", "supervised_tokens"}, ...]}, ...]}

    `pack` counts from 0 in its shard. A chunk is a run of tokens that all train, or that all do not. dataset, file and
    line are None if the tokenized parts are not available.

    Args:
        packed: Where the packs are.
        tokenizer: The tokenizer that the packs were made with.
        wanted: Which sequences to show.
        pieces: Whether chunks also list their tokens, as `pieces`: [id, text] each (pieces.py).

    Raises:
        UserError: A shard cannot be read, or its columns do not fit together.
    """
    origins = Origins(packed.run) if packed.run is not None else None
    for shard in packed.shards:
        for number, (ids, mask, starts) in enumerate(_read(shard)):
            sequences = [
                _sequence(start, ids[start:end], mask[start:end], tokenizer, origins, pieces)
                for start, end in zip(starts, [*starts[1:], len(ids)], strict=True)
            ]
            if any(wanted.wants_sequence(sequence) for sequence in sequences):
                split = shard.parent.name if shard.parent.name in SPLITS else None
                yield {
                    "split": split, "shard": shard.name, "pack": number, "tokens": len(ids),
                    "sequences": [sequence for sequence in sequences if wanted.wants_sequence(sequence)],
                }  # fmt: skip


def describe_origin(sequence: dict[str, Any]) -> str:
    """Describe the row that a sequence of a pack came from: `chat chat.jsonl:7`."""
    if sequence["dataset"] is None:
        return "a sequence"
    return f"{sequence['dataset']} {Path(sequence['file']).name}:{sequence['line']}"


def _files(folder: Path) -> Iterator[Path]:
    splits = folder / "splits" if (folder / "splits").is_dir() else folder
    yield from splits.glob("*.parquet")
    for split in SPLITS:
        yield from (splits / split).glob("*.parquet")


def _is_shard(path: Path) -> bool | None:
    """Tell whether a file has packs; None if it cannot be read."""
    try:
        return set(COLUMNS) <= set(open_parquet(path).schema_arrow.names)
    except (OSError, pa.ArrowException):
        return None


def _read(shard: Path) -> Iterator[tuple[np.ndarray, np.ndarray, list[int]]]:
    """Yield (ids, mask, starts of sequences) of every pack."""
    try:
        file = open_parquet(shard)
        for batch in file.iter_batches(batch_size=8, columns=list(COLUMNS)):
            for ids, mask, starts in zip(*(batch.column(name) for name in COLUMNS), strict=True):
                yield ids.values.to_numpy(), mask.values.to_numpy(), starts.as_py()
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{shard} cannot be read: {error}.", "Prepare the data again with --force.") from error


def _sequence(
    start: int, ids: np.ndarray, rolled: np.ndarray, tokenizer: Tokenizer, origins: Origins | None, pieces: bool
) -> dict[str, Any]:
    origin = origins.find(ids) if origins is not None else None
    tokens = len(ids) if origin is None else origin.tokens
    # The mask is stored one position early, at the token that predicts. We show the token that is learned.
    mask = np.concatenate([[0], rolled[:-1]])[:tokens]
    return {
        "start": start,
        "tokens": tokens,
        "padding": len(ids) - tokens,
        "supervised_tokens": int(rolled.sum()),
        "dataset": origin and origin.dataset,
        "file": origin and origin.file,
        "line": origin and origin.line,
        "chunks": [_chunk(ids[begin:end].tolist(), bool(mask[begin]), tokenizer, pieces) for begin, end in _runs(mask)],
    }


def _runs(mask: np.ndarray) -> list[tuple[int, int]]:
    """Return the ranges of equal values."""
    borders = [0, *(np.flatnonzero(np.diff(mask)) + 1).tolist(), len(mask)]
    return list(itertools.pairwise(borders))


def _chunk(ids: Sequence[int], supervised: bool, tokenizer: Tokenizer, pieces: bool) -> dict[str, Any]:
    chunk = {
        "text": tokenizer.decoder.decode(ids, skip_special_tokens=False),
        "supervised": supervised,
        "tokens": len(ids),
        "supervised_tokens": len(ids) * supervised,
    }
    if pieces:
        chunk["pieces"] = show_pieces(tokenizer, ids)
    return chunk
