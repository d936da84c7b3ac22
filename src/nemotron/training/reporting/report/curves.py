"""Read the numbers of a JSON-lines file of records as columns.

As the file grows, only its new lines are read.
"""

from array import array
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from nemotron.charts.subsample import Floats
from nemotron.files.regular_files import open_file, refuse_large

_NOTHING = float("nan")
_NAMES = ("loss_stage", "sample_unit")
"""Fields that are text."""
_CHUNK = 8 * 2**20
"""Bytes to read at a time."""


class Curves:
    """Columns of metrics.jsonl, validation.jsonl or test.jsonl.

    A million records take about 20 columns of 8 MB. Lines that are not records are ignored, and so is a last line
    without a newline.

    Attributes:
        first, last: The first and the last record, with its numbers and names; empty if there is none.
        stages: (iteration, stage of the loss) for the first record and each change.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._forget()

    def _forget(self) -> None:
        self._columns: dict[str, array[float]] = {}
        self._length, self._read, self._file = 0, 0, (0, 0)
        self.first: dict[str, Any] = {}
        self.last: dict[str, Any] = {}
        self.stages: list[tuple[int, str]] = []

    def __len__(self) -> int:
        return self._length

    def update(self) -> None:
        """Read new lines, or all lines if the file was replaced."""
        try:
            with open_file(self._path) as file:
                refuse_large(self._path, file)
                status = self._path.stat()
                if (status.st_dev, status.st_ino) != self._file or status.st_size < self._read:
                    self._forget()
                    self._file = (status.st_dev, status.st_ino)
                file.seek(self._read)
                while lines := file.readlines(_CHUNK):
                    is_cut = not lines[-1].endswith(b"\n")  # it is still being written
                    whole = lines[:-1] if is_cut else lines
                    self._read += sum(map(len, whole))
                    self._add([record for record in map(_parse, whole) if record is not None])
                    if is_cut:
                        return
        except FileNotFoundError:
            self._forget()

    def _add(self, records: list[dict[str, Any]]) -> None:
        if not records:
            return
        for name in dict.fromkeys(name for names in dict.fromkeys(map(tuple, records)) for name in names):
            try:
                values = np.array([record.get(name) for record in records], dtype=float)
            except (TypeError, ValueError):  # a name, such as that of the stage
                continue
            column = self._columns.setdefault(name, array("d"))
            column.extend([_NOTHING] * (self._length - len(column)))
            column.frombytes(values.tobytes())
        self._length += len(records)
        self.first = self.first or _keep_known(records[0])
        self.last = _keep_known(records[-1])
        for record in records:
            stage = record.get("loss_stage")
            if isinstance(stage, str) and (not self.stages or self.stages[-1][1] != stage):
                self.stages.append((record["iteration"], stage))

    def column(self, name: str) -> Floats:
        """Return a quantity of every record, NaN if the record does not have it."""
        column = np.array(self._columns.get(name, ()), dtype=float)
        return np.concatenate([column, np.full(self._length - len(column), _NOTHING)])

    @property
    def names(self) -> list[str]:
        """Names of all numbers, in order of their first occurrence."""
        return [*self._columns]


def _keep_known(record: dict[str, Any]) -> dict[str, Any]:
    """Remove values of a damaged file that are not numbers or names."""
    return {
        name: value
        for name, value in record.items()
        if (isinstance(value, str) if name in _NAMES else isinstance(value, int | float))
    }


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        record = orjson.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and isinstance(record.get("iteration"), int) else None
