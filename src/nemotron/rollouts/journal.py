"""Keep a journal: every reply is on disk before it counts, one line each.

A killed run resumes from the journal without losing a row.
"""

import errno
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import orjson

from nemotron.files.regular_files import open_file
from nemotron.rollouts.reply import Outcome, Reply


class Journal:
    """Replies by key. Use it as a context manager; one process at a time."""

    def __init__(self, path: Path) -> None:
        """Open the journal, or start one.

        An incomplete last line of a killed process is dropped.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self.replies: dict[str, Reply] = {}
        self._file = open_file(path, "a+b", buffering=0)
        self._file.seek(0)
        content = self._file.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            self._file.truncate(whole)
        for line in content[:whole].splitlines():
            self._read(line)

    def _read(self, line: bytes) -> None:
        """Read a line.

        A line that was damaged by a crash is ignored, and its prompt is sent again.
        """
        try:
            record: dict[str, Any] = orjson.loads(line)
            key = record.pop("key")
            reply = Reply(**{**record, "outcome": Outcome(record["outcome"])})
        except (ValueError, TypeError, KeyError, AttributeError):
            return
        self.replies.setdefault(key, reply)

    def add(self, key: str, reply: Reply) -> None:
        """Save a reply. It is on disk when this returns."""
        if key in self.replies:
            return
        line = orjson.dumps({"key": key, **asdict(reply)}) + b"\n"
        end = os.fstat(self._file.fileno()).st_size
        if os.write(self._file.fileno(), line) < len(line):  # the disk is full; half a line would corrupt the next one
            self._file.truncate(end)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))
        os.fsync(self._file.fileno())
        self.replies[key] = reply

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
