"""The numbers of a JSON-lines file of records, as columns.

They are read further as the file grows.
"""

from array import array
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from nemotron.charts.subsample import Floats

_NOTHING = float("nan")


class Curves:
    """Columns of metrics.jsonl, validation.jsonl or test.jsonl.

    A million records are about 20 columns of 8 MB. Lines that are no records are left out, and what has no newline yet.

    Attributes:
        first, last: a record each; empty when there is none.
        stages: (iteration, stage of the loss) where it begins or changes.
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
        """Read what was written since the last time; all of it when the file was replaced."""
        try:
            with self._path.open("rb") as file:
                status = self._path.stat()
                if (status.st_dev, status.st_ino) != self._file or status.st_size < self._read:
                    self._forget()
                    self._file = (status.st_dev, status.st_ino)
                file.seek(self._read)
                for line in file:
                    if not line.endswith(b"\n"):
                        return
                    self._read += len(line)
                    self._add(line)
        except FileNotFoundError:
            self._forget()

    def _add(self, line: bytes) -> None:
        try:
            record = orjson.loads(line)
        except ValueError:
            return
        if not isinstance(record, dict) or not isinstance(record.get("iteration"), int):
            return
        for name, value in record.items():
            if type(value) is float or type(value) is int:
                column = self._columns.get(name)
                if column is None:
                    column = self._columns[name] = array("d")
                if (missing := self._length - len(column)) > 0:
                    column.extend([_NOTHING] * missing)
                column.append(value)
        self._length += 1
        self.first = self.first or record
        self.last = record
        stage = record.get("loss_stage")
        if isinstance(stage, str) and (not self.stages or self.stages[-1][1] != stage):
            self.stages.append((record["iteration"], stage))

    def column(self, name: str) -> Floats:
        """Return a quantity of every record; NaN where one has none."""
        column = np.array(self._columns.get(name, ()), dtype=float)
        return np.concatenate([column, np.full(self._length - len(column), _NOTHING)])

    def has(self, name: str) -> bool:
        """Tell whether any record has a number under this name."""
        return name in self._columns

    @property
    def names(self) -> list[str]:
        """Names of all numbers, in the order in which they came."""
        return [*self._columns]
