"""Find the rows that the sequences of packs come from.

Parquet does not record them, but the tokenized parts do.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nemotron.data_prep.output.places import PartPlace
from nemotron.data_prep.sources.written_plan import read_inputs
from nemotron.data_prep.tokenization.part_files import (
    PartReceipt,
    is_intact,
    map_tokens,
    read_index,
    read_receipt,
    unmark,
)

COMPARED = 16
"""How many tokens of a sequence's beginning are used to look it up."""


class Origin(NamedTuple):
    """The row that a sequence comes from."""

    dataset: str
    file: str
    line: int
    """Line in the file, from 1."""
    tokens: int
    """Tokens of the sequence in the pack; further tokens are padding."""


class _Part(NamedTuple):
    path: Path
    receipt: PartReceipt
    place: PartPlace


class _Places(NamedTuple):
    """Places of sequences in a part: int64 arrays [sequences], see PartIndex."""

    history: np.ndarray
    start: np.ndarray
    shared: np.ndarray
    length: np.ndarray


class Origins:
    """Looks up sequences in the tokenized parts of a run.

    The beginnings of all sequences are read once, on creation.
    """

    def __init__(self, run: Path) -> None:
        # Sequences of a damaged part are unknown, as those of one that is gone.
        self._parts = [part for part in _parts(run) if is_intact(None, part.path)]
        self._weights = np.random.default_rng(0).integers(1, 2**62, COMPARED, np.int64) | 1
        keys, numbers, lines, places = [], [], [], []
        for number, part in enumerate(self._parts):
            ids, _ = unmark(map_tokens(part.path))
            index = read_index(part.path, part.receipt)
            own = _Places(*index.starts(), index.shared_lengths.astype(np.int64), index.lengths.astype(np.int64))
            keys.append(self._keys(ids, own))
            numbers.append(np.full(len(own.length), number))
            lines.append(np.repeat(index.lines, index.sequence_counts))
            places.append(own)
        columns = [keys, numbers, lines, *zip(*places, strict=True)] if keys else [[np.zeros(0, np.int64)]] * 7
        joined = [np.concatenate(arrays) for arrays in columns]
        order = np.argsort(joined[0], kind="stable")
        self._keys_in_order, self._numbers, self._lines, *of_sequences = (array[order] for array in joined)
        self._places = _Places(*of_sequences)

    def find(self, ids: np.ndarray) -> Origin | None:
        """Find the row of a sequence, which may be cut or padded.

        Of identical sequences, the first is returned; None means unknown.
        """
        nothing = np.zeros(1, np.int64)
        [key] = self._keys(ids, _Places(nothing, nothing, nothing, np.array([len(ids)])))
        first, last = (np.searchsorted(self._keys_in_order, key, side) for side in ("left", "right"))
        best: Origin | None = None
        for place in range(first, last):
            history, start, shared, length = (int(array[place]) for array in self._places)
            part, same = self._parts[self._numbers[place]], min(length, len(ids))
            if best is not None and same <= best.tokens:
                continue
            of_part, shared = map_tokens(part.path), min(shared, same)
            stretches = (of_part[history : history + shared], of_part[start : start + same - shared])
            if np.array_equal(unmark(np.concatenate(stretches))[0], ids[:same]):
                best = Origin(**part.place.of(int(self._lines[place])), tokens=same)
        return best

    def _keys(self, ids: np.ndarray, places: _Places) -> np.ndarray:
        """Return a number per sequence that depends only on its first tokens."""
        history, start, shared, length = (array[:, None] for array in places)
        token = np.minimum(np.arange(COMPARED), length - 1)
        first = np.where(token < shared, history + token, start + token - shared)
        return (ids[first].astype(np.int64) * self._weights).sum(axis=1)


def _parts(run: Path) -> Iterator[_Part]:
    """Yield the tokenized parts of a run, as listed in its plan.

    Parts that have been removed are left out.
    """
    for number, dataset in enumerate(read_inputs(run)):
        files = iter(dataset.files)
        for file in files:
            lines = 0
            for part in range(file.parts):
                path = dataset.link(run, file) / f"part_{part:06}"
                receipt = read_receipt(path)
                if receipt is None:
                    break
                together = [file, *itertools.islice(files, len(receipt.starts) - 1)]
                paths = tuple(each.path for each in together)
                yield _Part(path, receipt, PartPlace(number, dataset.name, paths, receipt.starts, lines))
                lines += receipt.lines
