"""Check that shards are what data prep wrote, before training and during it.

A changed byte in an uncompressed shard is read as another token, and nothing else notices.
"""

import json
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nemotron.errors import UserError
from nemotron.files.atomic_files import checksum
from nemotron.files.regular_files import read_text
from nemotron.training.prepared_data import PreparedData

_LOOKED_AT_PER_STEP = 16
_AGAIN = "Prepare the data again: nemotron super3 data prep sft replaces damaged shards."


@dataclass(frozen=True)
class Shard:
    """A Parquet file as recorded by data prep."""

    path: Path
    bytes: int
    checksum: str


def find_recorded_shards(data: PreparedData) -> list[Shard]:
    """Read the recorded shards from the metadata.json next to the splits.

    Data that was made elsewhere has none.
    """
    try:
        record = json.loads(read_text(data.splits.resolve().parent / "metadata.json"))
        return [
            Shard(data.splits / split["name"] / shard["file"], int(shard["bytes"]), str(shard["checksum"]))
            for split in record["splits"]
            for shard in split["shards"]
        ]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def check_shard(shard: Shard) -> str | None:
    """Read a shard completely, and describe what is wrong with it; None if nothing is."""
    try:
        if (size := shard.path.stat().st_size) != shard.bytes:
            return f"{shard.path} has {size:,} bytes, but data prep wrote {shard.bytes:,}."
        if checksum(shard.path) != shard.checksum:
            return f"{shard.path} does not have the checksum that data prep recorded."
    except OSError as error:
        return f"{shard.path} cannot be read: {error.strerror or error}."
    return None


def begin_check(data: PreparedData) -> "ShardCheck | None":
    """Start to read the shards in the background.

    None means that data prep recorded nothing to compare them with.
    """
    shards = find_recorded_shards(data)
    return ShardCheck(shards) if shards else None


class ShardCheck:
    """Reads the shards once in the background, and later checks whether they change."""

    def __init__(self, shards: list[Shard]) -> None:
        self._shards = shards
        self._marks = {shard.path: _mark(shard.path) for shard in shards}
        self._next = 0
        self._problem: str | None = None
        self._reader = threading.Thread(target=self._read, name="shards", daemon=True)
        self._reader.start()

    def callback(self) -> Any:
        """Make the callback that stops a run on a damaged or changed shard."""
        from megatron.bridge.training.callbacks import Callback, CallbackContext

        check = self

        class ChecksShards(Callback):
            def on_train_start(self, context: CallbackContext) -> None:
                check.finish()

            def on_train_step_start(self, context: CallbackContext) -> None:
                check.look_again()

        return ChecksShards()

    def finish(self) -> None:
        """Wait until all shards are read.

        Raises:
            UserError: A shard is not what data prep wrote.
        """
        self._reader.join()
        if self._problem is not None:
            raise UserError(self._problem, _AGAIN)

    def look_again(self) -> None:
        """Check size and modification time of the next few shards, which is fast.

        Raises:
            UserError: A shard has changed since the run started.
        """
        for shard in self._turn():
            if _mark(shard.path) != self._marks[shard.path]:
                raise UserError(
                    f"{shard.path} changed during training.",
                    "Do not change data before a run ends; the same command continues from the last checkpoint.",
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
