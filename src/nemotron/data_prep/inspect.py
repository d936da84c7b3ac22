"""What becomes of each row of a file: its chunks, which of them train, and how many tokens they are.

Reading, parsing, chunking and masking are the pipeline's own functions, so this is what data prep does, not a model
of it. Left out are the outcomes that depend on more than the row: length, duplicates, filters, samples.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, Unpack

import numpy as np

from nemotron.data_prep.blend import Dataset
from nemotron.data_prep.chunks import Chunk, sequences
from nemotron.data_prep.conversation import parse_row
from nemotron.data_prep.mask import loss_mask
from nemotron.data_prep.outcomes import DropReason, RowError
from nemotron.data_prep.row_formats import Fields
from nemotron.data_prep.sources import Row, cut, find_files, read_rows
from nemotron.data_prep.template import RenderOptions, Template
from nemotron.errors import UserError, did_you_mean


class ChunkTokenizer(Protocol):
    """The part of `tokens.Tokenizer` needed here."""

    @property
    def end_id(self) -> int: ...
    def encode_chunks(self, texts: Sequence[str], /) -> list[list[int]]: ...


def inspect_file(
    path: str | Path,
    template: Template,
    tokenizer: ChunkTokenizer | None = None,
    fields: Fields = Fields(),  # noqa: B008 (a tuple)
    **options: Unpack[RenderOptions],
) -> Iterator[dict[str, Any]]:
    """One object per row of an input, in order; blank lines are none. It may be whatever a blend takes, remote too.

        {"line": 1, "outcome": "kept" | "dropped", "reason": None | "bad_role", "sequences": [[chunk, ...], ...]}

    with each chunk `{"role", "text", "supervised", "tokens", "supervised_tokens"}`: how many tokens it is and how
    many of them the loss mask trains, both None without a tokenizer. `line` counts from 1.

    Raises UserError when there is no such file or it cannot be read.
    """
    if "://" not in str(path):
        path = Path(path).expanduser()
        _ensure_file(path)
    return (_inspect_row(line, row, template, tokenizer, fields, options) for line, row in _rows(str(path)))


def _ensure_file(path: Path) -> None:
    if not path.is_file():
        siblings = [str(other) for other in path.parent.glob("*") if other.is_file()]
        problem = "is not a file" if path.exists() else "does not exist"
        raise UserError(
            f"{path} {problem}.", did_you_mean(str(path), siblings) or "Give the path of a file of chat data."
        )


def _rows(path: str) -> Iterator[tuple[int, Row]]:
    """The rows with their line numbers, from 1; in a folder or dataset, from one file to the next."""
    line = 0
    for file in find_files(Dataset(path, path)):
        for part in cut(file):
            for row in read_rows(part):
                line += 1
                if not row.is_blank:
                    yield line, row


def _inspect_row(
    line: int,
    row: Row,
    template: Template,
    tokenizer: ChunkTokenizer | None,
    fields: Fields,
    options: RenderOptions,
) -> dict[str, Any]:
    try:
        if row.error is not None:
            raise RowError(DropReason.BAD_JSON, row.error)
        rendered = sequences(parse_row(row.value, *fields, exact=row.exact), template, **options)
    except RowError as error:
        return {"line": line, "outcome": "dropped", "reason": error.reason.value, "sequences": []}
    shown = [_describe(chunks, tokenizer) for chunks in rendered]
    return {"line": line, "outcome": "kept", "reason": None, "sequences": shown}


def _describe(chunks: list[Chunk], tokenizer: ChunkTokenizer | None) -> list[dict[str, Any]]:
    tokens: list[int | None] = [None] * len(chunks)
    trained: list[int | None] = [None] * len(chunks)
    if tokenizer is not None:
        encoded = tokenizer.encode_chunks([chunk.text for chunk in chunks])
        lengths = [len(ids) for ids in encoded]
        supervised = np.array([chunk.supervised for chunk in chunks])
        mask = loss_mask(np.concatenate(encoded), np.array(lengths), supervised, tokenizer.end_id)
        ends = np.cumsum(lengths)
        tokens = [*lengths]
        trained = [int(mask[end - length : end].sum()) for length, end in zip(lengths, ends, strict=True)]
    return [
        {**chunk._asdict(), "tokens": count, "supervised_tokens": trained_count}
        for chunk, count, trained_count in zip(chunks, tokens, trained, strict=True)
    ]
