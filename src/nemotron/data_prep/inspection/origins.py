"""Where the sequences of packs come from.

Parquet does not say, but the tokens they were gathered from do.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson

from nemotron.data_prep.tokenization.part_files import map_tokens, read_index, read_receipt

COMPARED = 16
"""Tokens of a sequence's beginning by which it is looked up."""


class Origin(NamedTuple):
    """The row of a sequence."""

    dataset: str
    file: str
    line: int
    """In the file, from 1."""
    tokens: int
    """Of the sequence that stand in the pack; more in the pack are padding."""


class _Part(NamedTuple):
    dataset: str
    file: str
    path: Path
    lines_before: int


class Origins:
    """Looks up sequences in the tokenized parts of a run.

    All beginnings are read once, when it is made.
    """

    def __init__(self, run: Path) -> None:
        self._parts = list(_parts(run))
        self._weights = np.random.default_rng(0).integers(1, 2**62, COMPARED, np.int64) | 1
        keys, numbers, starts, lengths, lines = [], [], [], [], []
        for number, part in enumerate(self._parts):
            ids, _ = map_tokens(part.path)
            index = read_index(part.path)
            length = index.lengths.astype(np.int64)
            start = np.cumsum(length) - length
            keys.append(self._keys(ids, start, length))
            numbers.append(np.full(len(length), number))
            starts.append(start)
            lengths.append(length)
            lines.append(np.repeat(index.lines, index.sequence_counts) + part.lines_before + 1)
        joined = [np.concatenate(arrays) for arrays in (keys, numbers, starts, lengths, lines)] if keys else []
        order = np.argsort(joined[0], kind="stable") if joined else np.zeros(0, int)
        self._keys_in_order, *self._found = [array[order] for array in joined] or [np.zeros(0, np.int64)] * 5

    def find(self, ids: np.ndarray) -> Origin | None:
        """Find the row of a sequence, cut and padded as it may be.

        Of identical ones the first. None: unknown.
        """
        [key] = self._keys(ids, np.zeros(1, np.int64), np.array([len(ids)]))
        first, last = (np.searchsorted(self._keys_in_order, key, side) for side in ("left", "right"))
        best: Origin | None = None
        for place in range(first, last):
            number, start, length, line = (int(array[place]) for array in self._found)
            part, same = self._parts[number], min(length, len(ids))
            if best is not None and same <= best.tokens:
                continue
            if np.array_equal(map_tokens(part.path)[0][start : start + same], ids[:same]):
                best = Origin(part.dataset, part.file, line, same)
        return best

    def _keys(self, ids: np.ndarray, start: np.ndarray, length: np.ndarray) -> np.ndarray:
        """Return a number per sequence, made of its first tokens.

        The same for the same beginning.
        """
        places = start[:, None] + np.minimum(np.arange(COMPARED), length[:, None] - 1)
        return (ids[places].astype(np.int64) * self._weights).sum(axis=1)


def _parts(run: Path) -> Iterator[_Part]:
    """Yield the tokenized parts of a run, as its plan names them.

    What was removed since is left out.
    """
    plan: dict[str, Any] = orjson.loads((run / "plan.json").read_bytes())
    for dataset in plan["datasets"]:
        for file in dataset["files"]:
            lines = 0
            for number in range(file["parts"]):
                tokens = Path(file["tokens"]).name
                path = run / "datasets" / dataset["name"] / tokens / f"part_{number:06}"
                receipt = read_receipt(path)
                if receipt is None:
                    break
                yield _Part(dataset["name"], file["path"], path, lines)
                lines += receipt.lines
