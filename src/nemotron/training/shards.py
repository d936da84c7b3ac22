"""Whether the shards that a run trains on are what data prep wrote.

Before training, and while it runs.

A changed byte in a shard that is not compressed is read as another token, and nothing else notices.
"""

import json
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nemotron.atomic_files import checksum
from nemotron.errors import UserError
from nemotron.training.prepared_data import PreparedData

_LOOKED_AT_PER_STEP = 16
_AGAIN = "Prepare the data again: nemotron super3 data prep sft writes what is damaged."


@dataclass(frozen=True)
class Shard:
    """A Parquet file, as data prep recorded it."""

    path: Path
    bytes: int
    checksum: str


def find_recorded_shards(data: PreparedData) -> list[Shard]:
    """Read from the metadata.json next to the splits what data prep wrote.

    Nothing where it was made elsewhere.
    """
    try:
        record = json.loads((data.splits.resolve().parent / "metadata.json").read_text(encoding="utf-8"))
        return [
            Shard(data.splits / split["name"] / shard["file"], int(shard["bytes"]), str(shard["checksum"]))
            for split in record["splits"]
            for shard in split["shards"]
        ]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def check_shard(shard: Shard) -> str | None:
    """Say what is wrong with a shard, all of which is read.

    None when it is what data prep wrote.
    """
    try:
        if (size := shard.path.stat().st_size) != shard.bytes:
            return f"{shard.path} has {size:,} bytes, and data prep wrote {shard.bytes:,}."
        if checksum(shard.path) != shard.checksum:
            return f"{shard.path} has another checksum than data prep wrote."
    except OSError as error:
        return f"{shard.path} cannot be read: {error.strerror or error}."
    return None


def begin_check(data: PreparedData) -> "ShardCheck | None":
    """Begin to read the shards in the background.

    None where data prep recorded nothing to compare them with.
    """
    shards = find_recorded_shards(data)
    return ShardCheck(shards) if shards else None


class ShardCheck:
    """Reads the shards once, in the background of start-up.

    Then looks whether a file changes under the run.
    """

    def __init__(self, shards: list[Shard]) -> None:
        self._shards = shards
        self._marks = {shard.path: _mark(shard.path) for shard in shards}
        self._next = 0
        self._problem: str | None = None
        self._reader = threading.Thread(target=self._read, name="shards", daemon=True)
        self._reader.start()

    def finish(self) -> None:
        """Wait until all shards are read.

        Raises:
            UserError: one is not what data prep wrote.
        """
        self._reader.join()
        if self._problem is not None:
            raise UserError(self._problem, _AGAIN)

    def look_again(self) -> None:
        """Look at the size and the time of the next few shards.

        As fast as the file system answers.

        Raises:
            UserError: one has changed since the run began.
        """
        for shard in self._turn():
            if _mark(shard.path) != self._marks[shard.path]:
                raise UserError(
                    f"{shard.path} changed while it was trained on.",
                    "Keep data as it is until a run ends; the same command continues from the last checkpoint.",
                )

    def _turn(self) -> Iterator[Shard]:
        for _ in range(min(_LOOKED_AT_PER_STEP, len(self._shards))):
            yield self._shards[self._next % len(self._shards)]
            self._next += 1

    def _read(self) -> None:
        self._problem = next((what for what in map(check_shard, self._shards) if what), None)


def _mark(path: Path) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns, found.st_ino
